// Members come and go: who may change that, who hears of it, and what a removed member hears last.

import assert from 'node:assert/strict';
import test from 'node:test';
import { barrier, direct, group, join, say, stream } from './support/chat.js';
import { nobody, people, unique } from './support/people.js';
import { as, failed, ok } from './support/rest.js';
import * as shapes from './support/shapes.js';
import { connect, heard, once, quiet, rejected, story, succeed } from './support/socket.js';
import { counters, roles, storedMessages } from './support/truth.js';

const cast = people('ann', 'ben', 'cat', 'dan');
const limit = { timeout: 240_000 };

/** ann owns a group with ben; ann and cat are on gateway 0, ben and dan on gateway 1. */
async function scene(t) {
  const users = await cast();
  const [a, b, c, d] = await Promise.all(
    [users.ann, users.ben, users.cat, users.dan].map((user, index) => connect(t, user, { gateway: index % 2 })),
  );
  const conversationId = await group(users.ann, [users.ben]);
  await join(conversationId, a, b);
  return { ...users, a, b, c, d, conversationId };
}

function add(user, conversationId, users, gateway = 0) {
  const userIds = users.map(({ id }) => id);
  return as(user, 'POST', `/chats/conversations/${conversationId}/participants`, { userIds }, { gateway });
}

function remove(user, conversationId, other, gateway = 0) {
  return as(user, 'DELETE', `/chats/conversations/${conversationId}/participants/${other.id}`, undefined, { gateway });
}

function leave(user, conversationId, gateway = 0) {
  return as(user, 'POST', `/chats/conversations/${conversationId}/leave`, undefined, { gateway });
}

const of = (conversationId) => (payload) => payload.conversationId === conversationId;
const created = (conversationId) => (payload) => payload._id === conversationId;

test('an added member gets the conversation, the room hears who came', limit, async (t) => {
  const { ann, ben, cat, dan, a, b, c, d, conversationId } = await scene(t);
  const conversation = ok(await add(ann, conversationId, [cat, dan], 1), 200);
  shapes.conversation(conversation);
  const everybody = [ann, ben, cat, dan].map((user) => user.id).sort();
  assert.deepEqual(conversation.participants.map((member) => member._id).sort(), everybody);
  for (const socket of [a, b]) {
    const event = await once(socket, 'participantsAdded', of(conversationId));
    shapes.keys(event, ['conversationId', 'participants']);
    event.participants.forEach(shapes.participant);
    assert.deepEqual(event.participants.map((member) => member._id).sort(), [cat.id, dan.id].sort());
  }
  for (const socket of [c, d]) {
    const event = await once(socket, 'conversationCreated', created(conversationId));
    shapes.conversation(event);
    assert.deepEqual(event.participants.map((member) => member._id).sort(), everybody);
  }
  await join(conversationId, c, d);
  await say(d, conversationId);
  await barrier(conversationId, c, a, b, c, d);
});

test('adding a member twice changes nothing', limit, async (t) => {
  const { ann, cat, a, c, conversationId } = await scene(t);
  ok(await add(ann, conversationId, [cat]), 200);
  const before = await counters(conversationId);
  const conversation = ok(await add(ann, conversationId, [cat], 1), 200);
  assert.equal(conversation.participants.length, 3);
  assert.deepEqual(await counters(conversationId), before);
  await join(conversationId, c);
  await barrier(conversationId, a, a, c);
  assert.equal(heard(a, 'participantsAdded', of(conversationId)).length, 1);
  assert.equal(heard(c, 'conversationCreated', created(conversationId)).length, 1);
});

test('who is unknown cannot be added, and nobody is', limit, async (t) => {
  const { ann, cat, conversationId } = await scene(t);
  failed(await add(ann, conversationId, [cat, { id: nobody() }]), 404, 'NOT_FOUND');
  failed(await add(ann, conversationId, [{ id: 'nope' }]), 400, 'VALIDATION_FAILED');
  failed(await as(ann, 'POST', `/chats/conversations/${conversationId}/participants`, {}), 400, 'VALIDATION_FAILED');
  failed(await as(ann, 'POST', `/chats/conversations/${conversationId}/participants`, { userIds: cat.id }), 400, 'VALIDATION_FAILED');
  assert.equal(Object.keys(await roles(conversationId)).length, 2);
});

test('a plain member may neither add nor remove, a stranger does not find it', limit, async (t) => {
  const { ann, ben, cat, dan, conversationId } = await scene(t);
  failed(await add(ben, conversationId, [cat]), 403, 'FORBIDDEN');
  failed(await remove(ben, conversationId, ann, 1), 403, 'FORBIDDEN');
  failed(await add(dan, conversationId, [dan]), 404, 'NOT_FOUND');
  failed(await remove(dan, conversationId, ben, 1), 404, 'NOT_FOUND');
  failed(await leave(dan, conversationId), 404, 'NOT_FOUND');
  assert.deepEqual(await roles(conversationId), { [ann.id]: 'owner', [ben.id]: 'member' });
});

