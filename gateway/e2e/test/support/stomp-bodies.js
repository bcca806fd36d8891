// What STOMP's bodies look like, and the steps that most tests begin and end with.

import assert from 'node:assert/strict';
import { unique } from './people.js';
import { id, keys, time } from './shapes.js';
import { saying } from './stomp.js';

const COMMON = ['type', 'content', 'sender', 'roomId', 'id', 'timestamp'];

/** CHAT, JOIN or LEAVE, as the contract has it; with what Confab adds. */
export function chatBody(value, expected = {}) {
  const isPresence = value.type !== 'CHAT';
  keys(value, [...COMMON, 'senderId', ...(isPresence ? ['activeUsers'] : [])], isPresence ? [] : ['receiver', 'receiverId', 'editedAt'], '(the body of a room’s MESSAGE)');
  assert.ok(['CHAT', 'JOIN', 'LEAVE'].includes(value.type), `type ${value.type}`);
  for (const field of ['sender', 'senderId', 'roomId', 'id']) id(value[field], field);
  if (isPresence) assert.equal(value.content, '');
  else assert.equal(typeof value.content, 'string');
  time(value.timestamp, 'timestamp');
  for (const [field, wanted] of Object.entries(expected)) assert.equal(value[field], wanted, `${field} of ${JSON.stringify(value)}`);
}

/** A direct message. */
export function privateBody(value, { sender, receiver, content }) {
  keys(value, [...COMMON, 'senderId', 'receiver', 'receiverId'], ['editedAt'], '(the body of a direct MESSAGE)');
  assert.deepEqual(
    [value.type, value.content, value.sender, value.senderId, value.receiver, value.receiverId],
    ['CHAT', content, sender.username, sender.id, receiver.username, receiver.id],
  );
  for (const field of ['id', 'roomId']) id(value[field], field);
  time(value.timestamp, 'timestamp');
}

/** An unread count among the notifications. */
export function badgeBody(value) {
  keys(value, ['type', 'roomId', 'unreadCount', 'lastMessage', 'timestamp'], [], '(the body of a notification)');
  assert.equal(value.type, 'UNREAD');
  id(value.roomId, 'roomId');
  time(value.timestamp, 'timestamp');
  assert.ok(Number.isSafeInteger(value.unreadCount) && value.unreadCount >= 0, `unreadCount ${value.unreadCount}`);
  if (value.lastMessage === null) return;
  keys(value.lastMessage, ['id', 'content', 'sender', 'senderId', 'timestamp', 'status'], ['editedAt', 'deletedAt'], '(lastMessage)');
  time(value.lastMessage.timestamp, 'timestamp');
}

/** Says something in a room by its name, and waits until it is stored. `heardBy`, a listener, is to hear it; its body. */
export async function say(speaker, roomId, heardBy, content = unique()) {
  await speaker.send(`/app/chat/${roomId}/sendMessage`, { content });
  const body = await heardBy.next(saying(content));
  chatBody(body, { type: 'CHAT', content });
  return body;
}

/** A last message in a room that all `listeners` wait for: what was to come before it has come. What it says. */
export async function barrier(speaker, roomId, ...listeners) {
  const content = unique('barrier');
  await speaker.send(`/app/chat/${roomId}/sendMessage`, { content });
  await Promise.all(listeners.map((listener) => listener.next(saying(content))));
  return content;
}
