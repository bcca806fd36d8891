// What the contracts' objects look like. Exact on purpose: a field too many may be somebody's password hash.

import assert from 'node:assert/strict';

/** Asserts that `value` is an object with all of `required`, and nothing else but some of `optional`. */
export function keys(value, required, optional = [], where = '') {
  assert.ok(value !== null && typeof value === 'object' && !Array.isArray(value), `an object, ${where}: ${JSON.stringify(value)}`);
  const present = Object.keys(value);
  const missing = required.filter((key) => !present.includes(key));
  const surplus = present.filter((key) => !required.includes(key) && !optional.includes(key));
  assert.deepEqual({ missing, surplus }, { missing: [], surplus: [] }, `fields of ${JSON.stringify(value)} ${where}`);
}

/** An id is a string that is not empty. */
export function id(value, where = 'id') {
  assert.equal(typeof value, 'string', `${where} is a string: ${JSON.stringify(value)}`);
  assert.notEqual(value, '', where);
}

/** Times are ISO 8601 in UTC. */
export function time(value, where = 'time') {
  assert.equal(typeof value, 'string', `${where}: ${JSON.stringify(value)}`);
  assert.match(value, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$/, where);
}

const MESSAGE = [
  '_id', 'conversationId', 'sender', 'content', 'type', 'status', 'seq', 'createdAt', 'updatedAt', 'isEdited', 'isDeleted', 'replyTo',
];

/** Message of the conversations dialect and of /chats. */
export function message(value, { tempId = false } = {}) {
  keys(value, tempId ? [...MESSAGE, 'tempId'] : MESSAGE, [], '(Message)');
  id(value._id, '_id');
  id(value.conversationId, 'conversationId');
  keys(value.sender, ['_id', 'name', 'username'], [], '(Message.sender)');
  id(value.sender._id, 'sender._id');
  assert.ok(['sent', 'delivered', 'read'].includes(value.status), `status ${value.status}`);
  assert.ok(Number.isSafeInteger(value.seq) && value.seq > 0, `seq ${value.seq}`);
  time(value.createdAt, 'createdAt');
  time(value.updatedAt, 'updatedAt');
  assert.equal(typeof value.isEdited, 'boolean');
  assert.equal(typeof value.isDeleted, 'boolean');
  assert.equal(typeof value.type, 'string');
  if (value.replyTo !== null) id(value.replyTo, 'replyTo');
}

/** Conversation of the conversations dialect and of /chats. */
export function conversation(value) {
  keys(
    value,
    ['_id', 'type', 'name', 'participants', 'lastMessage', 'unreadCount', 'createdAt', 'updatedAt'],
    [],
    '(Conversation)',
  );
  id(value._id, '_id');
  assert.ok(['direct', 'group'].includes(value.type), `type ${value.type}`);
  assert.ok(value.name === null || typeof value.name === 'string', `name ${JSON.stringify(value.name)}`);
  assert.ok(Array.isArray(value.participants), 'participants');
  value.participants.forEach(participant);
  assert.ok(Number.isSafeInteger(value.unreadCount) && value.unreadCount >= 0, `unreadCount ${value.unreadCount}`);
  if (value.lastMessage !== null) assert.equal(typeof value.lastMessage, 'object', 'lastMessage');
  time(value.createdAt, 'createdAt');
  time(value.updatedAt, 'updatedAt');
}

/** One of a Conversation's participants. */
export function participant(value) {
  keys(value, ['_id', 'name', 'username', 'isOnline', 'role'], [], '(participant)');
  id(value._id, 'participant._id');
  assert.equal(typeof value.isOnline, 'boolean');
  assert.ok(['owner', 'admin', 'member'].includes(value.role), `role ${value.role}`);
}

/** Message of /messages. */
export function restMessage(value) {
  keys(
    value,
    [
      'id', 'content', 'messageType', 'isRead', 'isEdited', 'isDeleted', 'senderId', 'conversationId', 'seq', 'createdAt', 'updatedAt',
      'sender',
    ],
    ['replyTo'],
    '(message)',
  );
  id(value.id, 'id');
  id(value.senderId, 'senderId');
  id(value.conversationId, 'conversationId');
  keys(value.sender, ['id', 'username', 'avatar'], [], '(message.sender)');
  assert.equal(value.sender.id, value.senderId);
  assert.ok(Number.isSafeInteger(value.seq) && value.seq > 0, `seq ${value.seq}`);
  for (const flag of ['isRead', 'isEdited', 'isDeleted']) assert.equal(typeof value[flag], 'boolean', flag);
  time(value.createdAt, 'createdAt');
  time(value.updatedAt, 'updatedAt');
}

/** user of /auth. */
export function user(value) {
  keys(value, ['id', 'email', 'username', 'name', 'avatar', 'isOnline', 'lastSeen', 'createdAt'], [], '(user)');
  id(value.id, 'id');
  assert.equal(typeof value.isOnline, 'boolean');
  time(value.createdAt, 'createdAt');
  if (value.lastSeen !== null) time(value.lastSeen, 'lastSeen');
}

/** A page of messages, whichever route it comes from. */
export function page(value, each) {
  keys(value, ['messages', 'nextCursor', 'hasMore'], [], '(page)');
  assert.ok(Array.isArray(value.messages), 'messages');
  assert.equal(typeof value.hasMore, 'boolean');
  if (value.hasMore) id(value.nextCursor, 'nextCursor');
  value.messages.forEach((entry) => each(entry));
  const seqs = value.messages.map((entry) => entry.seq);
  assert.deepEqual(seqs, [...seqs].sort((a, b) => b - a), 'newest first');
}
