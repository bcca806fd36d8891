// Who is typing: seen by the others on every gateway, never by the typist, and over by itself whatever becomes of whoever typed.

import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from './support/away.js';
import { barrier, group, join, say } from './support/chat.js';
import { client } from './support/dialects.js';
import { people } from './support/people.js';
import { connect, heard, once, quiet, received, rejected, succeed } from './support/socket.js';

const cast = people('ann', 'ben', 'cat', 'eve');
const limit = { timeout: 120_000 };

/** ann and cat on gateway 0, ben on gateway 1, all in the room. */
async function trio(t) {
  const users = await cast();
  const [a, b, c] = await Promise.all([
    connect(t, users.ann, { gateway: 0 }),
    connect(t, users.ben, { gateway: 1 }),
    connect(t, users.cat, { gateway: 0 }),
  ]);
  const conversationId = await group(users.ann, [users.ben, users.cat]);
  await join(conversationId, a, b, c);
  return { ...users, a, b, c, conversationId };
}

const begun = (socket) => heard(socket, 'userTyping').length;
const ended = (socket) => heard(socket, 'userStoppedTyping').length;

test('others see it begin once and end once, and the typist nothing of it', limit, async (t) => {
  const { ann, a, b, c, conversationId } = await trio(t);
  const other = await connect(t, ann, { gateway: 1 });
  await join(conversationId, other);
  for (let index = 0; index < 10; index += 1) await succeed(a, 'typing', { conversationId });
  for (const socket of [b, c]) assert.deepEqual(await once(socket, 'userTyping'), { userId: ann.id, conversationId, username: ann.username });
  await succeed(a, 'stopTyping', { conversationId });
  await succeed(a, 'stopTyping', { conversationId });
  for (const socket of [b, c]) assert.deepEqual(await once(socket, 'userStoppedTyping'), { userId: ann.id, conversationId });
  await barrier(conversationId, b, a, b, c, other);
  for (const socket of [b, c]) assert.deepEqual([begun(socket), ended(socket)], [1, 1]);
  for (const socket of [a, other]) assert.deepEqual([begun(socket), ended(socket)], [0, 0]);
  // Nothing that a client could take for an offset.
  for (const { event, args } of received(b)) if (/Typing$/.test(event)) assert.equal(args.length, 1);
});

test('it goes on as long as it is repeated and ends by itself', limit, async (t) => {
  const { a, b, conversationId } = await trio(t);
  await succeed(a, 'typing', { conversationId });
  await once(b, 'userTyping');
  for (let index = 0; index < 3; index += 1) {
    await quiet(2_200);
    await succeed(a, 'typing', { conversationId });
  }
  const repeated = Date.now();
  assert.deepEqual([begun(b), ended(b)], [1, 0], 'not again, and not over after 6.6 s');
  await once(b, 'userStoppedTyping');
  const after = Date.now() - repeated;
  assert.ok(after > 4_500 && after < 6_000, `over ${after} ms after the last word`);
  await succeed(a, 'stopTyping', { conversationId });
});

test('a message ends it, just before it is shown', limit, async (t) => {
  const { a, b, conversationId } = await trio(t);
  await succeed(a, 'typing', { conversationId });
  await once(b, 'userTyping');
  const messageId = await say(a, conversationId);
  await once(b, 'newMessage', ({ message }) => message._id === messageId);
  const events = received(b).map(({ event }) => event).filter((event) => /Typing$|^newMessage$/.test(event));
  assert.deepEqual(events, ['userTyping', 'userStoppedTyping', 'newMessage']);
});

test('who goes types no more, on its last device', limit, async (t) => {
  const { ann, a, b, conversationId } = await trio(t);
  const other = await connect(t, ann, { gateway: 1 });
  await succeed(a, 'typing', { conversationId });
  await once(b, 'userTyping');
  // It has not joined, which a member need not.
  await succeed(other, 'typing', { conversationId });
  await quiet(300);
  a.disconnect();
  await quiet(700);
  assert.equal(ended(b), 0, 'the other device still types');
  other.disconnect();
  await once(b, 'userStoppedTyping');
});

test('who leaves the room or the conversation types no more', limit, async (t) => {
  const { a, b, c, conversationId } = await trio(t);
  await succeed(a, 'typing', { conversationId });
  await succeed(c, 'typing', { conversationId });
  await until(() => begun(b) === 2, 'both are seen');
  await succeed(a, 'leaveRoom', { conversationId });
  await once(b, 'userStoppedTyping');
});

test('who joins while somebody types sees that', limit, async (t) => {
  const { ben, a, b, conversationId } = await trio(t);
  await succeed(a, 'typing', { conversationId });
  await once(b, 'userTyping');
  const late = await connect(t, ben, { gateway: 1 });
  await join(conversationId, late);
  await once(late, 'userTyping');
  await succeed(a, 'stopTyping', { conversationId });
  await once(late, 'userStoppedTyping');
});

test('strangers are told that there is no such conversation', limit, async (t) => {
  const { eve, b, conversationId } = await trio(t);
  const e = await connect(t, eve, { gateway: 0 });
  for (let index = 0; index < 3; index += 1) await rejected(e, 'NOT_FOUND', 'typing', { conversationId });
  await rejected(e, 'NOT_FOUND', 'stopTyping', { conversationId });
  await rejected(e, 'VALIDATION_FAILED', 'typing', { conversationId: 'lobby' });
  await quiet(300);
  assert.equal(begun(b), 0);
});

test('every dialect has a word for it', limit, async (t) => {
  const { ann, ben, cat, a, b, conversationId } = await trio(t);
  const [n, d] = await Promise.all([client(t, 'namespaced', ben, { gateway: 1 }), client(t, 'direct', cat, { gateway: 1 })]);
  await succeed(n, 'chat:room:join', conversationId);
  await succeed(a, 'typing', { conversationId });
  assert.deepEqual(await once(n, 'status:typing'), { userId: ann.id, roomId: conversationId, isTyping: true });
  assert.deepEqual(await once(d, 'user_typing'), { userId: ann.id, conversationId, isTyping: true });
  await succeed(a, 'stopTyping', { conversationId });
  assert.deepEqual(await once(n, 'status:typing'), { userId: ann.id, roomId: conversationId, isTyping: false });
  await succeed(n, 'status:typing', { roomId: conversationId, isTyping: true });
  assert.deepEqual(await once(a, 'userTyping'), { userId: ben.id, conversationId, username: ben.username });
  assert.equal(begun(b), 1, 'ann’s, and not ben’s own');
  await succeed(n, 'status:typing', { roomId: conversationId, isTyping: false });
  await once(a, 'userStoppedTyping');
});

test('in a public room one has to be there', limit, async (t) => {
  const { ann, ben, eve } = await cast();
  const [n, other, outside] = await Promise.all([
    client(t, 'namespaced', ann, { gateway: 0 }),
    client(t, 'namespaced', ben, { gateway: 1 }),
    connect(t, eve, { gateway: 1 }),
  ]);
  await succeed(n, 'chat:room:create', { name: 'Typing Pool' });
  const { id } = await once(n, 'chat:room:created');
  for (const socket of [n, other]) await succeed(socket, 'chat:room:join', id);
  await succeed(n, 'status:typing', { roomId: id, isTyping: true });
  await once(other, 'status:typing', ({ userId, isTyping }) => userId === ann.id && isTyping);
  await rejected(outside, 'FORBIDDEN', 'typing', { conversationId: id });
  await succeed(n, 'chat:room:leave', id);
  await once(other, 'status:typing', ({ userId, isTyping }) => userId === ann.id && !isTyping);
});
