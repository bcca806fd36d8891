// joinRoom, leaveRoom, sendMessage: what a room sees, and exactly in which words.

import assert from 'node:assert/strict';
import test from 'node:test';
import { barrier, group, join, say } from './support/chat.js';
import { people, unique } from './support/people.js';
import * as shapes from './support/shapes.js';
import { connect, emitAck, heard, once, quiet, rejected, succeed } from './support/socket.js';
import { storedMessages } from './support/truth.js';

const cast = people('ann', 'ben', 'cat');
const limit = { timeout: 240_000 };

/** ann on gateway 0, ben and cat on gateway 1, in a fresh group, joined. */
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

const carrying = (content) => ({ message }) => message.content === content;

test('a message reaches both gateways in the contract’s words', limit, async (t) => {
  const { ann, a, b, c, conversationId } = await room(t);
  const content = unique();
  const tempId = unique('temp');
  const answer = await emitAck(a, 'sendMessage', { conversationId, content, type: 'text', tempId });
  shapes.keys(answer, ['success', 'messageId', 'tempId']);
  assert.equal(answer.success, true);
  assert.equal(answer.tempId, tempId);
  shapes.id(answer.messageId, 'messageId');

  const sent = await once(a, 'messageSent', (event) => event.tempId === tempId);
  shapes.keys(sent, ['tempId', 'messageId', 'conversationId', 'createdAt']);
  assert.deepEqual([sent.messageId, sent.conversationId], [answer.messageId, conversationId]);

  for (const socket of [a, b, c]) {
    const event = await once(socket, 'newMessage', carrying(content));
    shapes.keys(event, ['message', 'conversationId']);
    assert.equal(event.conversationId, conversationId);
    const { message } = event;
    shapes.message(message, { tempId: socket === a });
    if (socket === a) assert.equal(message.tempId, tempId);
    assert.equal(message._id, answer.messageId);
    assert.equal(message.conversationId, conversationId);
    assert.deepEqual(message.sender, { _id: ann.id, name: ann.name, username: ann.username });
    assert.deepEqual([message.type, message.isEdited, message.isDeleted, message.replyTo], ['text', false, false, null]);
    assert.equal(message.createdAt, sent.createdAt);
  }
  const [stored] = await storedMessages(conversationId);
  assert.deepEqual([stored.id, stored.content, stored.sender_id], [answer.messageId, content, ann.id]);
});

test('tempId is nobody’s but the sender’s', limit, async (t) => {
  const { ann, a, b, conversationId } = await room(t);
  const second = await connect(t, ann, { gateway: 1 });
  await join(conversationId, second);
  const content = unique();
  await say(a, conversationId, content, { tempId: 'mine' });
  const mine = await once(second, 'newMessage', carrying(content));
  assert.ok([undefined, 'mine'].includes(mine.message.tempId), 'another socket of the sender');
  const theirs = await once(b, 'newMessage', carrying(content));
  assert.equal(Object.hasOwn(theirs.message, 'tempId'), false);
  assert.equal(heard(second, 'messageSent').length, 0, 'messageSent is for the sending socket');
});

test('without tempId there is none anywhere', limit, async (t) => {
  const { a, b, conversationId } = await room(t);
  const content = unique();
  const messageId = await say(a, conversationId, content);
  const sent = await once(a, 'messageSent', (event) => event.messageId === messageId);
  assert.ok(sent.tempId === undefined || sent.tempId === null);
  for (const socket of [a, b]) shapes.message((await once(socket, 'newMessage', carrying(content))).message);
});

test('an event without an acknowledgement is carried out all the same', limit, async (t) => {
  const { a, b, conversationId } = await room(t);
  const content = unique();
  a.emit('sendMessage', { conversationId, content, tempId: 'silent' });
  await once(a, 'messageSent', (event) => event.tempId === 'silent');
  await once(b, 'newMessage', carrying(content));
});

test('a member need not have joined to send', limit, async (t) => {
  const { ben, a, conversationId } = await room(t);
  const outside = await connect(t, ben, { gateway: 1 });
  const content = unique();
  const answer = await succeed(outside, 'sendMessage', { conversationId, content, tempId: 'from outside' });
  const sent = await once(outside, 'messageSent', (event) => event.tempId === 'from outside');
  assert.equal(sent.messageId, answer.messageId);
  assert.equal((await once(a, 'newMessage', carrying(content))).message.sender._id, ben.id);
});

