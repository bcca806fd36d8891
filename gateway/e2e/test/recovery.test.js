// Connection state recovery with the real client: it comes back as what it was, and has missed nothing.

import assert from 'node:assert/strict';
import test from 'node:test';
import { beginsAnew, broken, comeBack, cut, heardAll, next, recoverably, recovers, returns, stays, until } from './support/away.js';
import { barrier, group, join, say, stream } from './support/chat.js';
import { entryUrl, gatewayUrl, state } from './support/cluster.js';
import { people, unique } from './support/people.js';
import { startProxy } from './support/proxy.js';
import { as, ok } from './support/rest.js';
import { connect, emitAck, heard, once, opened, quiet, received, story, succeed } from './support/socket.js';
import { storedMessages } from './support/truth.js';

const cast = people('ann', 'ben', 'cat');
const limit = { timeout: 360_000 };
const gateways = state.gateways.map((_, index) => gatewayUrl(index));

/** ann, who speaks and stays; ben, who joined and is about to go away. */
async function pair(t, options = stays) {
  const { ann, ben, cat } = await cast();
  const [a, b] = await Promise.all([connect(t, ann), connect(t, ben, options)]);
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, b);
  return { ann, ben, cat, a, b, conversationId };
}

async function network(t) {
  const proxy = await startProxy(gateways);
  t.after(() => proxy.close());
  return proxy;
}

const created = (conversationId) => ({ _id }) => _id === conversationId;

test('a first connection is no recovered one', limit, async (t) => {
  const { b } = await pair(t);
  assert.equal(b.recovered, false);
});

test('the client comes back to any gateway, with its id and every message it missed', limit, recoverably(async (t) => {
  const { a, b, conversationId } = await pair(t);
  const { id } = b;
  for (const url of [entryUrl(), ...gateways, ...gateways, entryUrl()]) {
    await say(a, conversationId);
    await cut(b);
    await stream(a, Array.from({ length: 20 }, () => ({ conversationId, content: unique('missed') })));
    await recovers(b, id, url, `at ${url}`);
    await heardAll(b, conversationId, await say(a, conversationId), `at ${url}`);
  }
}));

test('rooms that were joined stay joined, those left stay left', limit, recoverably(async (t) => {
  const { ann, ben, a, b, conversationId } = await pair(t);
  const left = await group(ann, [ben]);
  await join(left, a, b);
  await succeed(b, 'leaveRoom', { conversationId: left });
  const { id } = b;
  await cut(b);
  const unheard = await say(a, left);
  await recovers(b, id);
  await say(a, left);
  await heardAll(b, conversationId, await say(a, conversationId));
  assert.equal(heard(b, 'newMessage', (event) => event.conversationId === left || event.message._id === unheard).length, 0);
  await succeed(b, 'leaveRoom', { conversationId });
  await say(a, conversationId);
  await join(conversationId, b);
  await barrier(conversationId, a, b);
}));

test('everything lasting that happens is replayed, in its order', limit, recoverably(async (t) => {
  const { ann, ben, a, b, conversationId } = await pair(t);
  // A witness sees the same, without going away.
  const witness = await connect(t, ben);
  await join(conversationId, witness);
  const first = await say(a, conversationId);
  await once(b, 'newMessage', ({ message }) => message._id === first);
  const { id } = b;
  await cut(b);
  const second = await say(a, conversationId);
  await succeed(a, 'editMessage', { conversationId, messageId: second, content: 'better' });
  await succeed(a, 'deleteMessage', { conversationId, messageId: first });
  await succeed(witness, 'markConversationAsRead', { conversationId });
  const elsewhere = await group(ann, [ben]);
  await recovers(b, id);
  await barrier(conversationId, a, b, witness);
  const lasting = new Set(['newMessage', 'messageUpdated', 'messageDeleted', 'conversationRead', 'messageRead']);
  const told = (socket) => story(socket, conversationId).filter(([event]) => lasting.has(event));
  assert.deepEqual(told(b), told(witness));
  await until(() => heard(b, 'conversationCreated', (created) => created._id === elsewhere).length === 1, 'the conversation made meanwhile');
  await join(elsewhere, b);
}));

test('joining a room again takes nothing from what is still on its way', limit, recoverably(async (t) => {
  const { a, b, conversationId } = await pair(t);
  const { id } = b;
  await say(a, conversationId);
  await heardAll(b, conversationId, await say(a, conversationId));
  const place = b._lastOffset;
  const late = [await say(a, conversationId), await say(a, conversationId)];
  await heardAll(b, conversationId, late.at(-1));
  await succeed(b, 'joinRoom', { conversationId });
  await cut(b);
  // As if those two had been written to a connection that was dead already.
  b._lastOffset = place;
  await recovers(b, id);
  await until(
    () => late.every((messageId) => heard(b, 'newMessage', ({ message }) => message._id === messageId).length === 2),
    'both of them, for the second time',
  );
}));

