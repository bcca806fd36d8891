// Frames that say how others are to be taken: receipts, transactions, acknowledgements, versions; and what is no frame at all.

import assert from 'node:assert/strict';
import test from 'node:test';
import WebSocket from 'ws';
import { until } from './support/away.js';
import { entryUrl } from './support/cluster.js';
import { people, slug, unique } from './support/people.js';
import { as, ok } from './support/rest.js';
import { about, dial, saying, session, WAYS } from './support/stomp.js';
import { barrier, chatBody } from './support/stomp-bodies.js';
import { storedMessages } from './support/truth.js';
import { soon } from './support/wire.js';

const limit = { timeout: 240_000 };
const cast = people('ann', 'ben');
const VERSIONS = ['1.0', '1.1', '1.2'];

/** A room of the test's own, its id and its slug. */
const room = async (user) => ok(await as(user, 'POST', '/api/rooms', { name: unique('room') }), 201);

test('receipts', { concurrency: true, ...limit }, async (t) => {
  const { ann } = await cast();
  const tests = [];
  const check = (title, body) => tests.push(t.test(title, limit, body));

  for (const way of WAYS) {
    check(`a RECEIPT for a message means that it is stored, over ${way}`, async (t) => {
      const { id, slug: roomId } = await room(ann);
      const a = await session(t, ann, { way });
      for (let index = 0; index < 5; index += 1) {
        const content = unique();
        const { headers } = await a.send('/app/chat.sendMessage', { roomId, content });
        assert.equal(headers['receipt-id'], `receipt-${index + 1}`);
        assert.ok((await storedMessages(id)).some((stored) => stored.content === content), 'in PostgreSQL when the RECEIPT is here');
      }
      // As many as there are at once: each is confirmed, none twice.
      await Promise.all(Array.from({ length: 50 }, (_, index) => a.send('/app/chat.sendMessage', { roomId, content: `${index}` })));
      assert.equal((await storedMessages(id)).length, 55);
    });

    check(`every frame that asks for one gets one, DISCONNECT included, over ${way}`, async (t) => {
      const a = await session(t, ann, { way });
      const roomId = slug();
      const inbox = await a.listen(`/topic/${roomId}`);
      for (const call of ['addUser', 'removeUser', 'addUser']) await a.send(`/app/chat.${call}`, { roomId });
      await a.asks('ACK', (receipt) => a.client.ack('1', inbox.id, { receipt }));
      await a.asks('NACK', (receipt) => a.client.nack('1', inbox.id, { receipt }));
      await a.unlisten(inbox);
      let said;
      a.client.onDisconnect = ({ headers }) => { said = headers['receipt-id']; };
      await a.leave();
      assert.ok(said, 'DISCONNECT is answered before the connection ends');
      assert.equal(a.errors.length, 0);
    });
  }

  check('a message that is sent once more under the same tempId is confirmed, and stored once', async (t) => {
    const { id, slug: roomId } = await room(ann);
    const sessions = await Promise.all([session(t, ann), session(t, ann, { way: 'xhr-polling', gateway: 1 })]);
    const inbox = await sessions[0].listen(`/topic/${roomId}`);
    const message = { roomId, content: unique(), tempId: unique() };
    for (const one of [...sessions, ...sessions]) await one.send('/app/chat.sendMessage', message);
    await barrier(sessions[1], roomId, inbox);
    assert.equal(inbox.heard(saying(message.content)).length, 1);
    assert.equal((await storedMessages(id)).length, 2);
  });

  check('a guest that subscribed before it said its name is told its own tempId', async (t) => {
    const { slug: roomId } = await room(ann);
    const [stranger, other] = await Promise.all([session(t), session(t, ann, { gateway: 1 })]);
    const [own, others] = await Promise.all([stranger.listen(`/topic/${roomId}`), other.listen(`/topic/${roomId}`)]);
    await stranger.send('/app/chat.addUser', { roomId, sender: slug('guest').replaceAll('-', '_').slice(0, 32) });
    const message = { roomId, content: unique(), tempId: unique() };
    await stranger.send('/app/chat.sendMessage', message);
    assert.equal((await own.next(saying(message.content))).tempId, message.tempId);
    assert.equal('tempId' in await others.next(saying(message.content)), false);
  });

  check('whatever receipts and destinations are called', async (t) => {
    for (const version of VERSIONS) {
      const a = await session(t, ann, { versions: [version] });
      const roomId = slug();
      for (const id of ['a b', 'ünïcödé', '%41', 'x'.repeat(200), ...(version === '1.2' ? ['a:b', 'back\\slash', 'line\nfeed', 'carriage\rreturn'] : [])]) {
        const listener = await a.listen(`/topic/${roomId}`, { id });
        assert.equal(listener.id, id);
        const content = unique();
        const receipt = new Promise((resolve) => { a.client.watchForReceipt(`r ${id}`, resolve); });
        a.tell('/app/chat.sendMessage', { roomId, content }, { receipt: `r ${id}` });
        await Promise.all([soon(receipt, `the receipt called ${id} in ${version}`), listener.next(saying(content))]);
        await a.unlisten(listener);
      }
    }
  });

  await Promise.all(tests);
});

