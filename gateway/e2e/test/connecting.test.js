// Who gets in, by which credentials, into which namespaces.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Manager } from 'socket.io-client';
import { group, join, say } from './support/chat.js';
import { entryUrl, jwtSecret, transports } from './support/cluster.js';
import { resign, seconds } from './support/jwt.js';
import { people, unique } from './support/people.js';
import { connect, dial, emitAck, once, opened, refused, rejected, succeed, watch } from './support/socket.js';

const cast = people('ann', 'ben');
const limit = { timeout: 240_000 };

function unauthorized(error) {
  assert.equal(error.message, 'Unauthorized');
  assert.deepEqual(error.data, { code: 'UNAUTHORIZED' });
}

test('a token in auth.token opens /chat on either gateway', limit, async (t) => {
  const { ann } = await cast();
  for (const gateway of [0, 1]) {
    const socket = await connect(t, ann, { gateway });
    assert.ok(socket.connected);
    assert.equal(typeof socket.id, 'string');
    assert.notEqual(socket.id, socket.io.engine.id, 'the socket id is not the session id, which is a secret');
  }
});

test('a token in the Authorization header of the handshake will do', limit, async (t) => {
  const { ann, ben } = await cast();
  const socket = await opened(dial(t, { extraHeaders: { Authorization: `Bearer ${ann.token}` } }));
  const answer = await succeed(socket, 'createConversation', { participantIds: [ben.id], type: 'group' });
  const owner = answer.conversation.participants.find((member) => member.role === 'owner');
  assert.equal(owner._id, ann.id, 'the socket is who the header says');
});

test('auth.token goes before the header', limit, async (t) => {
  const { ann, ben } = await cast();
  const extraHeaders = { Authorization: `Bearer ${ann.token}` };
  unauthorized(await refused(dial(t, { auth: { token: 'no token' }, extraHeaders })));
  const socket = await opened(dial(t, { auth: { token: ben.token }, extraHeaders }));
  const answer = await succeed(socket, 'createConversation', { participantIds: [ann.id], type: 'group' });
  assert.equal(answer.conversation.participants.find((member) => member.role === 'owner')._id, ben.id);
});

test('a token that is none is refused', limit, async (t) => {
  const { ann } = await cast();
  const [header, payload, signature] = ann.token.split('.');
  const bad = ['garbage', 'a.b.c', `${header}.${payload}`, `${header}.${payload}.`, `${header}.${payload}.${signature}x`, `Bearer ${ann.token}`];
  for (const token of bad) unauthorized(await refused(dial(t, { auth: { token }, gateway: 1 })));
  unauthorized(await refused(dial(t, { extraHeaders: { Authorization: 'Bearer garbage' } })));
});

test('a token of another type than string is refused', limit, async (t) => {
  for (const token of [7, true, {}, ['x']]) unauthorized(await refused(dial(t, { auth: { token } })));
});

test('a token signed with another secret is refused', limit, async (t) => {
  const { ann } = await cast();
  unauthorized(await refused(dial(t, { auth: { token: resign(ann.token, { secret: 'some other secret, long enough to count' }) } })));
});

test('an expired token is refused', limit, async (t) => {
  const { ann } = await cast();
  const secret = jwtSecret();
  const fresh = resign(ann.token, { claims: { iat: seconds(), exp: seconds(600) }, secret });
  await opened(dial(t, { auth: { token: fresh } }));
  const expired = resign(ann.token, { claims: { iat: seconds(-7200), exp: seconds(-3600) }, secret });
  for (const gateway of [0, 1]) unauthorized(await refused(dial(t, { auth: { token: expired }, gateway })));
});

test('a token of another algorithm is refused, alg none first of all', limit, async (t) => {
  const { ann } = await cast();
  const secret = jwtSecret();
  for (const algorithm of ['none', 'HS384', 'HS512']) {
    unauthorized(await refused(dial(t, { auth: { token: resign(ann.token, { algorithm, secret }) } })));
  }
});

test('a refused socket may try again with a better token', limit, async (t) => {
  const { ann } = await cast();
  const socket = dial(t, { auth: { token: 'garbage' } });
  unauthorized(await refused(socket));
  socket.auth = { token: ann.token };
  await opened(socket);
});