test('who was removed and added again while away is told so, and is out of the room', limit, recoverably(async (t) => {
  const { ann, ben, a, b, conversationId } = await pair(t);
  const { id } = b;
  await say(a, conversationId);
  await cut(b);
  const path = `/chats/conversations/${conversationId}/participants`;
  for (let round = 0; round < 2; round += 1) {
    ok(await as(ann, 'DELETE', `${path}/${ben.id}`), 200, 204);
    ok(await as(ann, 'POST', path, { userIds: [ben.id] }), 200, 201);
  }
  await recovers(b, id);
  const told = (event) => heard(b, event, (payload) => (payload.conversationId ?? payload._id) === conversationId);
  await until(() => told('participantRemoved').length > 0 && told('conversationCreated').length > 0, 'out, and in again');
  const words = received(b).filter(({ event }) => event === 'participantRemoved' || event === 'conversationCreated');
  assert.equal(words.at(-1).event, 'conversationCreated', 'the last word is that it is in');
  const missed = await say(a, conversationId);
  const witness = await group(ann, [ben]);
  await once(b, 'conversationCreated', created(witness));
  assert.equal(heard(b, 'newMessage', ({ message }) => message._id === missed).length, 0, 'it has not joined again');
  await join(conversationId, b);
  await barrier(conversationId, a, b);
}));

test('a client that has got no event yet is recovered, too', limit, recoverably(async (t) => {
  const { ann, ben } = await cast();
  const b = await connect(t, ben, stays);
  const { id } = b;
  await cut(b);
  const conversationId = await group(ann, [ben]);
  await recovers(b, id);
  await until(() => heard(b, 'conversationCreated', (created) => created._id === conversationId).length === 1, 'what happened meanwhile');
  await cut(b);
  await recovers(b, id, undefined, 'again');
}));

test('coming back time and again with nothing in between', limit, recoverably(async (t) => {
  const { a, b, conversationId } = await pair(t);
  const { id } = b;
  await say(a, conversationId);
  for (let round = 0; round < 8; round += 1) {
    await cut(b);
    await recovers(b, id, undefined, `round ${round}`);
  }
  await heardAll(b, conversationId, await say(a, conversationId));
}));

test('each namespace of a connection is recovered for itself', limit, recoverably(async (t) => {
  const { ann, ben } = await cast();
  const a = await connect(t, ann);
  const chat = await connect(t, ben, stays);
  const root = chat.io.socket('/', { auth: { token: ben.token } });
  t.after(() => root.disconnect());
  await opened(root);
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, chat);
  const ids = [chat.id, root.id];
  await say(a, conversationId);
  await cut(chat);
  await say(a, conversationId);
  // Until both are back, as it is one connection.
  chat.io.reconnection(true);
  assert.deepEqual(await Promise.all([chat, root].map((socket) => comeBack(socket))), [true, true]);
  chat.io.reconnection(false);
  assert.deepEqual([chat.id, root.id], ids);
  await heardAll(chat, conversationId, await say(a, conversationId));
}));

test('what the client says while it is away arrives once, when it is back', limit, recoverably(async (t) => {
  const { a, b, conversationId } = await pair(t);
  const { id } = b;
  await cut(b);
  const contents = Array.from({ length: 20 }, () => unique('from afar'));
  const answers = Promise.all(contents.map((content) => emitAck(b, 'sendMessage', { conversationId, content, tempId: content })));
  await recovers(b, id);
  for (const answer of await answers) assert.equal(answer.success, true, JSON.stringify(answer));
  const last = await say(a, conversationId);
  await heardAll(a, conversationId, last);
  await heardAll(b, conversationId, last);
  assert.deepEqual((await storedMessages(conversationId)).slice(0, -1).map(({ content }) => content), contents);
}));

test('a thousand messages missed are a thousand messages replayed', limit, recoverably(async (t) => {
  const { a, b, conversationId } = await pair(t);
  const { id } = b;
  await say(a, conversationId);
  await cut(b);
  await stream(a, Array.from({ length: 1_000 }, () => ({ conversationId, content: unique('one of many') })));
  await recovers(b, id);
  await heardAll(b, conversationId, await say(a, conversationId));
}));

test('a network that breaks every moment loses nothing and repeats nothing', limit, recoverably(async (t) => {
  const { url, sever } = await network(t);
  const { a, b, conversationId } = await pair(t, { ...returns, url });
  const { id } = b;
  let returned = 0;
  let recovered = 0;
  b.on('connect', () => {
    returned += 1;
    if (b.recovered) recovered += 1;
  });
  let speaking = true;
  const talk = (async () => {
    while (speaking) await stream(a, Array.from({ length: 8 }, () => ({ conversationId, content: unique('told') })), 4);
  })();
  try {
    for (let round = 0; round < 10; round += 1) {
      const back = next(b, 'connect');
      await broken(b, sever);
      await back;
      await quiet(20 * round);
    }
  } finally {
    speaking = false;
    await talk;
  }
  await heardAll(b, conversationId, await say(a, conversationId));
  assert.equal(recovered, returned, 'every return was a recovery');
  assert.equal(b.id, id);
}));

