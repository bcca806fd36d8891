// /messages: sending, changing and reading back over REST, and how pages follow each other.

import assert from 'node:assert/strict';
import test from 'node:test';
import { group, join, say, stream } from './support/chat.js';
import { nobody, people, unique } from './support/people.js';
import { as, failed, ok } from './support/rest.js';
import * as shapes from './support/shapes.js';
import { connect, once } from './support/socket.js';
import { storedMessages } from './support/truth.js';

const cast = people('ann', 'ben', 'eve');
const limit = { timeout: 240_000 };

async function pair() {
  const users = await cast();
  return { ...users, conversationId: await group(users.ann, [users.ben]) };
}

async function send(user, conversationId, content = unique(), gateway = 0) {
  return ok(await as(user, 'POST', '/messages', { conversationId, content }, { gateway }), 201);
}

async function pageOf(user, conversationId, query = '', gateway = 0) {
  const body = ok(await as(user, 'GET', `/messages/conversation/${conversationId}${query}`, undefined, { gateway }), 200);
  shapes.page(body, shapes.restMessage);
  return body;
}

const ids = (body) => body.messages.map((message) => message.id);

test('POST /messages answers 201 and is heard on sockets', limit, async (t) => {
  const { ann, ben, conversationId } = await pair();
  const b = await connect(t, ben, { gateway: 1 });
  await join(conversationId, b);
  const content = unique();
  const message = ok(await as(ann, 'POST', '/messages', { conversationId, content: ` ${content}\n`, messageType: 'text' }), 201);
  shapes.restMessage(message);
  assert.deepEqual(
    [message.content, message.messageType, message.senderId, message.conversationId, message.isRead, message.isEdited, message.isDeleted],
    [content, 'text', ann.id, conversationId, false, false, false],
  );
  assert.deepEqual(message.sender, { id: ann.id, username: ann.username, avatar: null });
  const event = await once(b, 'newMessage', (told) => told.conversationId === conversationId);
  shapes.message(event.message);
  assert.deepEqual([event.message._id, event.message.content, event.message.seq], [message.id, content, message.seq]);
  assert.deepEqual((await storedMessages(conversationId)).map((row) => row.id), [message.id]);
});

test('a reply over REST names what it answers', limit, async (t) => {
  const { ann, ben, conversationId } = await pair();
  const a = await connect(t, ann, { gateway: 1 });
  await join(conversationId, a);
  const question = await send(ann, conversationId);
  const answer = ok(await as(ben, 'POST', '/messages', { conversationId, content: 'yes', replyTo: question.id }), 201);
  const { message } = await once(a, 'newMessage', (told) => told.message._id === answer.id);
  assert.equal(message.replyTo, question.id);
});

test('what is wrong with a message is said field by field', limit, async () => {
  const { ann, conversationId } = await pair();
  const good = { conversationId, content: 'text' };
  const bad = {
    conversationId: [undefined, null, 7, '', 'nope', {}],
    content: [undefined, null, 7, '', ' \n', 'a\u0000b', 'x'.repeat(4001), '😀'.repeat(4001), ['x']],
    replyTo: ['nope', {}, true],
    messageType: [7, {}],
  };
  for (const [field, values] of Object.entries(bad)) {
    for (const value of values) {
      const body = failed(await as(ann, 'POST', '/messages', { ...good, [field]: value }, { gateway: 1 }), 400, 'VALIDATION_FAILED');
      assert.ok(JSON.stringify(body.details ?? '').includes(field), `${field} in ${JSON.stringify(body)}`);
    }
  }
  for (const body of ['', '{', 'null', '[]', `{"conversationId":"${conversationId}","content":"\\ud83d"}`]) {
    failed(await as(ann, 'POST', '/messages', body), 400, 'VALIDATION_FAILED');
  }
  await send(ann, conversationId, '😀'.repeat(4000));
  assert.equal((await storedMessages(conversationId)).length, 1);
});