test('versions: the best one that both know, on a subprotocol of that name', { concurrency: true, ...limit }, async (t) => {
  const { ann, ben } = await cast();
  await Promise.all([['1.0'], ['1.1'], ['1.2'], ['1.1', '1.0'], ['1.0', '1.2'], ['1.2', '1.1', '1.0']].flatMap((versions) => ['native', 'xhr-streaming'].map((way) =>
    t.test(`${versions} over ${way}`, limit, async (t) => {
      const best = versions.toSorted().at(-1);
      const roomId = slug();
      const [a, b] = await Promise.all([session(t, ann, { way, versions }), session(t, ben, { gateway: 1 })]);
      assert.deepEqual([a.client.connectedVersion, a.welcome.version], [best, best]);
      if (way === 'native') assert.equal(a.client.webSocket.protocol, `v1${best.at(-1)}.stomp`);
      assert.equal(a.welcome['user-name'], ann.username);
      assert.ok(a.welcome.session);
      assert.match(a.welcome['heart-beat'], /^\d+,\d+$/);
      const [own, other] = await Promise.all([a.listen(`/topic/${roomId}`), b.listen(`/topic/${roomId}`)]);
      await a.send('/app/chat.addUser', { roomId });
      const content = 'one: two\nthree \\ four ü';
      await a.send('/app/chat.sendMessage', { roomId, content });
      for (const inbox of [own, other]) chatBody(await inbox.next(about('CHAT')), { content, sender: ann.username });
      await a.leave();
      await other.next(about('LEAVE', ann.username));
    }))));
});

test('a WebSocket without a subprotocol is as good', limit, async (t) => {
  const { ann } = await cast();
  const a = dial(t, { user: ann });
  a.client.webSocketFactory = () => new WebSocket(`${entryUrl().replace(/^http/, 'ws')}/ws`);
  await a.open();
  assert.equal(a.client.connectedVersion, '1.2');
  assert.equal(a.client.webSocket.protocol, '');
  const roomId = slug();
  await barrier(a, roomId, await a.listen(`/topic/${roomId}`));
});

test('SockJS behind its own address, without sessions and parts of it: /ws/websocket is the plain endpoint', limit, async (t) => {
  const { ann } = await cast();
  const a = dial(t, { user: ann });
  a.client.webSocketFactory = () => new WebSocket(`${entryUrl().replace(/^http/, 'ws')}/ws/websocket`, ['v12.stomp']);
  await a.open();
  const roomId = slug();
  await barrier(a, roomId, await a.listen(`/topic/${roomId}`));
});

test('acknowledging is accepted, whatever it is called', { concurrency: true, ...limit }, async (t) => {
  const { ann, ben } = await cast();
  await Promise.all(VERSIONS.flatMap((version) => ['auto', 'client', 'client-individual'].map((ack) => t.test(`${ack} in ${version}`, limit, async (t) => {
    const [a, b] = await Promise.all([session(t, ann, { versions: [version] }), session(t, ben)]);
    const roomId = slug();
    const [own, other] = await Promise.all([a.listen(`/topic/${roomId}`, { ack }), b.listen(`/topic/${roomId}`)]);
    for (let index = 0; index < 3; index += 1) {
      await barrier(b, roomId, own, other);
      const { frame } = own.entries.at(-1);
      frame.ack();
      if (version !== '1.0') frame.nack();
    }
    await barrier(a, roomId, own, other);
    assert.equal(own.heard().length, 4, 'nothing comes again');
    assert.equal(a.errors.length, 0);
  }))));
});