test('the connection that was left behind, alive as far as the server knows, is fenced off', limit, recoverably(async (t) => {
  const { url, abandon } = await network(t);
  const { a, b, conversationId } = await pair(t, { ...returns, url });
  const { id } = b;
  await say(a, conversationId);
  for (let round = 0; round < 3; round += 1) {
    const back = next(b, 'connect');
    const closed = Promise.all(await broken(b, abandon));
    // Some of these are written to the dead connection before the client is back: it must get them all the same.
    await stream(a, Array.from({ length: 10 }, () => ({ conversationId, content: unique('into the void') })));
    await back;
    assert.equal(b.recovered, true, `round ${round}`);
    assert.equal(b.id, id);
    await heardAll(b, conversationId, await say(a, conversationId), `round ${round}`);
    await Promise.race([closed, quiet(10_000).then(() => { throw new Error('the server kept the old connection'); })]);
  }
}));

test('who was removed while away hears of it, and of nothing after it', limit, recoverably(async (t) => {
  const { ann, ben, a, b, conversationId } = await pair(t);
  const { id } = b;
  const before = await say(a, conversationId);
  await cut(b);
  const during = await say(a, conversationId);
  ok(await as(ann, 'DELETE', `/chats/conversations/${conversationId}/participants/${ben.id}`), 200, 204);
  const after = await say(a, conversationId);
  await recovers(b, id);
  await once(b, 'participantRemoved', (event) => event.conversationId === conversationId && event.userId === ben.id);
  const live = await say(a, conversationId);
  const witness = await group(ann, [ben]);
  await once(b, 'conversationCreated', created(witness));
  await quiet(300);
  const seen = heard(b, 'newMessage', (event) => event.conversationId === conversationId).map(({ message }) => message._id);
  assert.deepEqual(seen, [before, during]);
  assert.ok(!seen.includes(after) && !seen.includes(live));
  assert.equal(story(b, conversationId).at(-1)[0], 'participantRemoved', 'its last event');
}));

test('who was removed and added again while away does not hear what was said in between', limit, async (t) => {
  const { ann, ben, a, b, conversationId } = await pair(t);
  await say(a, conversationId);
  await cut(b);
  ok(await as(ann, 'DELETE', `/chats/conversations/${conversationId}/participants/${ben.id}`), 200, 204);
  const secret = await say(a, conversationId);
  ok(await as(ann, 'POST', `/chats/conversations/${conversationId}/participants`, { userIds: [ben.id] }), 200);
  await comeBack(b);
  await once(b, 'conversationCreated', (conversation) => conversation._id === conversationId);
  await quiet(300);
  assert.equal(heard(b, 'newMessage', ({ message }) => message._id === secret).length, 0);
  await join(conversationId, b);
  await barrier(conversationId, a, b);
});

test('every event that can be missed carries an offset, no other ends in a string, acknowledgements carry none', limit, async (t) => {
  const { ann, ben, a, b, conversationId } = await pair(t);
  const answers = [];
  for (let round = 0; round < 3; round += 1) {
    const content = unique();
    answers.push(await b.timeout(15_000).emitWithAck('sendMessage', { conversationId, content, tempId: content }));
  }
  await succeed(b, 'markConversationAsRead', { conversationId });
  await emitAck(b, 'joinRoom', {});
  await group(ann, [ben]);
  await barrier(conversationId, a, b);
  await once(b, 'conversationCreated', (conversation) => conversation._id !== conversationId);
  for (const { event, args } of received(b)) {
    if (['newMessage', 'conversationCreated', 'messageUpdated', 'messageDeleted', 'conversationRead', 'messageRead'].includes(event)) {
      assert.equal(args.length, 2, `${event}: the payload and the offset`);
      assert.equal(typeof args[1], 'string', event);
      assert.notEqual(args[1], '');
    } else if (args.length === 1) {
      assert.notEqual(typeof args[0], 'string', event);
    } else {
      assert.equal(args.length, 2, event);
    }
  }
  assert.equal(answers.length, 3);
});

test('a client that said goodbye is not recovered', limit, async (t) => {
  const { a, b, conversationId } = await pair(t);
  const { id } = b;
  await say(a, conversationId);
  b.disconnect();
  await say(a, conversationId);
  await beginsAnew(b, id);
  await join(conversationId, b);
  await barrier(conversationId, a, b);
});
