// editMessage and deleteMessage: who may, what the room sees, and what is left.

import assert from 'node:assert/strict';
import test from 'node:test';
import { barrier, group, join, say } from './support/chat.js';
import { people, unique } from './support/people.js';
import { as, ok } from './support/rest.js';
import * as shapes from './support/shapes.js';
import { connect, heard, once, rejected, succeed } from './support/socket.js';
import { storedMessages } from './support/truth.js';

const cast = people('ann', 'ben', 'cat');
const limit = { timeout: 240_000 };

/** ann owns the group; ben and cat are members on the other gateway. */
async function room(t) {
  const users = await cast();
  const [a, b, c] = await Promise.all([
    connect(t, users.ann, { gateway: 0 }),
    connect(t, users.ben, { gateway: 1 }),
    connect(t, users.cat, { gateway: 1 }),
  ]);
  const conversationId = await group(users.ann, [users.ben, users.cat]);
  await join(conversationId, a, b, c);
  return { ...users, a, b, c, conversationId };
}

async function history(user, conversationId, gateway = 0) {
  return ok(await as(user, 'GET', `/chats/conversations/${conversationId}/messages?limit=100`, undefined, { gateway }), 200).messages;
}

test('an edit reaches both gateways and the history', limit, async (t) => {
  const { ann, a, b, c, conversationId } = await room(t);
  const original = unique();
  const messageId = await say(b, conversationId, original, { tempId: 'once' });
  const { message: before } = await once(a, 'newMessage', ({ message }) => message._id === messageId);
  const content = unique('improved');
  const answer = await succeed(b, 'editMessage', { conversationId, messageId, content: `  ${content} ` });
  assert.equal(answer.success, true);
  for (const socket of [a, b, c]) {
    const event = await once(socket, 'messageUpdated', ({ message }) => message._id === messageId);
    shapes.keys(event, ['message', 'conversationId']);
    assert.equal(event.conversationId, conversationId);
    shapes.keys(event.message, Object.keys(before), ['tempId']);
    assert.deepEqual([event.message.content, event.message.isEdited, event.message.isDeleted], [content, true, false]);
    assert.deepEqual([event.message.sender, event.message.createdAt], [before.sender, before.createdAt]);
    assert.ok(Date.parse(event.message.updatedAt) >= Date.parse(before.updatedAt));
  }
  const [shown] = await history(ann, conversationId, 1);
  shapes.message(shown);
  assert.deepEqual([shown._id, shown.content, shown.isEdited], [messageId, content, true]);
  const [stored] = await storedMessages(conversationId);
  assert.deepEqual([stored.id, stored.content], [messageId, content]);
});

test('an edit moves nothing: the message keeps its place in the history', limit, async (t) => {
  const { ann, b, conversationId } = await room(t);
  const ids = [];
  for (let index = 0; index < 3; index += 1) ids.push(await say(b, conversationId));
  await succeed(b, 'editMessage', { conversationId, messageId: ids[0], content: unique() });
  assert.deepEqual((await history(ann, conversationId)).map((message) => message._id), [...ids].reverse());
});

test('only the sender edits, not even the owner may', limit, async (t) => {
  const { a, b, c, conversationId } = await room(t);
  const original = unique();
  const messageId = await say(b, conversationId, original);
  for (const socket of [a, c]) await rejected(socket, 'FORBIDDEN', 'editMessage', { conversationId, messageId, content: 'not mine' });
  await barrier(conversationId, a, a, b, c);
  assert.equal(heard(c, 'messageUpdated').length, 0);
  assert.equal((await storedMessages(conversationId))[0].content, original);
});

test('an edit has a message’s limits', limit, async (t) => {
  const { a, conversationId } = await room(t);
  const messageId = await say(a, conversationId);
  for (const content of ['', ' \n', '\u0000', '\ud83d', '😀'.repeat(4001)]) {
    await rejected(a, 'VALIDATION_FAILED', 'editMessage', { conversationId, messageId, content });
  }
  await succeed(a, 'editMessage', { conversationId, messageId, content: '😀'.repeat(4000) });
});