test('without a token one is a guest, whom no conversation of others shows itself to', limit, async (t) => {
  const { ann, ben } = await cast();
  const conversationId = await group(ann, [ben]);
  const socket = await opened(dial(t));
  await rejected(socket, 'UNAUTHORIZED', 'createConversation', { participantIds: [ann.id], type: 'direct' });
  await rejected(socket, 'NOT_FOUND', 'joinRoom', { conversationId });
  await rejected(socket, ['UNAUTHORIZED', 'NOT_FOUND'], 'sendMessage', { conversationId, content: 'let me in' });
  await rejected(socket, ['UNAUTHORIZED', 'NOT_FOUND'], 'markConversationAsRead', { conversationId });
});

test('an unknown namespace is refused by the reference name of the error', limit, async (t) => {
  const { ann } = await cast();
  for (const namespace of ['/nowhere', '/chat/deeper', '/Chat']) {
    const error = await refused(dial(t, { namespace, auth: { token: ann.token } }));
    assert.equal(error.message, 'Invalid namespace');
  }
});

test('an unknown namespace does not disturb its neighbour', limit, async (t) => {
  const { ann, ben } = await cast();
  const { chat, manager } = await both(t, ann);
  const nowhere = watch(t, manager.socket('/nowhere', { auth: { token: ann.token } }));
  assert.equal((await refused(nowhere)).message, 'Invalid namespace');
  await succeed(chat, 'createConversation', { participantIds: [ben.id], type: 'group' });
});

test('an unknown dialect is refused, in auth and in the query', limit, async (t) => {
  const { ann } = await cast();
  for (const dialect of ['klingon', 7]) {
    const error = await refused(dial(t, { auth: { token: ann.token, dialect } }));
    assert.notEqual(error.message, '', `a reason for ${JSON.stringify(dialect)}`);
  }
  await refused(dial(t, { auth: { token: ann.token }, query: { dialect: 'klingon' } }));
});

test('the dialect may be named, in auth and in the query', limit, async (t) => {
  const { ann, ben } = await cast();
  const named = await connect(t, ann, { auth: { token: ann.token, dialect: 'conversations' }, namespace: '/' });
  await succeed(named, 'createConversation', { participantIds: [ben.id], type: 'group' });
  const asked = await connect(t, ann, { query: { dialect: 'conversations' }, gateway: 1 });
  await succeed(asked, 'createConversation', { participantIds: [ben.id], type: 'group' });
});

/** `/` and `/chat` of one user over one connection. */
async function both(t, user) {
  const manager = new Manager(entryUrl(), { transports, reconnection: false, autoConnect: false });
  const auth = { token: user.token };
  const root = watch(t, manager.socket('/', { auth }));
  const chat = watch(t, manager.socket('/chat', { auth }));
  await Promise.all([opened(root), opened(chat)]);
  return { manager, root, chat };
}

test('both namespaces share one connection and one set of data', limit, async (t) => {
  const { ann, ben } = await cast();
  const { root, chat } = await both(t, ann);
  assert.equal(root.io.engine.id, chat.io.engine.id, 'one session');
  assert.notEqual(root.id, chat.id, 'two sockets');
  const conversationId = await group(ann, [ben]);
  await join(conversationId, chat);
  const content = unique();
  const messageId = await say(root, conversationId, content);
  const { message } = await once(chat, 'newMessage', (event) => event.conversationId === conversationId);
  assert.deepEqual([message._id, message.content], [messageId, content]);
});

test('leaving one namespace leaves the other connected', limit, async (t) => {
  const { ann, ben } = await cast();
  const { manager, root, chat } = await both(t, ann);
  const session = manager.engine.id;
  chat.disconnect();
  const { conversation } = await succeed(root, 'createConversation', { participantIds: [ben.id], type: 'group' });
  assert.ok(root.connected);
  await opened(chat);
  assert.equal(manager.engine.id, session, 'and it can be entered again over the same connection');
  await succeed(chat, 'joinRoom', { conversationId: conversation._id });
});

test('a token is each namespace’s own', limit, async (t) => {
  const { ann } = await cast();
  const { root, chat } = await both(t, ann);
  chat.disconnect();
  await emitAck(root, 'joinRoom', {});
  chat.auth = { token: 'garbage' };
  unauthorized(await refused(chat));
  const answer = await emitAck(root, 'createConversation', { participantIds: [], type: 'direct' });
  assert.equal(answer.error.code, 'VALIDATION_FAILED', 'the neighbour is still somebody');
});
