// Reading, and the count of what has not been read: equal to PostgreSQL's after every single step.

import assert from 'node:assert/strict';
import test from 'node:test';
import { barrier, direct, group, join, say, stream } from './support/chat.js';
import { people, register } from './support/people.js';
import { as, ok } from './support/rest.js';
import * as shapes from './support/shapes.js';
import { connect, heard, once, rejected, succeed } from './support/socket.js';
import { counters, unreadIs } from './support/truth.js';

const cast = people('ann', 'ben', 'cat', 'dan');
const limit = { timeout: 480_000 };

/** ann and cat on gateway 0, ben on gateway 1; nobody has joined the room yet. */
async function trio(t) {
  const users = await cast();
  const [a, b, c] = await Promise.all([
    connect(t, users.ann, { gateway: 0 }),
    connect(t, users.ben, { gateway: 1 }),
    connect(t, users.cat, { gateway: 0 }),
  ]);
  const conversationId = await group(users.ann, [users.ben, users.cat]);
  return { ...users, a, b, c, conversationId };
}

test('unread equals PostgreSQL’s count after every send, read and deletion', limit, async (t) => {
  const { ann, ben, cat, a, b, c, conversationId } = await trio(t);
  const is = (step, atAnn, atBen, atCat) => unreadIs(step, conversationId, [ann, atAnn], [ben, atBen], [cat, atCat]);
  const ids = [];

  await is('the beginning', 0, 0, 0);
  for (let index = 1; index <= 5; index += 1) {
    ids.push(await say(a, conversationId));
    await is(`ann's message ${index}`, 0, index, index);
  }
  await succeed(b, 'markAsRead', { conversationId, messageId: ids[1] });
  await is('ben read up to the second', 0, 3, 5);
  await succeed(b, 'markAsRead', { conversationId, messageId: ids[0] });
  await is('ben read the first again', 0, 3, 5);
  await rejected(c, 'FORBIDDEN', 'deleteMessage', { conversationId, messageId: ids[4] });
  await is('a refused deletion', 0, 3, 5);
  await succeed(a, 'deleteMessage', { conversationId, messageId: ids[4] });
  await is('an unread message deleted', 0, 2, 4);
  await succeed(a, 'deleteMessage', { conversationId, messageId: ids[4] });
  await is('the same deleted again', 0, 2, 4);
  await succeed(a, 'deleteMessage', { conversationId, messageId: ids[0] });
  await is('one deleted that ben had read and cat had not', 0, 2, 3);
  await succeed(a, 'editMessage', { conversationId, messageId: ids[2], content: 'an edit is nothing new' });
  await is('an edit', 0, 2, 3);
  ids.push(await say(b, conversationId));
  await is('ben wrote, and so has read all before', 1, 0, 4);
  await succeed(c, 'markConversationAsRead', { conversationId });
  await is('cat read everything', 1, 0, 0);
  await succeed(c, 'markConversationAsRead', { conversationId });
  await is('cat read everything twice', 1, 0, 0);
  await succeed(a, 'markAsRead', { conversationId, messageId: ids[5] });
  await is('ann read ben’s', 0, 0, 0);
  await say(c, conversationId);
  await is('cat wrote', 1, 1, 0);
});