test('transactions: all of it when it is committed, in order; nothing of it when it is aborted', { concurrency: true, ...limit }, async (t) => {
  const { ann, ben } = await cast();
  await Promise.all(WAYS.map((way) => t.test(way, limit, async (t) => {
    const { id, slug: roomId } = await room(ann);
    const [a, b] = await Promise.all([session(t, ann, { way }), session(t, ben, { gateway: 1 })]);
    const inbox = await b.listen(`/topic/${roomId}`);
    const said = (content, transaction) => a.send('/app/chat.sendMessage', { roomId, content }, { transaction });

    const [first, second] = [a.client.begin(), a.client.begin()];
    const kept = ['a', 'b', 'c'].map((content) => said(content, first.id));
    const dropped = ['x', 'y'].map((content) => said(content, second.id));
    kept.push(said('d', first.id));
    await a.send('/app/chat.sendMessage', { roomId, content: 'outside' });
    await inbox.next(saying('outside'));
    assert.deepEqual([...a.receipts].length, 1, 'nothing of a transaction is confirmed before its end');
    assert.deepEqual((await storedMessages(id)).map(({ content }) => content), ['outside']);
    second.abort();
    first.commit();
    await Promise.all(kept);
    for (const answer of dropped) answer.catch(() => {});
    const third = a.client.begin('by name');
    const alone = said('e', third.id);
    third.commit();
    await alone;
    await barrier(a, roomId, inbox);
    assert.deepEqual(inbox.heard().map(({ content }) => content).slice(0, -1), ['outside', 'a', 'b', 'c', 'd', 'e']);
    assert.deepEqual((await storedMessages(id)).map(({ content }) => content).slice(0, -1), ['outside', 'a', 'b', 'c', 'd', 'e']);
    // One that has something wrong in it is not done at all.
    const errors = await a.listen('/user/queue/errors');
    const spoilt = a.client.begin();
    a.tell('/app/chat.sendMessage', { roomId, content: 'right' }, { transaction: spoilt.id });
    a.tell('/app/chat.sendMessage', { roomId, content: '' }, { transaction: spoilt.id });
    a.tell('/app/chat.sendMessage', { roomId, content: 'right again' }, { transaction: spoilt.id });
    spoilt.commit();
    for (const code of ['VALIDATION_FAILED', 'CONFLICT']) assert.equal((await errors.next()).code, code);
    await barrier(a, roomId, inbox);
    assert.deepEqual(inbox.heard(({ content }) => content?.startsWith('right')), []);
    // A transaction that nobody ended ends with its session.
    said('never', a.client.begin().id).catch(() => {});
    await a.leave();
    await barrier(b, roomId, inbox);
    assert.deepEqual(inbox.heard(saying('never')), []);
  })));
});

test('large frames: split over WebSocket messages, binary, up to the limit of a message', { concurrency: true, ...limit }, async (t) => {
  const { ann, ben } = await cast();
  for (const [title, options] of Object.entries({
    'in pieces': { splitLargeFrames: true, maxWebSocketChunkSize: 64 },
    'byte by byte': { splitLargeFrames: true, maxWebSocketChunkSize: 1 },
    binary: { forceBinaryWSFrames: true },
    'in pieces over SockJS': { splitLargeFrames: true, maxWebSocketChunkSize: 64, way: 'xhr-streaming' },
  })) {
    const roomId = slug();
    const [a, b] = await Promise.all([session(t, ann, options), session(t, ben, { way: 'xhr-polling' })]);
    const inbox = await b.listen(`/topic/${roomId}`);
    // The client cuts characters of two UTF-16 units in halves, which are no characters any more.
    const content = `ü€${options.splitLargeFrames ? '' : '😀'} `.repeat(title === 'byte by byte' ? 20 : 700).trim();
    await a.send('/app/chat.sendMessage', { roomId, content });
    await inbox.next(saying(content));
    assert.equal(a.closes.length, 0, title);
  }
});