test('a removed member’s last event is its own removal, and it is out', limit, async (t) => {
  const { ann, ben, cat, a, b, c, conversationId } = await scene(t);
  ok(await add(ann, conversationId, [cat]), 200);
  await join(conversationId, c);
  const messageId = await say(c, conversationId);
  ok(await remove(ann, conversationId, ben, 1), 204);
  for (const socket of [a, b, c]) {
    const event = await once(socket, 'participantRemoved', of(conversationId));
    shapes.keys(event, ['conversationId', 'userId', 'removedBy']);
    assert.deepEqual([event.userId, event.removedBy], [ben.id, ann.id]);
  }
  await succeed(a, 'editMessage', { conversationId, messageId: await say(a, conversationId), content: 'among us' });
  await succeed(c, 'deleteMessage', { conversationId, messageId });
  await succeed(c, 'markConversationAsRead', { conversationId });
  await barrier(conversationId, a, a, c);
  await rejected(b, 'NOT_FOUND', 'sendMessage', { conversationId, content: 'hello?' });
  await rejected(b, 'NOT_FOUND', 'joinRoom', { conversationId });
  await rejected(b, 'NOT_FOUND', 'editMessage', { conversationId, messageId, content: 'hello?' });
  await rejected(b, 'NOT_FOUND', 'deleteMessage', { conversationId, messageId });
  await rejected(b, 'NOT_FOUND', 'markConversationAsRead', { conversationId });
  await quiet(300);
  assert.equal(story(b, conversationId).at(-1)[0], 'participantRemoved');
  for (const path of [`/conversations/${conversationId}`, `/chats/conversations/${conversationId}/messages`]) {
    failed(await as(ben, 'GET', path), 404, 'NOT_FOUND');
  }
  const listed = ok(await as(ben, 'GET', '/chats/conversations?limit=100', undefined, { gateway: 1 }), 200);
  assert.equal(listed.some((entry) => entry._id === conversationId), false);
});

test('a removed member that had not joined hears of its removal too, and then nothing', limit, async (t) => {
  const { ann, cat, a, b, c, conversationId } = await scene(t);
  ok(await add(ann, conversationId, [cat]), 200);
  await say(a, conversationId);
  ok(await remove(ann, conversationId, cat), 204);
  assert.equal((await once(c, 'participantRemoved', of(conversationId))).userId, cat.id);
  await say(a, conversationId);
  await barrier(conversationId, a, a, b);
  await quiet(300);
  assert.equal(story(c, conversationId).at(-1)[0], 'participantRemoved', 'not even an unread count');
});

test('every socket of the removed member is told, on both gateways', limit, async (t) => {
  const { ann, ben, a, b, conversationId } = await scene(t);
  const [joined, idle] = await Promise.all([connect(t, ben, { gateway: 0 }), connect(t, ben, { gateway: 0, namespace: '/', auth: { token: ben.token, dialect: 'conversations' } })]);
  await join(conversationId, joined);
  ok(await remove(ann, conversationId, ben), 204);
  for (const socket of [b, joined, idle]) await once(socket, 'participantRemoved', of(conversationId));
  await barrier(conversationId, a, a);
  await quiet(300);
  for (const socket of [b, joined, idle]) {
    assert.equal(heard(socket, 'participantRemoved', of(conversationId)).length, 1);
    assert.equal(story(socket, conversationId).at(-1)[0], 'participantRemoved');
  }
});

test('removed in the middle of a storm, it has seen all before and nothing after', { timeout: 480_000 }, async (t) => {
  const { ann, cat, dan, a, b, c, d, conversationId } = await scene(t);
  ok(await add(ann, conversationId, [cat, dan]), 200);
  await join(conversationId, c, d);
  const payloads = Array.from({ length: 300 }, (_, index) => ({ conversationId, content: `${index}` }));
  const storm = stream(b, payloads, 16);
  await once(d, 'newMessage', ({ message }) => message.content === '60');
  ok(await remove(ann, conversationId, dan, 1), 204);
  await storm;
  await barrier(conversationId, a, a, b, c);
  await quiet(300);

  const [last, payload] = story(d, conversationId).at(-1);
  assert.deepEqual([last, payload.userId], ['participantRemoved', dan.id]);
  const told = story(c, conversationId);
  const removal = told.findIndex(([event, { userId }]) => event === 'participantRemoved' && userId === dan.id);
  const before = told.slice(0, removal).filter(([event]) => event === 'newMessage');
  assert.deepEqual(
    heard(d, 'newMessage', of(conversationId)).map(({ message }) => message._id),
    before.map(([, { message }]) => message._id),
    'dan saw what cat, who stayed, saw before the removal',
  );
  assert.equal((await storedMessages(conversationId)).length, 301);
});

