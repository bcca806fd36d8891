// A client that does not know whether its message arrived sends it again. It is stored and said once.

import assert from 'node:assert/strict';
import test from 'node:test';
import { barrier, group, join, say } from './support/chat.js';
import { people, unique } from './support/people.js';
import { as, failed, ok } from './support/rest.js';
import { connect, emitAck, heard, once, succeed } from './support/socket.js';
import { storedMessages } from './support/truth.js';

const cast = people('ann', 'ben');
const limit = { timeout: 240_000 };

async function pair(t) {
  const { ann, ben } = await cast();
  const [a, elsewhere, b] = await Promise.all([
    connect(t, ann, { gateway: 0 }),
    connect(t, ann, { gateway: 1 }),
    connect(t, ben, { gateway: 1 }),
  ]);
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, elsewhere, b);
  return { ann, ben, a, elsewhere, b, conversationId };
}

/** Asserts that `content` is one row and was said once to each of `sockets`; `speaker` says something after it first. */
async function isOnce(conversationId, content, messageId, speaker, sockets) {
  await barrier(conversationId, speaker, ...sockets);
  const rows = (await storedMessages(conversationId)).filter((row) => row.content === content);
  assert.deepEqual(rows.map((row) => row.id), [messageId], 'one row');
  for (const socket of sockets) {
    const said = heard(socket, 'newMessage', ({ message }) => message.content === content);
    assert.deepEqual(said.map(({ message }) => message._id), [messageId], 'one broadcast');
  }
}

function sameId(answers) {
  for (const answer of answers) assert.equal(answer.success, true, JSON.stringify(answer));
  const ids = new Set(answers.map((answer) => answer.messageId));
  assert.equal(ids.size, 1, `one id for all: ${[...ids]}`);
  return answers[0].messageId;
}

test('a retry after the answer gets the same answer', limit, async (t) => {
  const { a, elsewhere, b, conversationId } = await pair(t);
  const payload = { conversationId, content: unique(), tempId: unique('temp') };
  const answers = [];
  for (let attempt = 0; attempt < 3; attempt += 1) answers.push(await emitAck(a, 'sendMessage', payload));
  for (const answer of answers) assert.equal(answer.tempId, payload.tempId);
  await isOnce(conversationId, payload.content, sameId(answers), b, [a, elsewhere, b]);
});

test('retries all at once, on both gateways, are one message', limit, async (t) => {
  const { a, elsewhere, b, conversationId } = await pair(t);
  for (let round = 0; round < 5; round += 1) {
    const payload = { conversationId, content: unique(), tempId: unique('temp') };
    const answers = await Promise.all(
      [a, elsewhere, a, elsewhere, a, elsewhere].map((socket) => emitAck(socket, 'sendMessage', payload)),
    );
    await isOnce(conversationId, payload.content, sameId(answers), b, [a, elsewhere, b]);
  }
});

test('a retry much later, with others’ messages between, stays where it was', limit, async (t) => {
  const { a, elsewhere, b, conversationId } = await pair(t);
  const payload = { conversationId, content: unique(), tempId: unique('temp') };
  const first = await emitAck(a, 'sendMessage', payload);
  for (let index = 0; index < 20; index += 1) await say(b, conversationId);
  const before = await storedMessages(conversationId);
  const again = await emitAck(elsewhere, 'sendMessage', payload);
  assert.deepEqual(await storedMessages(conversationId), before);
  await isOnce(conversationId, payload.content, sameId([first, again]), b, [a, elsewhere, b]);
});

test('a retry after reconnecting, here or to the other gateway, is the same message', limit, async (t) => {
  const { ann, a, b, conversationId } = await pair(t);
  const payload = { conversationId, content: unique(), tempId: unique('temp') };
  // The first attempt's answer is lost with its connection; whether the message arrived is anybody's guess.
  const lost = await connect(t, ann, { gateway: 0 });
  lost.emit('sendMessage', payload);
  lost.io.engine.close();
  const answers = [];
  for (const gateway of [0, 1]) {
    const socket = await connect(t, ann, { gateway });
    answers.push(await emitAck(socket, 'sendMessage', payload));
  }
  await isOnce(conversationId, payload.content, sameId(answers), b, [a, b]);
});

test('the same tempId with other text is another message', limit, async (t) => {
  const { a, b, conversationId } = await pair(t);
  const tempId = unique('temp');
  const contents = [unique(), unique()];
  const ids = [];
  for (const content of contents) {
    const answer = await succeed(a, 'sendMessage', { conversationId, content, tempId });
    assert.equal(answer.tempId, tempId);
    ids.push(answer.messageId);
  }
  assert.notEqual(ids[0], ids[1]);
  for (const [index, content] of contents.entries()) await isOnce(conversationId, content, ids[index], b, [a, b]);
});

test('the same text with another tempId, or with none, is another message each time', limit, async (t) => {
  const { a, b, conversationId } = await pair(t);
  const content = unique();
  const ids = [];
  for (const more of [{ tempId: 'one' }, { tempId: 'two' }, {}, {}]) ids.push(await say(a, conversationId, content, more));
  assert.equal(new Set(ids).size, 4);
  await barrier(conversationId, a, b);
  assert.deepEqual(heard(b, 'newMessage', ({ message }) => message.content === content).map(({ message }) => message._id), ids);
});

test('a tempId is its sender’s and its conversation’s own', limit, async (t) => {
  const { ann, ben, a, b, conversationId } = await pair(t);
  const other = await group(ann, [ben]);
  const content = unique();
  const ids = [
    await say(a, conversationId, content, { tempId: 'shared' }),
    await say(b, conversationId, content, { tempId: 'shared' }),
    await say(a, other, content, { tempId: 'shared' }),
  ];
  assert.equal(new Set(ids).size, 3);
});

test('Idempotency-Key does for REST what tempId does for sockets, and they are one', limit, async (t) => {
  const { ann, a, elsewhere, b, conversationId } = await pair(t);
  const key = unique('key');
  const content = unique();
  const headers = { 'idempotency-key': key };
  const post = (gateway, body = { conversationId, content }) => as(ann, 'POST', '/messages', body, { headers, gateway });
  const answers = await Promise.all([post(0), post(1), post(0), post(1)]);
  const ids = answers.map((answer) => ok(answer, 200, 201).id);
  ids.push((await succeed(elsewhere, 'sendMessage', { conversationId, content, tempId: key })).messageId);
  assert.equal(new Set(ids).size, 1);
  await isOnce(conversationId, content, ids[0], b, [a, elsewhere, b]);
  const other = ok(await post(1, { conversationId, content: unique() }), 201);
  assert.notEqual(other.id, ids[0]);
  failed(await as(ann, 'POST', '/messages', { conversationId, content }, { headers: { 'idempotency-key': 'x'.repeat(129) } }), 400, 'VALIDATION_FAILED');
});

test('a retry of what was deleted meanwhile does not bring it back', limit, async (t) => {
  const { a, b, conversationId } = await pair(t);
  const payload = { conversationId, content: unique(), tempId: unique('temp') };
  const { messageId } = await succeed(a, 'sendMessage', payload);
  await succeed(a, 'deleteMessage', { conversationId, messageId });
  await once(b, 'messageDeleted', (event) => event.messageId === messageId);
  assert.equal((await succeed(a, 'sendMessage', payload)).messageId, messageId);
  await barrier(conversationId, b, a, b);
  const rows = await storedMessages(conversationId);
  assert.deepEqual(rows.map((row) => row.deleted), [true, false]);
  assert.equal(heard(b, 'newMessage', ({ message }) => message._id === messageId).length, 1);
});
