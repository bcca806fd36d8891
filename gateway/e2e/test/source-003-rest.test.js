// Source 003's table of REST endpoints, row by row.

import assert from 'node:assert/strict';
import test from 'node:test';
import { people, unique } from './support/people.js';
import { as, failed, ok, request } from './support/rest.js';
import { conversation, message, page } from './support/shapes.js';

const cast = people('ann', 'ben', 'cat');
const limit = { timeout: 360_000 };

/** `POST   /chats/conversations              - Create conversation`, each with what it is to be called with. */
const TABLE = `
POST   /chats/conversations              - Create conversation
GET    /chats/conversations              - Get user's conversations
GET    /chats/conversations/:id          - Get conversation details
GET    /chats/conversations/:id/messages - Get messages (paginated)
POST   /chats/conversations/:id/read     - Mark conversation as read
DELETE /chats/messages/:id               - Delete message
POST   /chats/conversations/:id/participants - Add participants
DELETE /chats/conversations/:id/participants/:userId - Remove participant
POST   /chats/conversations/:id/leave    - Leave conversation
`;

const rows = TABLE.trim().split('\n').map((line) => /^(\w+)\s+(\S+)\s+- (.*)$/.exec(line).slice(1));

test('all endpoints require authentication', limit, async () => {
  const { ann } = await cast();
  assert.equal(rows.length, 9);
  for (const [method, path] of rows) {
    const real = path.replaceAll(/:\w+/g, ann.id);
    const body = method === 'POST' ? {} : undefined;
    failed(await request(method, real, { body }), 401, 'UNAUTHORIZED');
    failed(await request(method, real, { body, token: 'your-jwt-token', gateway: 1 }), 401, 'UNAUTHORIZED');
  }
});

test('the table from top to bottom, each row on another gateway than the one before', limit, async () => {
  const { ann, ben, cat } = await cast();
  let turn = 0;
  /** The row of that description, called by `user`. */
  const row = (user, description, { id, userId, query = '', body } = {}) => {
    const [method, path] = rows.find(([, , text]) => text === description);
    turn += 1;
    return as(user, method, path.replace(':id', id).replace(':userId', userId) + query, body, { gateway: turn % 2 });
  };

  const name = unique('group');
  const made = ok(await row(ann, 'Create conversation', { body: { participantIds: [ben.id], type: 'group', name } }), 201);
  conversation(made);
  assert.deepEqual([made.type, made.name, made.lastMessage, made.unreadCount], ['group', name, null, 0]);
  const id = made._id;

  const sent = [];
  for (let index = 0; index < 5; index += 1) {
    sent.push(ok(await as(ben, 'POST', '/messages', { conversationId: id, content: `message ${index}` }), 201).id);
  }
  const listed = ok(await row(ann, 'Get user\'s conversations'), 200);
  assert.ok(Array.isArray(listed));
  listed.forEach(conversation);
  const entry = listed.find(({ _id }) => _id === id);
  assert.equal(entry.unreadCount, 5);

  const details = ok(await row(ann, 'Get conversation details', { id }), 200);
  conversation(details);
  assert.deepEqual(details.participants.map((one) => [one._id, one.role]).sort(), [[ann.id, 'owner'], [ben.id, 'member']].sort());

  const found = [];
  let query = '?limit=2';
  for (;;) {
    const body = ok(await row(ann, 'Get messages (paginated)', { id, query }), 200);
    page(body, message);
    assert.ok(body.messages.length <= 2);
    found.push(...body.messages.map(({ _id }) => _id));
    if (!body.hasMore) break;
    query = `?limit=2&before=${encodeURIComponent(body.nextCursor)}`;
  }
  assert.deepEqual(found, [...sent].reverse(), 'newest first, each once');
  const before = ok(await row(ann, 'Get messages (paginated)', { id, query: `?before=${sent[2]}` }), 200);
  assert.deepEqual(before.messages.map(({ _id }) => _id), [sent[1], sent[0]], '`before` takes a message’s id as well');

  assert.deepEqual(ok(await row(ann, 'Mark conversation as read', { id }), 200, 201), { unreadCount: 0 });
  assert.equal(ok(await row(ann, 'Get conversation details', { id }), 200).unreadCount, 0);

  assert.deepEqual(ok(await row(ben, 'Delete message', { id: sent[1] }), 200), { success: true, messageId: sent[1] });
  const after = ok(await row(ann, 'Get messages (paginated)', { id }), 200);
  const tombstone = after.messages.find(({ _id }) => _id === sent[1]);
  assert.deepEqual([tombstone.isDeleted, Boolean(tombstone.content)], [true, false]);

  failed(await row(ben, 'Add participants', { id, body: { userIds: [cat.id] } }), 403, 'FORBIDDEN');
  const grown = ok(await row(ann, 'Add participants', { id, body: { userIds: [cat.id] } }), 200, 201);
  conversation(grown);
  assert.equal(grown.participants.length, 3);
  ok(await row(cat, 'Get conversation details', { id }), 200);

  ok(await row(ann, 'Remove participant', { id, userId: cat.id }), 204);
  failed(await row(cat, 'Get conversation details', { id }), 404, 'NOT_FOUND');

  ok(await row(ben, 'Leave conversation', { id }), 204);
  failed(await row(ben, 'Get conversation details', { id }), 404, 'NOT_FOUND');
  assert.deepEqual(ok(await row(ann, 'Get conversation details', { id }), 200).participants.map((one) => one._id), [ann.id]);
});

test('a direct conversation is one, whoever begins it', limit, async () => {
  const { ann, ben } = await cast();
  const first = ok(await as(ann, 'POST', '/chats/conversations', { participantIds: [ben.id], type: 'direct' }), 200, 201);
  conversation(first);
  const second = ok(await as(ben, 'POST', '/chats/conversations', { participantIds: [ann.id], type: 'direct' }, { gateway: 1 }), 200, 201);
  assert.equal(second._id, first._id);
});
