// /conversations and /chats/conversations: two vocabularies for the same conversations.

import assert from 'node:assert/strict';
import test from 'node:test';
import { direct, group, join, say } from './support/chat.js';
import { nobody, people, register, unique } from './support/people.js';
import { as, failed, nextPage, ok } from './support/rest.js';
import * as shapes from './support/shapes.js';
import { connect, once } from './support/socket.js';
import { membershipCount } from './support/truth.js';

const cast = people('ann', 'ben', 'cat', 'eve');
const limit = { timeout: 240_000 };

test('POST /conversations answers 201 and is heard on sockets', limit, async (t) => {
  const { ann, ben, cat } = await cast();
  const b = await connect(t, ben, { gateway: 1 });
  const name = unique('group');
  const body = ok(await as(ann, 'POST', '/conversations', { participantIds: [ben.id, cat.id], name, type: 'group' }), 201);
  shapes.id(body.id, 'id');
  assert.deepEqual([body.type, body.name, body.unreadCount, body.lastMessage], ['group', name, 0, null]);
  assert.deepEqual(body.participants.map((member) => member.id).sort(), [ann.id, ben.id, cat.id].sort());
  const created = await once(b, 'conversationCreated', ({ _id }) => _id === body.id);
  assert.equal(created.name, name);
  for (const gateway of [0, 1]) {
    const shown = ok(await as(cat, 'GET', `/conversations/${body.id}`, undefined, { gateway }), 200);
    assert.deepEqual([shown.id, shown.name, shown.participants.length], [body.id, name, 3]);
  }
});

test('a direct conversation that exists is answered 200, over either vocabulary', limit, async () => {
  const [dan, eva] = await Promise.all([register('dan'), register('eva')]);
  const first = ok(await as(dan, 'POST', '/conversations', { participantIds: [eva.id], type: 'direct' }), 201);
  const second = ok(await as(eva, 'POST', '/conversations', { participantIds: [dan.id], type: 'direct' }, { gateway: 1 }), 200);
  const third = ok(await as(dan, 'POST', '/chats/conversations', { participantIds: [eva.id], type: 'direct' }), 200, 201);
  assert.deepEqual([second.id, third._id], [first.id, first.id]);
  assert.equal(await membershipCount(dan.id), 1);
});

test('what is wrong with a new conversation is said, on both routes', limit, async () => {
  const { ann, ben, cat } = await cast();
  const before = await membershipCount(ann.id);
  for (const [index, path] of ['/conversations', '/chats/conversations'].entries()) {
    const post = (body) => as(ann, 'POST', path, body, { gateway: index });
    for (const participantIds of [undefined, null, 'x', 7, {}, ['nope'], [7], [null]]) {
      const body = failed(await post({ participantIds, type: 'group' }), 400, 'VALIDATION_FAILED');
      assert.ok(JSON.stringify(body.details ?? '').includes('participantIds'), JSON.stringify(body));
    }
    failed(await post({ participantIds: [ben.id], type: 'party' }), 400, 'VALIDATION_FAILED');
    failed(await post({ participantIds: [ben.id], type: 'group', name: 'x'.repeat(101) }), 400, 'VALIDATION_FAILED');
    for (const participantIds of [[], [ann.id], [ben.id, cat.id]]) {
      failed(await post({ participantIds, type: 'direct' }), 400, 'VALIDATION_FAILED');
    }
    failed(await post({ participantIds: [nobody()], type: 'direct' }), 404, 'NOT_FOUND');
    failed(await post({ participantIds: [ben.id, nobody()], type: 'group' }), 404, 'NOT_FOUND');
    for (const body of ['', '{', '[]', 'null']) failed(await post(body), 400, 'VALIDATION_FAILED');
  }
  assert.equal(await membershipCount(ann.id), before);
});

test('what one may not see is NOT_FOUND, and so is what is no id', limit, async () => {
  const { ann, ben, eve } = await cast();
  const hidden = await group(ann, [ben]);
  for (const id of [hidden, nobody(), 'nope', '7']) {
    const routes = [
      ['GET', `/conversations/${id}`],
      ['GET', `/chats/conversations/${id}`],
      ['GET', `/chats/conversations/${id}/messages`],
      ['POST', `/chats/conversations/${id}/read`],
      ['POST', `/chats/conversations/${id}/leave`],
      ['POST', `/chats/conversations/${id}/participants`, { userIds: [eve.id] }],
      ['DELETE', `/chats/conversations/${id}/participants/${ben.id}`],
    ];
    for (const [index, [method, path, body]] of routes.entries()) {
      failed(await as(eve, method, path, body, { gateway: index % 2 }), 404, 'NOT_FOUND');
    }
  }
  failed(await as(ann, 'DELETE', `/chats/conversations/${hidden}/participants/nope`), 404, 'NOT_FOUND');
});