test('a deletion reaches both gateways and leaves a tombstone without content', limit, async (t) => {
  const { ann, ben, a, b, c, conversationId } = await room(t);
  const secret = unique('secret');
  const messageId = await say(b, conversationId, secret);
  await succeed(b, 'deleteMessage', { conversationId, messageId });
  for (const socket of [a, b, c]) {
    const event = await once(socket, 'messageDeleted', (told) => told.messageId === messageId);
    shapes.keys(event, ['messageId', 'conversationId', 'deletedBy', 'deletedAt']);
    assert.deepEqual([event.conversationId, event.deletedBy], [conversationId, ben.id]);
    shapes.time(event.deletedAt, 'deletedAt');
  }
  for (const [user, gateway] of [[ann, 0], [ben, 1]]) {
    const messages = await history(user, conversationId, gateway);
    assert.deepEqual(messages.map((message) => [message._id, message.isDeleted]), [[messageId, true]]);
    shapes.message(messages[0]);
    assert.ok(!messages[0].content, 'no content is left');
    const answers = await Promise.all([
      as(user, 'GET', `/messages/conversation/${conversationId}`, undefined, { gateway }),
      as(user, 'GET', `/conversations/${conversationId}`, undefined, { gateway }),
      as(user, 'GET', '/conversations?limit=100', undefined, { gateway }),
      as(user, 'GET', '/chats/conversations?limit=100', undefined, { gateway }),
    ]);
    for (const answer of answers) {
      ok(answer, 200);
      assert.ok(!answer.text.includes(secret), `${answer.request} keeps it to itself`);
    }
  }
});

test('the owner may delete others’ messages, a member may not', limit, async (t) => {
  const { ann, a, b, c, conversationId } = await room(t);
  const messageId = await say(b, conversationId);
  await rejected(c, 'FORBIDDEN', 'deleteMessage', { conversationId, messageId });
  const owners = await say(a, conversationId);
  await rejected(b, 'FORBIDDEN', 'deleteMessage', { conversationId, messageId: owners });
  await succeed(a, 'deleteMessage', { conversationId, messageId });
  assert.equal((await once(b, 'messageDeleted', (event) => event.messageId === messageId)).deletedBy, ann.id);
  assert.deepEqual((await storedMessages(conversationId)).map((row) => row.deleted), [true, false]);
});

test('deleting twice is harmless and said once', limit, async (t) => {
  const { a, b, c, conversationId } = await room(t);
  const messageId = await say(b, conversationId);
  await succeed(b, 'deleteMessage', { conversationId, messageId });
  await succeed(b, 'deleteMessage', { conversationId, messageId });
  await Promise.all([a, b].map((socket) => succeed(socket, 'deleteMessage', { conversationId, messageId })));
  await barrier(conversationId, a, a, b, c);
  for (const socket of [a, b, c]) assert.equal(heard(socket, 'messageDeleted').length, 1);
});

test('deleted by several at once, it is said once', limit, async (t) => {
  const { a, b, c, conversationId } = await room(t);
  const messageId = await say(b, conversationId);
  await Promise.all([a, b, a, b].map((socket) => succeed(socket, 'deleteMessage', { conversationId, messageId })));
  await barrier(conversationId, a, a, b, c);
  for (const socket of [a, b, c]) assert.equal(heard(socket, 'messageDeleted').length, 1);
});

test('what is deleted cannot be edited', limit, async (t) => {
  const { a, b, conversationId } = await room(t);
  const messageId = await say(b, conversationId);
  await succeed(b, 'deleteMessage', { conversationId, messageId });
  await rejected(b, ['NOT_FOUND', 'CONFLICT'], 'editMessage', { conversationId, messageId, content: 'risen' });
  await barrier(conversationId, a, a, b);
  assert.equal(heard(a, 'messageUpdated').length, 0);
});

test('an unknown message is NOT_FOUND', limit, async (t) => {
  const { a, conversationId } = await room(t);
  const messageId = '4611686018427387904';
  await rejected(a, 'NOT_FOUND', 'editMessage', { conversationId, messageId, content: 'what?' });
  await rejected(a, 'NOT_FOUND', 'deleteMessage', { conversationId, messageId });
  await rejected(a, 'NOT_FOUND', 'markAsRead', { conversationId, messageId });
});

test('changes over REST are heard on sockets, and the other way round', limit, async (t) => {
  const { ben, a, b, conversationId } = await room(t);
  const messageId = await say(b, conversationId);
  const content = unique('over REST');
  ok(await as(ben, 'PUT', `/messages/${messageId}`, { content }, { gateway: 0 }), 200);
  assert.equal((await once(a, 'messageUpdated')).message.content, content);
  ok(await as(ben, 'DELETE', `/messages/${messageId}`, undefined, { gateway: 1 }), 200);
  assert.equal((await once(a, 'messageDeleted')).messageId, messageId);
});
