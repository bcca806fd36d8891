// The Spring guide's chat: its script as it stands, in two tabs, over a WebSocket and over every transport of SockJS; and what tutorials
// that build on it do: rooms of one's own, whose name is part of the destination.

import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { until } from './support/away.js';
import { paced } from './support/chat.js';
import { entryUrl } from './support/cluster.js';
import { ChatPage } from './support/documents/spring-chat.js';
import { register, slug, unique } from './support/people.js';
import { as, ok, request } from './support/rest.js';
import { quiet } from './support/socket.js';
import { about, saying, session, socketFactory, WAYS } from './support/stomp.js';
import { barrier, chatBody, say } from './support/stomp-bodies.js';
import { storedMessages } from './support/truth.js';

const limit = { timeout: 240_000 };
const name = (what = 'tab') => unique(what).replaceAll(' ', '_').slice(0, 32);

/** A page that somebody has opened, connected; closed when the test is over. */
function page(t, username, way) {
  const made = new ChatPage();
  made.connect(username, socketFactory(way, entryUrl()));
  t.after(() => made.close());
  return made;
}

/** Waits until the page shows a line, once. */
async function shows(tab, line) {
  await until(() => tab.lines.includes(line) || tab.error, `${line} is shown`);
  assert.equal(tab.error, undefined);
  assert.equal(tab.lines.filter((other) => other === line).length, 1, `${line}, once`);
}

/** What concerns these people: everybody's tests meet in the one public room. */
const of = (tab, ...names) => tab.lines.filter((line) => names.some((one) => line.startsWith(`${one} `) || line.startsWith(`${one}:`)));

