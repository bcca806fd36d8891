// How much is unread, as sockets are told that have not joined: at once, then once a second, exactly, and always in the end.

import assert from 'node:assert/strict';
import test from 'node:test';
import { comeBack, cut, stays, until } from './support/away.js';
import { direct, group, join, say } from './support/chat.js';
import { people, register } from './support/people.js';
import { as, ok } from './support/rest.js';
import * as shapes from './support/shapes.js';
import { connect, heard, once, quiet, received, succeed } from './support/socket.js';
import { unreadTruth } from './support/truth.js';

const cast = people('ann', 'ben', 'cat', 'dan');
const limit = { timeout: 120_000 };

/** ann on gateway 0, who has joined; ben on gateway 1, cat on gateway 0, who have not. */
async function trio(t) {
  const users = await cast();
  const [a, b, c] = await Promise.all([
    connect(t, users.ann, { gateway: 0 }),
    connect(t, users.ben, { gateway: 1, ...stays }),
    connect(t, users.cat, { gateway: 0 }),
  ]);
  const conversationId = await group(users.ann, [users.ben, users.cat]);
  await Promise.all([b, c].map((socket) => once(socket, 'conversationCreated', ({ _id }) => _id === conversationId)));
  await join(conversationId, a);
  return { ...users, a, b, c, conversationId };
}

const badges = (socket, conversationId) => heard(socket, 'unreadCount', (badge) => badge.conversationId === conversationId);
const of = (conversationId, count) => (badge) => badge.conversationId === conversationId && badge.unreadCount === count;

test('the first comes at once, a burst once a second, and the last state always', limit, async (t) => {
  const { ben, a, b, c, conversationId } = await trio(t);
  const times = [];
  b.on('unreadCount', () => times.push(Date.now()));
  const content = 'the first';
  const begun = Date.now();
  const messageId = await say(a, conversationId, content);
  const first = await once(b, 'unreadCount');
  assert.ok(Date.now() - begun < 900, 'at once');
  assert.deepEqual([first.conversationId, first.unreadCount, first.lastMessage._id, first.lastMessage.content], [conversationId, 1, messageId, content]);
  shapes.message(first.lastMessage, {});
  assert.equal(first.lastMessage.status, 'delivered');
  for (let index = 0; index < 60; index += 1) {
    await say(a, conversationId);
    await quiet(40);
  }
  const last = await say(a, conversationId, 'the last');
  for (const socket of [b, c]) assert.equal((await once(socket, 'unreadCount', of(conversationId, 62))).lastMessage._id, last);
  assert.equal(await unreadTruth(conversationId, ben.id), 62);
  await quiet(1_500);
  assert.equal(badges(b, conversationId).at(-1).unreadCount, 62);
  for (let index = 1; index < times.length; index += 1) assert.ok(times[index] - times[index - 1] > 850, `${times[index] - times[index - 1]} ms between two`);
  assert.ok(times.length >= 3 && times.length <= 8, `${times.length} badges`);
  assert.equal(badges(a, conversationId).length, 0, 'who has joined is told by the messages');
  for (const { event, args } of received(b)) if (event === 'unreadCount') assert.equal(args.length, 1);
});

test('what one device reads or says, the others are told', limit, async (t) => {
  const { ben, a, b, conversationId } = await trio(t);
  const other = await connect(t, ben, { gateway: 0 });
  const ids = [];
  for (let index = 0; index < 4; index += 1) ids.push(await say(a, conversationId));
  await once(b, 'unreadCount', of(conversationId, 4));
  await succeed(other, 'markAsRead', { conversationId, messageId: ids[1] });
  await once(b, 'unreadCount', of(conversationId, 2));
  await succeed(a, 'deleteMessage', { conversationId, messageId: ids[2] });
  await once(b, 'unreadCount', of(conversationId, 1));
  await succeed(a, 'editMessage', { conversationId, messageId: ids[3], content: 'other words' });
  const edited = await once(b, 'unreadCount', ({ lastMessage }) => lastMessage.isEdited);
  assert.deepEqual([edited.unreadCount, edited.lastMessage.content], [1, 'other words']);
  await succeed(other, 'markConversationAsRead', { conversationId });
  assert.equal((await once(b, 'unreadCount', of(conversationId, 0))).lastMessage.status, 'read');
  await say(a, conversationId);
  await once(b, 'unreadCount', of(conversationId, 1));
  await say(other, conversationId, 'from elsewhere');
  assert.equal((await once(b, 'unreadCount', of(conversationId, 0))).lastMessage.content, 'from elsewhere');
  await succeed(other, 'deleteMessage', { conversationId, messageId: (await once(a, 'newMessage', ({ message }) => message.content === 'from elsewhere')).message._id });
  assert.ok((await once(b, 'unreadCount', ({ lastMessage }) => lastMessage.isDeleted)).lastMessage.content === '');
});

