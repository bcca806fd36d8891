// createConversation: what comes of it, on this gateway and on the other.

import assert from 'node:assert/strict';
import test from 'node:test';
import { group } from './support/chat.js';
import { nobody, people, register, unique } from './support/people.js';
import { as, ok } from './support/rest.js';
import * as shapes from './support/shapes.js';
import { connect, emitAck, heard, once, rejected, succeed } from './support/socket.js';
import { membershipCount, roles } from './support/truth.js';

const cast = people('ann', 'ben', 'cat');
const limit = { timeout: 240_000 };

async function trio(t) {
  const users = await cast();
  const [a, b, c] = await Promise.all([
    connect(t, users.ann, { gateway: 0 }),
    connect(t, users.ben, { gateway: 1 }),
    connect(t, users.cat, { gateway: 1 }),
  ]);
  return { ...users, a, b, c };
}

function ids(conversation) {
  return conversation.participants.map((member) => member._id).sort();
}

test('a group made on one gateway appears on the other', limit, async (t) => {
  const { ann, ben, cat, a, b, c } = await trio(t);
  const name = unique('group');
  const answer = await succeed(a, 'createConversation', { participantIds: [ben.id, cat.id], type: 'group', name });
  shapes.keys(answer, ['success', 'conversation']);
  const { conversation } = answer;
  shapes.conversation(conversation);
  assert.deepEqual([conversation.type, conversation.name, conversation.unreadCount], ['group', name, 0]);
  assert.equal(conversation.lastMessage, null);
  assert.deepEqual(ids(conversation), [ann.id, ben.id, cat.id].sort());
  for (const user of [ann, ben, cat]) {
    const member = conversation.participants.find(({ _id }) => _id === user.id);
    assert.deepEqual([member.name, member.username], [user.name, user.username]);
    assert.equal(member.role, user === ann ? 'owner' : 'member');
  }
  for (const socket of [a, b, c]) {
    const created = await once(socket, 'conversationCreated', ({ _id }) => _id === conversation._id);
    shapes.conversation(created);
    assert.deepEqual(ids(created), ids(conversation));
    assert.deepEqual([created.type, created.name], ['group', name]);
  }
  assert.deepEqual(await roles(conversation._id), { [ann.id]: 'owner', [ben.id]: 'member', [cat.id]: 'member' });
});

test('every socket of a participant hears of it, once', limit, async (t) => {
  const { ben, a, b } = await trio(t);
  const elsewhere = await connect(t, ben, { gateway: 0, namespace: '/', auth: { token: ben.token, dialect: 'conversations' } });
  const first = await succeed(a, 'createConversation', { participantIds: [ben.id], type: 'group' });
  const second = await succeed(a, 'createConversation', { participantIds: [ben.id], type: 'group' });
  for (const socket of [b, elsewhere]) {
    for (const { conversation } of [first, second]) await once(socket, 'conversationCreated', ({ _id }) => _id === conversation._id);
    assert.equal(heard(socket, 'conversationCreated', ({ _id }) => _id === first.conversation._id).length, 1);
  }
});

test('a group needs no name, and several others make one without saying so', limit, async (t) => {
  const { ben, cat, a, b } = await trio(t);
  const { conversation } = await succeed(a, 'createConversation', { participantIds: [ben.id, cat.id] });
  shapes.conversation(conversation);
  assert.equal(conversation.type, 'group');
  await once(b, 'conversationCreated', ({ _id }) => _id === conversation._id);
});

test('a blank name is taken or refused, but no fault', limit, async (t) => {
  const { ben, a } = await trio(t);
  for (const name of ['', '   ']) {
    const answer = await emitAck(a, 'createConversation', { participantIds: [ben.id], type: 'group', name });
    if (answer.success) shapes.conversation(answer.conversation);
    else assert.equal(answer.error.code, 'VALIDATION_FAILED');
  }
});

test('a direct conversation is made once per pair, whoever asks and wherever', limit, async (t) => {
  const [dan, eve] = await Promise.all([register('dan'), register('eve')]);
  const [d, e] = await Promise.all([connect(t, dan, { gateway: 0 }), connect(t, eve, { gateway: 1 })]);
  const { conversation } = await succeed(d, 'createConversation', { participantIds: [eve.id], type: 'direct' });
  shapes.conversation(conversation);
  assert.equal(conversation.type, 'direct');
  assert.deepEqual(ids(conversation), [dan.id, eve.id].sort());
  await once(e, 'conversationCreated', ({ _id }) => _id === conversation._id);
  const again = await succeed(d, 'createConversation', { participantIds: [eve.id], type: 'direct' });
  const back = await succeed(e, 'createConversation', { participantIds: [dan.id], type: 'direct' });
  assert.deepEqual([again.conversation._id, back.conversation._id], [conversation._id, conversation._id]);
  const overRest = ok(await as(eve, 'POST', '/conversations', { participantIds: [dan.id], type: 'direct' }), 200);
  assert.equal(overRest.id, conversation._id);
  assert.equal(await membershipCount(dan.id), 1);
  assert.equal(await membershipCount(eve.id), 1);
});

test('a direct conversation asked for on both sides at once is still one', limit, async (t) => {
  const [fay, gil] = await Promise.all([register('fay'), register('gil')]);
  const [f, g] = await Promise.all([connect(t, fay, { gateway: 0 }), connect(t, gil, { gateway: 1 })]);
  const answers = await Promise.all(
    [0, 1, 2, 3].flatMap(() => [
      succeed(f, 'createConversation', { participantIds: [gil.id], type: 'direct' }),
      succeed(g, 'createConversation', { participantIds: [fay.id], type: 'direct' }),
    ]),
  );
  assert.equal(new Set(answers.map((answer) => answer.conversation._id)).size, 1);
  assert.deepEqual([await membershipCount(fay.id), await membershipCount(gil.id)], [1, 1]);
});

test('an unknown participant is NOT_FOUND, and nothing is made', limit, async (t) => {
  const { ann, ben, a } = await trio(t);
  const before = await membershipCount(ann.id);
  await rejected(a, 'NOT_FOUND', 'createConversation', { participantIds: [nobody()], type: 'direct' });
  await rejected(a, 'NOT_FOUND', 'createConversation', { participantIds: [ben.id, nobody()], type: 'group' });
  assert.equal(await membershipCount(ann.id), before);
});

test('a direct conversation is with exactly one other', limit, async (t) => {
  const { ann, ben, cat, a } = await trio(t);
  const before = await membershipCount(ann.id);
  for (const participantIds of [[], [ann.id], [ben.id, cat.id]]) {
    await rejected(a, 'VALIDATION_FAILED', 'createConversation', { participantIds, type: 'direct' });
  }
  assert.equal(await membershipCount(ann.id), before);
});

test('a stranger hears nothing of it', limit, async (t) => {
  const { ann, ben, a, b, c } = await trio(t);
  const conversationId = await group(ann, [ben]);
  await once(b, 'conversationCreated', ({ _id }) => _id === conversationId);
  const marker = await succeed(a, 'createConversation', { participantIds: [ben.id, (await cast()).cat.id], type: 'group' });
  await once(c, 'conversationCreated', ({ _id }) => _id === marker.conversation._id);
  assert.equal(heard(c, 'conversationCreated', ({ _id }) => _id === conversationId).length, 0);
});