test('unread equals PostgreSQL’s count as members come and go', limit, async (t) => {
  const { ann, ben, cat, a, b, c, conversationId } = await trio(t);
  const { dan } = await cast();
  const d = await connect(t, dan, { gateway: 1 });
  await say(a, conversationId);
  await say(b, conversationId);
  await unreadIs('two messages', conversationId, [ann, 1], [ben, 0], [cat, 2]);

  ok(await as(ann, 'POST', `/chats/conversations/${conversationId}/participants`, { userIds: [dan.id] }, { gateway: 1 }), 200);
  await once(d, 'conversationCreated', ({ _id }) => _id === conversationId);
  await unreadIs('dan was added', conversationId, [ann, 1], [ben, 0], [cat, 2], [dan, undefined]);
  await succeed(d, 'markConversationAsRead', { conversationId });
  await unreadIs('dan read everything', conversationId, [dan, 0]);
  await say(c, conversationId);
  await unreadIs('cat wrote', conversationId, [ann, 2], [ben, 1], [cat, 0], [dan, 1]);

  ok(await as(cat, 'POST', `/chats/conversations/${conversationId}/leave`, undefined, { gateway: 0 }), 204);
  await unreadIs('cat left', conversationId, [ann, 2], [ben, 1], [dan, 1]);
  await say(b, conversationId);
  await unreadIs('ben wrote', conversationId, [ann, 3], [ben, 0], [dan, 2]);
  ok(await as(ann, 'DELETE', `/chats/conversations/${conversationId}/participants/${dan.id}`), 204);
  await say(b, conversationId);
  await unreadIs('dan was removed', conversationId, [ann, 4], [ben, 0]);

  ok(await as(ann, 'POST', `/chats/conversations/${conversationId}/participants`, { userIds: [dan.id, cat.id] }), 200);
  await unreadIs('both came back', conversationId, [ann, 4], [ben, 0], [cat, undefined], [dan, undefined]);
  await succeed(d, 'markConversationAsRead', { conversationId });
  await say(a, conversationId);
  await unreadIs('ann wrote', conversationId, [ann, 0], [ben, 1], [dan, 1], [cat, undefined]);
});

test('joining and leaving the room reads nothing', limit, async (t) => {
  const { ann, ben, a, b, conversationId } = await trio(t);
  await say(a, conversationId);
  await join(conversationId, b);
  await unreadIs('joinRoom', conversationId, [ann, 0], [ben, 1]);
  await say(a, conversationId);
  await unreadIs('a message seen live', conversationId, [ann, 0], [ben, 2]);
  await succeed(b, 'leaveRoom', { conversationId });
  await unreadIs('leaveRoom', conversationId, [ann, 0], [ben, 2]);
});

test('unread is not capped and survives a storm from both gateways', limit, async (t) => {
  const { ann, ben, cat, a, b, conversationId } = await trio(t);
  const burst = (name) => Array.from({ length: 130 }, (_, index) => ({ conversationId, content: `${name} ${index}` }));
  await Promise.all([stream(a, burst('ann')), stream(b, burst('ben'))]);
  await unreadIs('260 messages', conversationId, [ann, undefined], [ben, undefined], [cat, 260]);
  await Promise.all([succeed(a, 'markConversationAsRead', { conversationId }), stream(b, burst('more'))]);
  await unreadIs('reading while others write', conversationId, [ann, undefined], [ben, undefined], [cat, 390]);
});

test('direct conversations count as well', limit, async (t) => {
  const [gil, hal] = await Promise.all([register('gil'), register('hal')]);
  const [g, h] = await Promise.all([connect(t, gil, { gateway: 0 }), connect(t, hal, { gateway: 1 })]);
  const conversationId = await direct(gil, hal);
  await say(g, conversationId);
  const last = await say(g, conversationId);
  await unreadIs('two messages', conversationId, [gil, 0], [hal, 2]);
  await succeed(h, 'markAsRead', { conversationId, messageId: last });
  await unreadIs('hal read', conversationId, [gil, 0], [hal, 0]);
});

test('a retried message counts once', limit, async (t) => {
  const { ann, ben, a, conversationId } = await trio(t);
  const elsewhere = await connect(t, ann, { gateway: 1 });
  const payload = { conversationId, content: 'again', tempId: 'again' };
  await Promise.all([a, elsewhere, a].map((socket) => succeed(socket, 'sendMessage', payload)));
  await unreadIs('three attempts', conversationId, [ann, 0], [ben, 1]);
});