test('a socket that has joined is told nothing until it leaves', limit, async (t) => {
  const { ben, a, b, conversationId } = await trio(t);
  const other = await connect(t, ben, { gateway: 1 });
  await join(conversationId, b);
  await say(a, conversationId);
  await once(other, 'unreadCount', of(conversationId, 1));
  await quiet(1_200);
  assert.equal(badges(b, conversationId).length, 0);
  await succeed(b, 'leaveRoom', { conversationId });
  await say(a, conversationId);
  await Promise.all([b, other].map((socket) => once(socket, 'unreadCount', of(conversationId, 2))));
});

test('who is added is told from then on, who is removed nothing more', limit, async (t) => {
  const { ann, ben, a, b, conversationId } = await trio(t);
  const { dan } = await cast();
  const d = await connect(t, dan, { gateway: 1 });
  await say(a, conversationId);
  ok(await as(ann, 'POST', `/chats/conversations/${conversationId}/participants`, { userIds: [dan.id] }), 200);
  const { unreadCount } = await once(d, 'conversationCreated', ({ _id }) => _id === conversationId);
  await say(a, conversationId);
  await once(d, 'unreadCount', of(conversationId, unreadCount + 1));
  ok(await as(ann, 'DELETE', `/chats/conversations/${conversationId}/participants/${ben.id}`), 204);
  await once(b, 'participantRemoved');
  const before = badges(b, conversationId).length;
  await say(a, conversationId);
  await once(d, 'unreadCount', of(conversationId, unreadCount + 2));
  await quiet(1_200);
  assert.equal(badges(b, conversationId).length, before);
});

test('who comes back is told what it may not know', limit, async (t) => {
  const { ben, a, b, conversationId } = await trio(t);
  await say(a, conversationId);
  await once(b, 'unreadCount', of(conversationId, 1));
  await quiet(200);
  await cut(b);
  for (let index = 0; index < 3; index += 1) await say(a, conversationId);
  assert.equal(await comeBack(b), true, 'recovered');
  await once(b, 'unreadCount', of(conversationId, 4));
  assert.equal(await unreadTruth(conversationId, ben.id), 4);
  await say(a, conversationId);
  await once(b, 'unreadCount', of(conversationId, 5));
});

test('many conversations are told apart', limit, async (t) => {
  const { ann, ben, a, b } = await trio(t);
  const ids = [await direct(ann, ben)];
  while (ids.length < 8) ids.push(await group(ann, [ben]));
  await Promise.all(ids.flatMap((id, index) => Array.from({ length: index + 1 }, () => say(a, id))));
  await Promise.all(ids.map((id, index) => once(b, 'unreadCount', of(id, index + 1))));
});

test('a message is sent, then delivered, then read', limit, async (t) => {
  const [ann, ben] = await Promise.all([register('ann'), register('ben')]);
  const a = await connect(t, ann, { gateway: 0 });
  const conversationId = await direct(ann, ben);
  const status = async () => {
    const [page, listed] = await Promise.all([
      as(ann, 'GET', `/chats/conversations/${conversationId}/messages`),
      as(ann, 'GET', `/chats/conversations/${conversationId}`),
    ]);
    // Two answers may be of two moments.
    const statuses = [ok(page, 200).messages[0].status, ok(listed, 200).lastMessage.status];
    return [...new Set(statuses)].join(', then ');
  };
  await join(conversationId, a);
  await say(a, conversationId);
  await quiet(1_500);
  assert.equal(await status(), 'sent', 'ben is not there');
  const b = await connect(t, ben, { gateway: 1 });
  await quiet(500);
  await say(a, conversationId);
  await once(b, 'unreadCount', of(conversationId, 2));
  await until(async () => (await status()) === 'delivered', 'a badge told of it');
  await join(conversationId, b);
  const messageId = await say(a, conversationId);
  await until(async () => (await status()) === 'delivered', 'it was shown');
  await succeed(b, 'markAsRead', { conversationId, messageId });
  assert.equal(await status(), 'read');
});