test('what is malformed as a frame is an ERROR, and the end', { concurrency: true, ...limit }, async (t) => {
  const { ann } = await cast();
  const raw = (socket, text) => socket.webSocket.send(text);
  const faults = {
    'an unknown command': (a) => raw(a.client, 'SHOUT\n\n\0'),
    'no command': (a) => raw(a.client, ':\n\n\0'),
    'a header without a colon': (a) => raw(a.client, 'SEND\ndestination\n\n\0'),
    'an unknown escape': (a) => raw(a.client, 'SEND\ndestination:/app/chat\\.sendMessage\n\n{}\0'),
    'SEND without a destination': (a) => raw(a.client, 'SEND\n\n{}\0'),
    'SUBSCRIBE without an id': (a) => raw(a.client, 'SUBSCRIBE\ndestination:/topic/public\n\n\0'),
    'the same subscription twice': (a) => {
      for (let count = 0; count < 2; count += 1) raw(a.client, 'SUBSCRIBE\nid:1\ndestination:/topic/public\n\n\0');
    },
    'CONNECT once more': (a) => raw(a.client, 'CONNECT\naccept-version:1.2\nhost:x\n\n\0'),
    'a transaction that was never begun': (a) => a.tell('/app/chat.sendMessage', { content: 'x' }, { transaction: 'none' }),
    'a transaction that is begun twice': (a) => [1, 2].forEach(() => a.client.begin('twice')),
    'a commit of nothing': (a) => a.client.commit('none'),
    'an unknown way to acknowledge': (a) => raw(a.client, 'SUBSCRIBE\nid:1\ndestination:/topic/public\nack:sometimes\n\n\0'),
    'a frame without end': (a) => raw(a.client, `SEND\ndestination:/app/chat.sendMessage\n\n${'x'.repeat(70_000)}`),
    'too many headers': (a) => raw(a.client, `SEND\ndestination:/app/chat.sendMessage\n${Array.from({ length: 80 }, (_, index) => `x${index}:y\n`).join('')}\n{}\0`),
  };
  await Promise.all(Object.entries(faults).flatMap(([title, act], index) => ['native', WAYS[1 + (index % 4)]].map((way) => t.test(`${title}, over ${way}`, limit, async (t) => {
    const a = await session(t, ann, { way });
    // An errors queue is for what a well-formed frame asks in vain.
    await a.listen('/user/queue/errors');
    act(a);
    const { headers } = await a.failed();
    assert.ok(headers.message);
    assert.equal(a.errors.length, 1, 'one ERROR');
  }))));
});

test('nobody is heard before CONNECT, and who says nothing is not waited for', limit, async (t) => {
  const over = async (send) => {
    const socket = new WebSocket(`${entryUrl().replace(/^http/, 'ws')}/ws`, ['v12.stomp']);
    t.after(() => socket.terminate());
    const said = [];
    socket.on('message', (data) => said.push(data.toString()));
    await soon(new Promise((resolve, reject) => { socket.once('open', resolve).once('error', reject); }), 'the opening');
    const closed = new Promise((resolve) => { socket.once('close', resolve); });
    socket.send(send);
    await soon(closed, 'the end');
    return said.join('');
  };
  assert.match(await over('SEND\ndestination:/app/chat.sendMessage\n\n{"content":"x"}\0'), /^ERROR\n/);
  assert.match(await over('CONNECT\naccept-version:9.9\nhost:x\n\n\0'), /^ERROR\n/);
  assert.match(await over('GET / HTTP/1.1\r\n\r\n\0'), /^ERROR\n/);
});

test('what a client does before its last word is done, though it does not wait', limit, async (t) => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const b = await session(t, ben);
  const inbox = await b.listen(`/topic/${roomId}`);
  for (const way of WAYS) {
    const a = await session(t, ann, { way });
    const contents = Array.from({ length: 20 }, () => unique());
    for (const content of contents) a.tell('/app/chat.sendMessage', { roomId, content });
    await a.leave();
    await inbox.next(saying(contents.at(-1)));
    const heard = inbox.heard(({ content }) => contents.includes(content)).map(({ content }) => content);
    assert.deepEqual(heard, contents, way);
  }
  await until(() => inbox.heard().length === 20 * WAYS.length, 'each once');
});