test('what one may not see is NOT_FOUND', limit, async () => {
  const { ann, eve, conversationId } = await pair();
  const { id } = await send(ann, conversationId);
  for (const hidden of [conversationId, nobody()]) {
    failed(await as(eve, 'POST', '/messages', { conversationId: hidden, content: 'hello?' }), 404, 'NOT_FOUND');
    failed(await as(eve, 'GET', `/messages/conversation/${hidden}`, undefined, { gateway: 1 }), 404, 'NOT_FOUND');
    failed(await as(eve, 'PUT', '/messages/mark-as-read', { conversationId: hidden }), 404, 'NOT_FOUND');
  }
  for (const hidden of [id, '4611686018427387904', 'nope', '1.5', '99999999999999999999999999']) {
    failed(await as(eve, 'PUT', `/messages/${hidden}`, { content: 'mine' }), 404, 'NOT_FOUND');
    failed(await as(eve, 'DELETE', `/messages/${hidden}`), 404, 'NOT_FOUND');
  }
  failed(await as(ann, 'GET', '/messages/conversation/nope'), 404, 'NOT_FOUND');
  failed(await as(ann, 'PUT', '/messages/mark-as-read', { conversationId: 'nope' }), 400, 'VALIDATION_FAILED');
});

test('PUT /messages/{id} is the sender’s alone', limit, async () => {
  const { ann, ben, conversationId } = await pair();
  const { id, seq, createdAt } = await send(ben, conversationId);
  failed(await as(ann, 'PUT', `/messages/${id}`, { content: 'the owner’s' }), 403, 'FORBIDDEN');
  for (const content of ['', ' ', undefined, 7]) failed(await as(ben, 'PUT', `/messages/${id}`, { content }), 400, 'VALIDATION_FAILED');
  const content = unique();
  const edited = ok(await as(ben, 'PUT', `/messages/${id}`, { content }, { gateway: 1 }), 200);
  shapes.restMessage(edited);
  assert.deepEqual([edited.id, edited.content, edited.isEdited, edited.createdAt], [id, content, true, createdAt]);
  assert.ok(edited.seq >= seq);
  assert.equal((await pageOf(ann, conversationId)).messages[0].content, content);
});

test('DELETE /messages/{id} answers the tombstone, to the sender and to the owner', limit, async () => {
  const { ann, ben, conversationId } = await pair();
  const own = await send(ben, conversationId);
  const owners = await send(ann, conversationId);
  const others = await send(ben, conversationId);
  failed(await as(ben, 'DELETE', `/messages/${owners.id}`), 403, 'FORBIDDEN');
  for (const [user, { id }] of [[ben, own], [ann, others], [ann, owners]]) {
    for (const gateway of [0, 1]) {
      const tombstone = ok(await as(user, 'DELETE', `/messages/${id}`, undefined, { gateway }), 200);
      shapes.restMessage(tombstone);
      assert.deepEqual([tombstone.id, tombstone.isDeleted], [id, true]);
      assert.ok(!tombstone.content, 'without content');
    }
  }
  const left = await pageOf(ben, conversationId);
  assert.deepEqual(ids(left), [others.id, owners.id, own.id]);
  for (const message of left.messages) assert.deepEqual([message.isDeleted, Boolean(message.content)], [true, false]);
});

test('pages lead from the newest message to the oldest, each once', limit, async () => {
  const { ann, ben, conversationId } = await pair();
  const sent = [];
  for (let index = 0; index < 7; index += 1) sent.push((await send(index % 2 ? ann : ben, conversationId, unique(), index % 2)).id);
  const newestFirst = [...sent].reverse();

  const seen = [];
  let cursor = null;
  for (let page = 0; page < 3; page += 1) {
    const query = cursor === null ? '?limit=3' : `?limit=3&before=${encodeURIComponent(cursor)}`;
    const body = await pageOf(ann, conversationId, query, page % 2);
    seen.push(...ids(body));
    assert.equal(body.hasMore, page < 2);
    assert.equal(body.messages.length, page < 2 ? 3 : 1);
    cursor = body.nextCursor;
  }
  assert.deepEqual(seen, newestFirst);
  assert.equal(cursor, null, 'the last page leads nowhere');

  assert.deepEqual(ids(await pageOf(ann, conversationId, `?before=${sent[3]}`)), newestFirst.slice(4), 'before a message id');
  assert.deepEqual(ids(await pageOf(ann, conversationId, `?after=${sent[3]}`)), newestFirst.slice(0, 3), 'after a message id');
  assert.deepEqual(ids(await pageOf(ann, conversationId, `?after=${sent[6]}`)), []);
  assert.deepEqual(ids(await pageOf(ann, conversationId, '?page=1&limit=3')), newestFirst.slice(0, 3));
  assert.deepEqual(ids(await pageOf(ann, conversationId, '?page=3&limit=3', 1)), newestFirst.slice(6));
  assert.deepEqual(ids(await pageOf(ann, conversationId, '?page=4&limit=3')), []);
});