test('each of a user’s sockets that joined hears a message once, also after joining twice', limit, async (t) => {
  const { ben, a, b, conversationId } = await room(t);
  const second = await connect(t, ben, { gateway: 0, namespace: '/' });
  await join(conversationId, second, second, b);
  const messageId = await say(a, conversationId);
  await barrier(conversationId, a, b, second);
  for (const socket of [b, second]) {
    assert.equal(heard(socket, 'newMessage', ({ message }) => message._id === messageId).length, 1);
  }
});

test('leaveRoom ends the live events, joinRoom resumes them', limit, async (t) => {
  const { a, b, c, conversationId } = await room(t);
  await succeed(c, 'leaveRoom', { conversationId });
  const missed = await say(a, conversationId);
  await barrier(conversationId, a, b);
  await quiet(300);
  assert.equal(heard(c, 'newMessage').length, 0);
  await succeed(c, 'leaveRoom', { conversationId });
  await join(conversationId, c);
  const seen = await say(a, conversationId);
  await once(c, 'newMessage', ({ message }) => message._id === seen);
  assert.equal(heard(c, 'newMessage', ({ message }) => message._id === missed).length, 0);
});

test('rooms are apart: one conversation’s messages stay in it', limit, async (t) => {
  const { ann, ben, a, b, conversationId } = await room(t);
  const other = await group(ann, [ben]);
  await join(other, a);
  const content = unique();
  await say(a, other, content);
  await once(a, 'newMessage', carrying(content));
  await barrier(conversationId, a, b);
  await quiet(200);
  assert.equal(heard(b, 'newMessage', (event) => event.conversationId === other).length, 0, 'ben has not joined it');
});

test('a reply names the message it answers', limit, async (t) => {
  const { ann, ben, a, b, conversationId } = await room(t);
  const question = await say(a, conversationId);
  const content = unique();
  await say(b, conversationId, content, { replyTo: question });
  assert.equal((await once(a, 'newMessage', carrying(content))).message.replyTo, question);

  const elsewhere = await group(ann, [ben]);
  const foreign = await say(a, elsewhere);
  for (const replyTo of [foreign, '9007199254740993']) {
    await rejected(b, ['NOT_FOUND', 'VALIDATION_FAILED'], 'sendMessage', { conversationId, content: 'to what?', replyTo });
  }
});

test('content is trimmed', limit, async (t) => {
  const { a, b, conversationId } = await room(t);
  const content = unique();
  await say(a, conversationId, ` \n\t\u00a0${content} \r\n\u2003`);
  await once(b, 'newMessage', carrying(content));
  assert.deepEqual((await storedMessages(conversationId)).map((row) => row.content), [content]);
});

test('what is inside a message is left as it is', limit, async (t) => {
  const { a, b, conversationId } = await room(t);
  const texts = ['<b onclick="x()">&amp;</b>', 'a\u0001\u001e\u2028b', 'tab\tand\nline', '"\\u0041"', 'e\u0301 🏳️‍🌈 \u{10ffff}', '{"_placeholder":true,"num":0}', "'; DROP TABLE messages; --", '\u202eback'];
  for (const content of texts) {
    await say(a, conversationId, content);
    await once(b, 'newMessage', carrying(content));
  }
  assert.deepEqual((await storedMessages(conversationId)).map((row) => row.content), texts);
});

test('4000 characters are enough, 4001 are too many, whatever their bytes', limit, async (t) => {
  const { a, b, conversationId } = await room(t);
  for (const character of ['x', 'é', '漢', '😀']) {
    const content = character.repeat(4000);
    await say(a, conversationId, `  ${content}  `);
    await once(b, 'newMessage', carrying(content));
    await rejected(a, 'VALIDATION_FAILED', 'sendMessage', { conversationId, content: character.repeat(4001) });
  }
});

test('blank content, NUL and half a character are refused', limit, async (t) => {
  const { a, conversationId } = await room(t);
  for (const content of ['', ' ', '\n\t \u00a0\u2003', '\u0000', 'a\u0000b', '\ud83d', 'x\ude00y', '\ude00\ud83d']) {
    await rejected(a, 'VALIDATION_FAILED', 'sendMessage', { conversationId, content });
  }
  assert.deepEqual(await storedMessages(conversationId), []);
});

test('a tempId of 128 bytes is allowed, one of 129 is not', limit, async (t) => {
  const { a, conversationId } = await room(t);
  for (const tempId of ['x'.repeat(128), '€'.repeat(42), '😀'.repeat(32)]) {
    const answer = await succeed(a, 'sendMessage', { conversationId, content: unique(), tempId });
    assert.equal(answer.tempId, tempId);
  }
  for (const tempId of ['x'.repeat(129), '€'.repeat(43), '😀'.repeat(33)]) {
    await rejected(a, 'VALIDATION_FAILED', 'sendMessage', { conversationId, content: unique(), tempId });
  }
});