test('both lists are bare arrays, latest activity first, with what a list shows', limit, async (t) => {
  const [kim, { ann, ben }] = await Promise.all([register('kim'), cast()]);
  const k = await connect(t, kim, { gateway: 1 });
  const first = await group(kim, [ann, ben]);
  const second = await direct(kim, ann);
  const third = await group(ben, [kim]);
  const content = unique();
  const messageId = await say(k, first, content);
  const expected = [first, third, second];

  const plain = ok(await as(kim, 'GET', '/conversations'), 200);
  assert.deepEqual(plain.map((entry) => entry.id), expected);
  for (const entry of plain) {
    assert.ok(Array.isArray(entry.participants) && entry.participants.some((member) => member.id === kim.id));
    assert.ok(Number.isInteger(entry.unreadCount));
    assert.ok('lastMessage' in entry);
  }
  assert.deepEqual([plain[0].lastMessage.id, plain[0].lastMessage.content], [messageId, content]);
  assert.equal(plain[2].lastMessage, null);

  const chats = ok(await as(kim, 'GET', '/chats/conversations', undefined, { gateway: 1 }), 200);
  assert.deepEqual(chats.map((entry) => entry._id), expected);
  chats.forEach(shapes.conversation);
  assert.deepEqual([chats[0].lastMessage._id, chats[0].lastMessage.content], [messageId, content]);
  assert.deepEqual(chats.map((entry) => entry.type), ['group', 'group', 'direct']);
  assert.equal(ok(await as(ann, 'GET', `/chats/conversations/${first}`), 200).unreadCount, 1);
});

test('lists go on behind Link, each conversation once', limit, async () => {
  const [lea, { ann }] = await Promise.all([register('lea'), cast()]);
  const made = [];
  for (let index = 0; index < 5; index += 1) made.push(await group(lea, [ann]));
  for (const [path, key] of [['/conversations', 'id'], ['/chats/conversations', '_id']]) {
    const seen = [];
    const sizes = [];
    let next = `${path}?limit=2`;
    for (let gateway = 0; next !== null && sizes.length < 10; gateway = 1 - gateway) {
      const answer = await as(lea, 'GET', next, undefined, { gateway });
      const page = ok(answer, 200);
      seen.push(...page.map((entry) => entry[key]));
      sizes.push(page.length);
      next = nextPage(answer);
    }
    assert.deepEqual(seen, [...made].reverse(), path);
    assert.deepEqual(sizes, [2, 2, 1], path);
  }
  for (const wanted of ['0', '-1', 'many']) {
    failed(await as(lea, 'GET', `/conversations?limit=${wanted}`), 400, 'VALIDATION_FAILED');
    failed(await as(lea, 'GET', `/chats/conversations?limit=${wanted}`), 400, 'VALIDATION_FAILED');
  }
  assert.equal(ok(await as(lea, 'GET', '/conversations?limit=1000'), 200).length, 5);
  const none = await register('lonely');
  const empty = await as(none, 'GET', '/chats/conversations');
  assert.deepEqual(ok(empty, 200), []);
  assert.equal(nextPage(empty), null);
});

test('/chats shows conversations and messages as the dialect does', limit, async (t) => {
  const { ann, ben } = await cast();
  const a = await connect(t, ann);
  const name = unique('group');
  const created = ok(await as(ann, 'POST', '/chats/conversations', { participantIds: [ben.id], type: 'group', name }, { gateway: 1 }), 201);
  shapes.conversation(created);
  await join(created._id, a);
  const sent = [];
  for (let index = 0; index < 5; index += 1) sent.push(await say(a, created._id));
  const live = await once(a, 'newMessage', ({ message }) => message._id === sent[4]);

  const path = `/chats/conversations/${created._id}/messages`;
  const first = ok(await as(ben, 'GET', `${path}?limit=3`, undefined, { gateway: 1 }), 200);
  shapes.page(first, shapes.message);
  assert.deepEqual(first.messages.map((message) => message._id), [...sent].reverse().slice(0, 3));
  const { tempId: _tempId, status: _status, ...shown } = live.message;
  const { status: _shownStatus, ...stored } = first.messages[0];
  assert.deepEqual(stored, shown, 'history and live event say the same');
  const rest = ok(await as(ben, 'GET', `${path}?limit=3&before=${encodeURIComponent(first.nextCursor)}`), 200);
  shapes.page(rest, shapes.message);
  assert.deepEqual(rest.messages.map((message) => message._id), [...sent].reverse().slice(3));
  assert.deepEqual([rest.hasMore, rest.nextCursor], [false, null]);
  failed(await as(ben, 'GET', `${path}?limit=0`), 400, 'VALIDATION_FAILED');

  const overview = ok(await as(ben, 'GET', `/chats/conversations/${created._id}`), 200);
  shapes.conversation(overview);
  assert.deepEqual([overview.name, overview.unreadCount, overview.lastMessage._id], [name, 5, sent[4]]);
});

test('DELETE /chats/messages/:id answers which one it was', limit, async (t) => {
  const { ann, ben, eve } = await cast();
  const conversationId = await group(ann, [ben]);
  const a = await connect(t, ann, { gateway: 1 });
  await join(conversationId, a);
  const messageId = await say(a, conversationId);
  failed(await as(eve, 'DELETE', `/chats/messages/${messageId}`), 404, 'NOT_FOUND');
  failed(await as(ben, 'DELETE', `/chats/messages/${messageId}`), 403, 'FORBIDDEN');
  failed(await as(ann, 'DELETE', '/chats/messages/nope'), 404, 'NOT_FOUND');
  assert.deepEqual(ok(await as(ann, 'DELETE', `/chats/messages/${messageId}`), 200), { success: true, messageId });
  const event = await once(a, 'messageDeleted');
  assert.deepEqual([event.messageId, event.deletedBy], [messageId, ann.id]);
  assert.deepEqual(ok(await as(ann, 'DELETE', `/chats/messages/${messageId}`), 200), { success: true, messageId });
});