test('a removed member’s later message is refused, in order', limit, async (t) => {
  const { ann, ben, a, b, conversationId } = await scene(t);
  const storm = stream(b, Array.from({ length: 200 }, (_, index) => ({ conversationId, content: `${index}` })), 16);
  await once(a, 'newMessage', ({ message }) => message.content === '40');
  ok(await remove(ann, conversationId, ben), 204);
  const answers = await storm;
  const first = answers.findIndex((answer) => !answer.success);
  if (first >= 0) {
    for (const answer of answers.slice(first)) assert.equal(answer.error?.code, 'NOT_FOUND', 'after the first refusal all are refused');
  }
  const accepted = answers.filter((answer) => answer.success).map((answer) => answer.messageId);
  await barrier(conversationId, a, a);
  assert.deepEqual((await storedMessages(conversationId)).slice(0, -1).map((row) => row.id), accepted);
  await rejected(b, 'NOT_FOUND', 'sendMessage', { conversationId, content: 'too late' });
});

test('who was removed may be added again', limit, async (t) => {
  const { ann, ben, a, b, conversationId } = await scene(t);
  await once(b, 'conversationCreated', created(conversationId));
  ok(await remove(ann, conversationId, ben), 204);
  await once(b, 'participantRemoved', of(conversationId));
  const meanwhile = await say(a, conversationId);
  ok(await add(ann, conversationId, [ben], 1), 200);
  await once(b, 'conversationCreated', created(conversationId));
  assert.equal((await roles(conversationId))[ben.id], 'member');
  await quiet(200);
  const before = heard(b, 'newMessage', of(conversationId)).length;
  await join(conversationId, b);
  await barrier(conversationId, b, a, b);
  const since = heard(b, 'newMessage', of(conversationId)).slice(before);
  assert.equal(since.length, 1, 'live events begin with joining, and nothing from its absence comes live');
  assert.notEqual(since[0].message._id, meanwhile);
});

test('leaving is a removal by oneself', limit, async (t) => {
  const { ben, a, b, conversationId } = await scene(t);
  ok(await leave(ben, conversationId, 0), 204);
  for (const socket of [a, b]) {
    const event = await once(socket, 'participantRemoved', of(conversationId));
    assert.deepEqual([event.userId, event.removedBy], [ben.id, ben.id]);
  }
  await rejected(b, 'NOT_FOUND', 'sendMessage', { conversationId, content: unique() });
  failed(await leave(ben, conversationId), 404, 'NOT_FOUND');
});

test('the last owner’s leaving passes ownership on', limit, async (t) => {
  const { ann, ben, cat, dan, c, conversationId } = await scene(t);
  ok(await add(ann, conversationId, [cat]), 200);
  await once(c, 'conversationCreated', created(conversationId));
  ok(await leave(ann, conversationId, 1), 204);
  const left = await roles(conversationId);
  assert.deepEqual(Object.keys(left).sort(), [ben.id, cat.id].sort());
  const owners = [ben, cat].filter((user) => left[user.id] === 'owner');
  assert.equal(owners.length, 1, JSON.stringify(left));
  const conversation = ok(await as(cat, 'GET', `/chats/conversations/${conversationId}`), 200);
  const shown = conversation.participants.filter((member) => member.role === 'owner').map((member) => member._id);
  assert.deepEqual(shown, [owners[0].id]);
  ok(await add(owners[0], conversationId, [dan]), 200);
  failed(await add(ann, conversationId, [ann]), 404, 'NOT_FOUND');
});

test('a group may end with its last member, and nobody finds it', limit, async (t) => {
  const { ann, ben, conversationId } = await scene(t);
  ok(await leave(ben, conversationId), 204);
  ok(await leave(ann, conversationId, 1), 204);
  assert.deepEqual(await roles(conversationId), {});
  failed(await as(ann, 'GET', `/chats/conversations/${conversationId}`), 404, 'NOT_FOUND');
});

test('a direct conversation’s two members are fixed', limit, async (t) => {
  const { ann, ben, cat } = await scene(t);
  const conversationId = await direct(ann, ben);
  for (const answer of [
    await add(ann, conversationId, [cat]),
    await remove(ann, conversationId, ben, 1),
    await leave(ann, conversationId),
  ]) {
    const codes = { 400: 'VALIDATION_FAILED', 403: 'FORBIDDEN', 409: 'CONFLICT' };
    assert.ok(answer.status in codes, `${answer.request}: ${answer.status} ${answer.text}`);
    failed(answer, answer.status, codes[answer.status]);
  }
  assert.deepEqual(Object.keys(await roles(conversationId)).sort(), [ann.id, ben.id].sort());
});