describe('the guide’s chat and what is built on it', { concurrency: true, ...limit }, () => {
  test('the guide’s chat', { concurrency: true, ...limit }, async (t) => {
    await Promise.all(WAYS.map((way, index) => t.test(`two tabs, one over ${way}`, limit, async (t) => {
      const [ann, ben] = [name('ann'), name('ben')];
      const first = page(t, ann, way);
      await shows(first, `${ann} joined!`);
      const second = page(t, ben, WAYS[(index + 1) % WAYS.length]);
      for (const tab of [first, second]) await shows(tab, `${ben} joined!`);
      first.sendMessage('  Hello, world!  ');
      for (const tab of [first, second]) await shows(tab, `${ann}: Hello, world!`);
      const odd = `100 % "quoted" \\ back\\nslash <b> %41 ünïcödé \u2028 ${String.fromCodePoint(0x1f600)} tab\there, [1], {"a":"b"}`;
      second.sendMessage(odd);
      for (const tab of [first, second]) await shows(tab, `${ben}: ${odd}`);
      second.sendMessage('line one\nline two\r\nline three');
      for (const tab of [first, second]) await shows(tab, `${ben}: line one\nline two\r\nline three`);
      second.close();
      await shows(first, `${ben} left!`);
      assert.deepEqual(of(first, ann, ben), [
        `${ann} joined!`, `${ben} joined!`, `${ann}: Hello, world!`, `${ben}: ${odd}`, `${ben}: line one\nline two\r\nline three`, `${ben} left!`,
      ]);
    })));
  });

  test('a conversation of a hundred messages each way arrives in order, over each transport', { concurrency: true, ...limit }, async (t) => {
    const writer = await register('writer');
    await Promise.all(WAYS.map((way) => t.test(way, limit, async (t) => {
      const roomId = slug();
      const [w, r] = await Promise.all([session(t, writer, { way }), session(t, await register('reader'), { way, gateway: 1 })]);
      const inboxes = await Promise.all([w, r].map((one) => one.listen(`/topic/${roomId}`)));
      const contents = [w, r].map((one) => Array.from({ length: 100 }, (_, index) => `${one.user.username} ${index} ${'x'.repeat(index)}.`));
      await Promise.all([w, r].map((one, index) => paced(contents[index].map((content) => () => one.send('/app/chat.sendMessage', { roomId, content })))));
      await barrier(w, roomId, ...inboxes);
      const room = ok(await as(writer, 'GET', `/api/rooms/${roomId}`), 200);
      const stored = await storedMessages(room.id);
      for (const inbox of inboxes) {
        const heard = inbox.heard(about('CHAT'));
        assert.deepEqual(heard.map(({ id, content }) => [id, content]), stored.map(({ id, content }) => [id, content]), 'all of it, in PostgreSQL’s order');
        for (const [index, one] of [w, r].entries()) {
          const said = heard.filter(({ sender, content }) => sender === one.user.username && !content.startsWith('barrier'));
          assert.deepEqual(said.map(({ content }) => content), contents[index], 'each speaker’s words in the order in which they were said');
        }
      }
    })));
  });

  test('rooms', { concurrency: true, ...limit }, async (t) => {
    const [ann, ben] = await Promise.all([register('ann'), register('ben')]);
    const tests = [];
    const check = (title, body) => tests.push(t.test(title, limit, body));
    const both = (t, ways = ['native', 'xhr-streaming']) => Promise.all([session(t, ann, { way: ways[0] }), session(t, ben, { way: ways[1], gateway: 1 })]);

    check('CHAT, JOIN and LEAVE have the fields of the contract, whatever the sender says of itself', async (t) => {
      const roomId = slug();
      const [a, b] = await both(t);
      const [heard, other] = await Promise.all([a.listen(`/topic/${roomId}`), b.listen(`/topic/${roomId}`)]);
      await a.send('/app/chat.addUser', { sender: ben.username, type: 'JOIN', roomId });
      for (const inbox of [heard, other]) chatBody(await inbox.next(about('JOIN')), { sender: ann.username, roomId });
      const lies = { sender: ben.username, senderId: ben.id, id: '1', timestamp: '1970-01-01T00:00:00Z', type: 'LEAVE' };
      await a.send('/app/chat.sendMessage', { roomId, content: '  said  ', ...lies });
      const [said, same] = await Promise.all([heard.next(about('CHAT')), other.next(about('CHAT'))]);
      chatBody(said, { type: 'CHAT', sender: ann.username, roomId, content: 'said' });
      assert.deepEqual(same, said);
      assert.ok(Date.parse(said.timestamp) > Date.now() - 120_000);
      const room = ok(await as(ann, 'GET', `/api/rooms/${roomId}`), 200);
      assert.deepEqual((await storedMessages(room.id)).map(({ id, sender_id: sender, content }) => [id, sender, content]), [[said.id, ann.id, 'said']]);
      await a.send('/app/chat.removeUser', { roomId });
      for (const inbox of [heard, other]) chatBody(await inbox.next(about('LEAVE')), { sender: ann.username, roomId });
    });

    for (const way of WAYS) {
      check(`the room in the destination, by slug and by id, as /topic/{roomId} and /topic/room/{roomId}, over ${way}`, async (t) => {
        const { id, slug: called } = ok(await as(ann, 'POST', '/api/rooms', { name: unique('room') }), 201);
        const [a, b] = await both(t, [way, way]);
        const inboxes = await Promise.all([
          a.listen(`/topic/${called}`), a.listen(`/topic/room/${called}`), b.listen(`/topic/${id}`), b.listen(`/topic/room/${id}`), b.listen(`/sub/room/${called}`), a.listen(`/sub/${id}`),
        ]);
        const names = [called, called, id, id, called, id];
        await a.send(`/app/chat/${called}/addUser`, { sender: ann.username, type: 'JOIN' });
        await b.send(`/pub/chat/${id}/addUser`, { sender: ben.username, type: 'JOIN' });
        for (const [index, inbox] of inboxes.entries()) {
          for (const { username } of [ann, ben]) chatBody(await inbox.next(about('JOIN', username)), { roomId: names[index] });
        }
        const contents = [unique(), unique(), unique(), unique()];
        await a.send(`/app/chat/${called}/sendMessage`, { content: contents[0], sender: ann.username, type: 'CHAT' });
        await b.send(`/app/chat/${id}/sendMessage`, { content: contents[1] });
        await b.send('/pub/chat.sendMessage', { content: contents[2], roomId: id });
        await a.send('/app/chat.sendMessage', { content: contents[3], roomId: called });
        const ids = [];
        for (const [index, inbox] of inboxes.entries()) {
          const bodies = [];
          for (const content of contents) bodies.push(await inbox.next(saying(content)));
          for (const body of bodies) chatBody(body, { type: 'CHAT', roomId: names[index] });
          ids.push(bodies.map((body) => body.id));
          assert.deepEqual(inbox.heard(about('CHAT')).map(({ content }) => content), contents, 'in order, once');
          assert.deepEqual(inbox.heard(about('JOIN')).length, 2, 'who joins does so once');
        }
        for (const other of ids) assert.deepEqual(other, ids[0], 'the same messages');
        assert.deepEqual((await storedMessages(id)).map(({ content }) => content), contents);
      });
    }

    check('what is not subscribed to any more is not shown any more; the other subscriptions go on', async (t) => {
      const roomId = slug();
      const [a, b] = await both(t, ['eventsource', 'websocket']);
      const [kept, ended] = [await b.listen(`/topic/${roomId}`), await b.listen(`/topic/room/${roomId}`)];
      const own = await a.listen(`/topic/${roomId}`);
      const before = await say(a, roomId, own);
      await Promise.all([kept, ended].map((inbox) => inbox.next(saying(before.content))));
      await b.unlisten(ended);
      const after = await say(a, roomId, own);
      await kept.next(saying(after.content));
      await barrier(a, roomId, own, kept);
      await quiet(200);
      assert.deepEqual(ended.heard(saying(after.content)), []);
      const again = await b.listen(`/topic/room/${roomId}`);
      const last = await say(a, roomId, own);
      await again.next(saying(last.content));
      assert.deepEqual(again.heard(saying(after.content)), [], 'what was said meanwhile does not come later');
    });

    check('to listen is not to be there: nobody is told, and who is gone is told once', async (t) => {
      const roomId = slug();
      const [a, b] = await both(t, ['xhr-polling', 'native']);
      const inbox = await a.listen(`/topic/${roomId}`);
      await a.send('/app/chat.addUser', { roomId });
      await b.listen(`/topic/${roomId}`);
      const present = async () => ok(await request('GET', `/api/rooms/${roomId}/users`), 200).map(({ username }) => username).sort();
      assert.deepEqual(await present(), [ann.username]);
      const second = await session(t, ben, { way: 'websocket' });
      for (const one of [b, second, b]) await one.send('/app/chat.addUser', { roomId });
      await inbox.next(about('JOIN', ben.username));
      assert.deepEqual(await present(), [ann.username, ben.username].sort());
      await second.leave();
      await barrier(a, roomId, inbox);
      assert.deepEqual([inbox.heard(about('JOIN', ben.username)).length, inbox.heard(about('LEAVE')).length], [1, 0], 'the first tab is still there');
      await b.vanish();
      await inbox.next(about('LEAVE', ben.username));
      assert.deepEqual(await present(), [ann.username]);
    });

    check('who closes a tab has left, over each transport', async (t) => {
      const roomId = slug();
      const a = await session(t, ann);
      const inbox = await a.listen(`/topic/${roomId}`);
      for (const way of WAYS) {
        const visitor = await session(t, undefined, { way, gateway: 1 });
        const called = name('guest');
        await visitor.send('/app/chat.addUser', { sender: called, roomId });
        await inbox.next(about('JOIN', called));
        await visitor.leave();
        await inbox.next(about('LEAVE', called));
      }
    });

    check('a guest is who it said it is when it joined; before, it listens and no more', async (t) => {
      const roomId = slug();
      const [a, guest] = await Promise.all([session(t, ann), session(t, undefined, { way: 'xhr-streaming', gateway: 1 })]);
      const [inbox, own, errors] = [await a.listen(`/topic/${roomId}`), await guest.listen(`/topic/${roomId}`), await guest.listen('/user/queue/errors')];
      const heard = await say(a, roomId, inbox);
      await own.next(saying(heard.content));
      guest.tell('/app/chat.sendMessage', { roomId, content: 'who am I?', sender: name('nobody') });
      assert.ok(['FORBIDDEN', 'UNAUTHORIZED'].includes((await errors.next()).code));
      for (const sender of [ann.username, ann.username.toUpperCase()]) {
        guest.tell('/app/chat.addUser', { roomId, sender });
        assert.equal((await errors.next()).code, 'CONFLICT', 'a registered name');
      }
      for (const sender of ['ab', 'x'.repeat(33), 'with space', 7]) {
        guest.tell('/app/chat.addUser', { roomId, sender });
        assert.equal((await errors.next()).code, 'VALIDATION_FAILED', `${sender} is no name`);
      }
      const called = name('guest');
      await guest.send('/app/chat.addUser', { roomId, sender: called, type: 'JOIN' });
      for (const listener of [inbox, own]) await listener.next(about('JOIN', called));
      await guest.send('/app/chat.sendMessage', { roomId, content: 'it is me', sender: ann.username });
      for (const listener of [inbox, own]) chatBody(await listener.next(saying('it is me')), { sender: called, roomId });
      assert.deepEqual(inbox.heard(saying('who am I?')), []);
    });

    check('without a room it is the public one', async (t) => {
      const [a, b] = await both(t, ['websocket', 'eventsource']);
      const [own, other] = await Promise.all([a.listen('/topic/public'), b.listen('/topic/public')]);
      await a.send('/app/chat.addUser', { sender: ann.username });
      const content = unique();
      await a.send('/app/chat.sendMessage', { sender: ann.username, content, type: 'CHAT' });
      for (const inbox of [own, other]) chatBody(await inbox.next(saying(content)), { roomId: 'public', sender: ann.username });
      await a.send('/app/chat.removeUser', { sender: ann.username });
      await other.next(about('LEAVE', ann.username));
    });

    await Promise.all(tests);
  });
});