test('messageRead tells the room who read how far', limit, async (t) => {
  const { ben, a, b, c, conversationId } = await trio(t);
  await join(conversationId, a, b, c);
  await say(a, conversationId);
  const messageId = await say(a, conversationId);
  await succeed(b, 'markAsRead', { conversationId, messageId });
  for (const socket of [a, c]) {
    const event = await once(socket, 'messageRead', (told) => told.conversationId === conversationId);
    shapes.keys(event, ['messageId', 'conversationId', 'readBy', 'readAt']);
    assert.deepEqual([event.messageId, event.readBy], [messageId, ben.id]);
    shapes.time(event.readAt, 'readAt');
  }
});

test('conversationRead tells the room who read it all', limit, async (t) => {
  const { ben, a, b, c, conversationId } = await trio(t);
  await join(conversationId, a, b, c);
  await say(a, conversationId);
  await succeed(b, 'markConversationAsRead', { conversationId });
  for (const socket of [a, c]) {
    const event = await once(socket, 'conversationRead', (told) => told.conversationId === conversationId);
    shapes.keys(event, ['conversationId', 'readBy', 'readAt']);
    assert.equal(event.readBy, ben.id);
    shapes.time(event.readAt, 'readAt');
  }
});

test('a mark never goes back', limit, async (t) => {
  const { ben, a, b, conversationId } = await trio(t);
  await join(conversationId, a, b);
  const first = await say(a, conversationId);
  const second = await say(a, conversationId);
  await succeed(b, 'markAsRead', { conversationId, messageId: second });
  await succeed(b, 'markAsRead', { conversationId, messageId: first });
  await barrier(conversationId, a, a, b);
  await unreadIs('a mark that went back', conversationId, [ben, 1]);
  const told = heard(a, 'messageRead', (event) => event.readBy === ben.id).map((event) => event.messageId);
  assert.equal(told[0], second);
});

test('a reading that changes nothing is told to nobody', limit, async (t) => {
  const { ann, ben, a, b, c, conversationId } = await trio(t);
  await join(conversationId, a, b, c);
  const [first, last] = [await say(a, conversationId), await say(a, conversationId)];
  await succeed(b, 'markAsRead', { conversationId, messageId: last });
  const was = await counters(conversationId);
  for (const messageId of [last, first]) await succeed(b, 'markAsRead', { conversationId, messageId });
  for (const socket of [a, b]) await succeed(socket, 'markConversationAsRead', { conversationId });
  ok(await as(ann, 'PUT', '/messages/mark-as-read', { conversationId }, { gateway: 1 }), 200);
  assert.deepEqual(await counters(conversationId), was);
  await barrier(conversationId, a, a, b, c);
  for (const socket of [a, b, c]) {
    const told = ['messageRead', 'conversationRead'].flatMap((event) => heard(socket, event, ({ conversationId: id }) => id === conversationId));
    assert.deepEqual(told.map(({ messageId, readBy }) => [messageId, readBy]), [[last, ben.id]]);
  }
});

test('reading over REST is heard on sockets and counts alike', limit, async (t) => {
  const { ann, ben, cat, a, b, conversationId } = await trio(t);
  await join(conversationId, a, b);
  const first = await say(a, conversationId);
  await say(a, conversationId);
  const marked = ok(await as(ben, 'PUT', '/messages/mark-as-read', { conversationId, messageIds: [first] }, { gateway: 0 }), 200);
  assert.deepEqual(marked, { unreadCount: 1 });
  await unreadIs('ben marked the first', conversationId, [ann, 0], [ben, 1], [cat, 2]);
  assert.deepEqual(ok(await as(ben, 'PUT', '/messages/mark-as-read', { conversationId }, { gateway: 1 }), 200), { unreadCount: 0 });
  assert.deepEqual(ok(await as(cat, 'POST', `/chats/conversations/${conversationId}/read`, undefined, { gateway: 1 }), 200, 201), { unreadCount: 0 });
  await unreadIs('all read', conversationId, [ann, 0], [ben, 0], [cat, 0]);
  await once(a, 'conversationRead', (event) => event.readBy === cat.id && event.conversationId === conversationId);
});
