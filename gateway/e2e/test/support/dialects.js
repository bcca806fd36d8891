// What the dialects other than `conversations` look like on the wire, and how each of them refuses.

import assert from 'node:assert/strict';
import { id, keys, time } from './shapes.js';
import { connect, dial, emitAck, once, opened, succeed } from './socket.js';

/** Where a source's clients connect to. */
const NAMESPACES = { direct: '/', rooms: '/', namespaced: '/chat', conversations: '/chat' };

/** The error event of each dialect: its name, what it has, what it may have. */
const ERRORS = {
  direct: ['error', ['message', 'code'], []],
  rooms: ['error', ['code', 'message', 'event'], []],
  namespaced: ['system:error', ['message', 'code'], ['event']],
  conversations: ['error', ['code', 'message', 'event'], []],
};

/** An open socket of `user` where clients of `dialect` connect to. Nothing names the dialect: its first event does. */
export function client(t, dialect, user, options = {}) {
  return connect(t, user, { namespace: NAMESPACES[dialect], ...options });
}

/** An open socket of nobody in particular. */
export function guest(t, dialect, options = {}) {
  return opened(dial(t, { namespace: NAMESPACES[dialect], ...options }));
}

/** Asserts that an event is refused with `code`, in the acknowledgement and in the dialect's own error event alike. */
export async function refuses(socket, dialect, code, event, ...args) {
  const where = `${event}(${args.map((arg) => JSON.stringify(arg)?.slice(0, 200)).join(', ')}) in ${dialect}`;
  const answer = await emitAck(socket, event, ...args);
  assert.equal(answer?.success, false, `${where}: ${JSON.stringify(answer)}`);
  keys(answer, ['success', 'error'], [], `in the acknowledgement of ${where}`);
  keys(answer.error, ['code', 'message'], [], `in the acknowledgement of ${where}`);
  assert.equal(answer.error.code, code, `${where}: ${JSON.stringify(answer.error)}`);
  const [name, required, optional] = ERRORS[dialect];
  const told = await once(socket, name, (error) => error?.code === code && (error.event === undefined || error.event === event));
  keys(told, required, optional, `in the error event of ${where}`);
  assert.equal(typeof told.message, 'string', where);
  assert.notEqual(told.message, '', where);
  return told;
}

/** The error event alone, where no acknowledgement was asked for. */
export async function complaint(socket, dialect, code) {
  const [name, required, optional] = ERRORS[dialect];
  const told = await once(socket, name, (error) => error?.code === code);
  keys(told, required, optional, `in ${name}`);
  return told;
}

/** `receive_message`, and each entry of `messages_list`. */
export function directMessage(value) {
  keys(value, ['id', 'content', 'senderId', 'senderName', 'receiverId', 'receiverName', 'createdAt'], [], '(receive_message)');
  assert.ok(Number.isSafeInteger(value.id) && value.id > 0, `id is a number: ${JSON.stringify(value.id)}`);
  for (const field of ['content', 'senderName', 'receiverName']) assert.equal(typeof value[field], 'string', field);
  id(value.senderId, 'senderId');
  id(value.receiverId, 'receiverId');
  time(value.createdAt, 'createdAt');
}

/** `send_message`, answered; the message's number. */
export async function sendTo(socket, receiver, content) {
  const answer = await succeed(socket, 'send_message', { receiverId: receiver.id, content });
  keys(answer, ['success', 'messageId'], [], '(the answer to send_message)');
  assert.ok(Number.isSafeInteger(answer.messageId), `messageId is a number: ${JSON.stringify(answer)}`);
  return answer.messageId;
}

/** `message` of the rooms dialect. */
export function roomsMessage(value) {
  keys(value, ['id', 'type', 'roomId', 'content', 'sender', 'senderId', 'timestamp'], [], '(message)');
  assert.equal(value.type, 'CHAT');
  for (const field of ['id', 'roomId', 'senderId', 'sender']) id(value[field], field);
  assert.equal(typeof value.content, 'string');
  time(value.timestamp, 'timestamp');
}

/** `userStatus` of the rooms dialect. */
export function userStatus(value) {
  keys(value, ['type', 'roomId', 'userId', 'username', 'activeUsers', 'timestamp'], [], '(userStatus)');
  assert.ok(['JOIN', 'LEAVE'].includes(value.type), `type ${value.type}`);
  for (const field of ['roomId', 'userId', 'username']) id(value[field], field);
  assert.ok(Number.isSafeInteger(value.activeUsers) && value.activeUsers >= 0, `activeUsers ${value.activeUsers}`);
  time(value.timestamp, 'timestamp');
}

/** User of the namespaced dialect; whose, if `account` is given. */
export function namespacedUser(value, account) {
  keys(value, ['userId', 'userName', 'role'], [], '(User)');
  id(value.userId, 'userId');
  id(value.userName, 'userName');
  id(value.role, 'role');
  if (account) assert.deepEqual(value, { userId: account.id, userName: account.username, role: 'user' });
}

/** Message of the namespaced dialect. */
export function namespacedMessage(value) {
  keys(value, ['id', 'sender', 'content', 'timestamp'], ['roomId'], '(Message)');
  id(value.id, 'id');
  namespacedUser(value.sender);
  assert.equal(typeof value.content, 'string');
  time(value.timestamp, 'timestamp');
}

/** ChatRoom of the namespaced dialect. */
export function chatRoom(value) {
  keys(value, ['id', 'name', 'participants', 'createdAt'], ['lastMessage'], '(ChatRoom)');
  id(value.id, 'id');
  id(value.name, 'name');
  assert.ok(Array.isArray(value.participants), 'participants');
  value.participants.forEach((user) => namespacedUser(user));
  if (value.lastMessage) namespacedMessage(value.lastMessage);
  time(value.createdAt, 'createdAt');
}

/** `system:notification` about who the socket is. */
export function notification(value) {
  keys(value, ['type', 'message', 'data'], [], '(system:notification)');
  assert.equal(value.type, 'auth');
  assert.equal(typeof value.message, 'string');
}
