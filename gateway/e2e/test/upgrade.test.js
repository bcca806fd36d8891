// From polling to WebSocket in the middle of things: nothing lost, nothing twice, nothing out of order.

import assert from 'node:assert/strict';
import test from 'node:test';
import { broken, heardAll, next, recoverably, returns, until } from './support/away.js';
import { group, join, say, stream } from './support/chat.js';
import { gatewayUrl, state } from './support/cluster.js';
import { endDeafness, isDeaf } from './support/deaf.js';
import { people, unique } from './support/people.js';
import { startProxy } from './support/proxy.js';
import { connect, emitAck, heard, quiet, succeed } from './support/socket.js';
import { ask, isPresence, raw } from './support/wire.js';

const cast = people('ann', 'ben');
const limit = { timeout: 360_000 };
const gateways = state.gateways.map((_, index) => gatewayUrl(index));

async function door(t, options) {
  const proxy = await startProxy(gateways, options);
  t.after(() => proxy.close());
  return proxy.url;
}

const both = { transports: ['polling', 'websocket'] };

for (const upgradeDelayMs of [0, 150, 600]) {
  test(`messages both ways while twelve clients upgrade, each ${upgradeDelayMs} ms after it asked`, limit, async (t) => {
    const { ann, ben } = await cast();
    const url = await door(t, { upgradeDelayMs });
    const conversationId = await group(ann, [ben]);
    const speaker = await connect(t, ann, { transports: ['websocket'] });
    const clients = await Promise.all(Array.from({ length: 12 }, () => connect(t, ben, { ...both, url })));
    await join(conversationId, ...clients);
    const stillPolling = clients.filter((socket) => socket.io.engine.transport.name === 'polling').length;
    t.diagnostic(`${stillPolling} of ${clients.length} were polling when the messages began`);

    let speaking = true;
    const talk = (async () => {
      while (speaking) await stream(speaker, Array.from({ length: 10 }, () => ({ conversationId, content: unique('told') })), 4);
    })();
    // Each client speaks as well, in an order of its own, until well after its upgrade.
    await Promise.all(
      clients.map(async (socket, client) => {
        const answers = [];
        for (let index = 0; socket.io.engine.transport.name === 'polling' || index < 10; index += 1) {
          assert.ok(index < 2_000, 'upgraded at last');
          answers.push(await succeed(socket, 'sendMessage', { conversationId, content: `${client}:${index}`, tempId: `${client}:${index}` }));
        }
        const ids = answers.map(({ messageId }) => Number(messageId));
        assert.equal(new Set(ids).size, ids.length);
      }),
    );
    speaking = false;
    await talk;
    const last = await say(speaker, conversationId);
    for (const [index, socket] of clients.entries()) {
      assert.equal(socket.io.engine.transport.name, 'websocket');
      await heardAll(socket, conversationId, last, `at client ${index}`);
    }
  });
}

test('a client whose upgrade never comes through goes on polling', limit, async (t) => {
  const { ann, ben } = await cast();
  const url = await door(t, { upgradeDelayMs: 600_000 });
  const [a, b] = await Promise.all([connect(t, ann, { ...both, url }), connect(t, ben, { ...both, url })]);
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, b);
  for (let round = 0; round < 30; round += 1) await say(round % 2 ? a : b, conversationId);
  const last = await say(a, conversationId);
  for (const socket of [a, b]) {
    await heardAll(socket, conversationId, last);
    assert.equal(socket.io.engine.transport.name, 'polling');
  }
});

test('an upgraded session is served by WebSocket alone, and ends with it', limit, async (t) => {
  const { ann } = await cast();
  const url = await door(t);
  const socket = await connect(t, ann, { ...both, url });
  await until(() => socket.io.engine.transport.name === 'websocket', 'the upgrade');
  await emitAck(socket, 'joinRoom', {});
  const gone = next(socket, 'disconnect');
  socket.io.engine.transport.ws.terminate();
  assert.match(await gone, /^transport (close|error)$/);
});

test('a client whose upgrade broke behind the probe is deaf until its ping timeout, and has missed nothing then', limit, recoverably(async (t) => {
  const { ann, ben } = await cast();
  const proxy = await startProxy(gateways);
  t.after(() => proxy.close());
  const [a, b] = await Promise.all([
    connect(t, ann, { transports: ['websocket'] }),
    connect(t, ben, { ...both, ...returns, url: proxy.url }),
  ]);
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, b);
  const { id } = b;
  for (let round = 0; round < 3; round += 1) {
    const where = `round ${round}`;
    proxy.loseProbes(true);
    await broken(b, proxy.sever);
    // The poll that is out when the probe is lost still hears something, and is the last one.
    await until(async () => {
      await say(a, conversationId);
      return isDeaf(b);
    }, `deaf, ${where}`);
    const missed = await stream(a, Array.from({ length: 10 }, () => ({ conversationId, content: unique('unheard') })));
    assert.equal(b.connected, true, 'as far as it knows');
    assert.ok(missed.every(({ messageId }) => !heard(b, 'newMessage', ({ message }) => message._id === messageId).length), `it hears nothing, ${where}`);
    proxy.loseProbes(false);
    const back = next(b, 'connect');
    assert.ok(endDeafness(b), `still deaf, ${where}`);
    await back;
    assert.equal(b.recovered, true, where);
    assert.equal(b.id, id, where);
    await heardAll(b, conversationId, await say(a, conversationId), where);
    await until(() => b.io.engine.transport.name === 'websocket', `the upgrade, ${where}`);
  }
}));

test('what a server says before it closes is not lost in an upgrade', limit, async (t) => {
  const { ann } = await cast();
  const shake = await ask(0, 'GET', 'EIO=4&transport=polling').answer;
  const sid = encodeURIComponent(JSON.parse(shake.text.slice(1)).sid);
  const get = () => ask(0, 'GET', `EIO=4&transport=polling&sid=${sid}`).answer;
  const post = (body) => ask(0, 'POST', `EIO=4&transport=polling&sid=${sid}`, { body, headers: { 'content-type': 'text/plain;charset=UTF-8' } }).answer;
  assert.equal((await post(`40/chat,${JSON.stringify({ token: ann.token })}`)).text, 'ok');
  // Who is online is told once to whoever comes, before anything else that may wait for the next poll.
  let told = '';
  while (!told.includes('["onlineUsers",')) told += (await get()).text;
  assert.match(told, /^40\/chat,/);
  const released = get();
  const link = raw(t, `EIO=4&transport=websocket&sid=${sid}`);
  await link.opened();
  link.send('2probe');
  assert.equal(await link.next(), '3probe');
  // What a client is told again of who is online, when its gateway stood still, may have come first.
  let { text } = await released;
  while (isPresence(text)) text = (await get()).text;
  assert.equal(text, '6');
  // The client has stopped polling and is about to say that it has changed over: what comes now can only go there.
  assert.equal((await post('42/chat,["auth:logout"]')).text, 'ok');
  await quiet(300);
  link.send('5');
  assert.match(await link.next(), /^42\/chat,\["system:notification",\{"type":"auth"/);
  assert.equal(await link.next(), '41/chat,');
});