test('a page that begins before new messages came is not moved by them', limit, async () => {
  const { ann, ben, conversationId } = await pair();
  const sent = [];
  for (let index = 0; index < 4; index += 1) sent.push((await send(ann, conversationId)).id);
  const first = await pageOf(ben, conversationId, '?limit=2');
  await send(ann, conversationId);
  await send(ann, conversationId);
  const second = await pageOf(ben, conversationId, `?limit=2&before=${encodeURIComponent(first.nextCursor)}`, 1);
  assert.deepEqual([...ids(first), ...ids(second)], [...sent].reverse());
});

test('limit is cut to 100; 0 and garbage are refused', limit, async (t) => {
  const { ann, conversationId } = await pair();
  const a = await connect(t, ann);
  await stream(a, Array.from({ length: 103 }, (_, index) => ({ conversationId, content: `${index}` })));
  for (const wanted of [100, 101, 1000, 999999]) {
    const body = await pageOf(ann, conversationId, `?limit=${wanted}`, wanted % 2);
    assert.deepEqual([body.messages.length, body.hasMore], [100, true]);
  }
  for (const wanted of ['0', '-1', 'many', '1.5']) {
    failed(await as(ann, 'GET', `/messages/conversation/${conversationId}?limit=${wanted}`), 400, 'VALIDATION_FAILED');
  }
});

test('isRead: others’ when oneself has read it, one’s own when all others have', limit, async () => {
  const { ann, ben, eve } = await cast();
  const conversationId = await group(ann, [ben, eve]);
  const { id } = await send(ann, conversationId);
  const seenBy = async (user) => (await pageOf(user, conversationId)).messages.find((message) => message.id === id).isRead;
  assert.deepEqual([await seenBy(ann), await seenBy(ben), await seenBy(eve)], [false, false, false]);
  ok(await as(ben, 'PUT', '/messages/mark-as-read', { conversationId, messageIds: [id] }), 200);
  assert.deepEqual([await seenBy(ann), await seenBy(ben), await seenBy(eve)], [false, true, false]);
  ok(await as(eve, 'PUT', '/messages/mark-as-read', { conversationId }, { gateway: 1 }), 200);
  assert.deepEqual([await seenBy(ann), await seenBy(ben), await seenBy(eve)], [true, true, true]);
});

test('mark-as-read covers everything before, and answers what is left', limit, async (t) => {
  const { ann, ben, conversationId } = await pair();
  const a = await connect(t, ann);
  const sent = [];
  for (let index = 0; index < 5; index += 1) sent.push(await say(a, conversationId));
  const mark = async (messageIds, gateway) =>
    ok(await as(ben, 'PUT', '/messages/mark-as-read', { conversationId, messageIds }, { gateway }), 200);
  assert.deepEqual(await mark([sent[1]], 0), { unreadCount: 3 });
  assert.deepEqual(await mark([sent[0]], 1), { unreadCount: 3 });
  assert.deepEqual(await mark([sent[3], sent[0], sent[2]], 1), { unreadCount: 1 });
  assert.deepEqual(await mark(undefined, 0), { unreadCount: 0 });
  for (const messageIds of ['x', ['nope'], [{}], 7]) {
    failed(await as(ben, 'PUT', '/messages/mark-as-read', { conversationId, messageIds }), 400, 'VALIDATION_FAILED');
  }
});
