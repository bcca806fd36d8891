// Tokens that end before their time: their sockets close on every gateway, in every dialect, and they open nothing any more.

import assert from 'node:assert/strict';
import test from 'node:test';
import { cut, stays, until } from './support/away.js';
import { state } from './support/cluster.js';
import { isDeaf } from './support/deaf.js';
import { client, guest, sendTo } from './support/dialects.js';
import { lateness, STALLS_MS } from './support/patience.js';
import { login, people, register, slug } from './support/people.js';
import { as, failed, ok, request } from './support/rest.js';
import { dial, heard, once, quiet, refused, succeed } from './support/socket.js';
import { ask } from './support/wire.js';

const cast = people('ann');
const limit = { timeout: 360_000 };
const WITHIN_MS = 5_000;

/** The four dialects, each on every gateway, all with the token of `user`: by auth, by header, by a late login. */
async function everywhere(t, user) {
  const sockets = [];
  for (const gateway of state.gateways.keys()) {
    const at = { gateway, direct: true };
    const { ann } = await cast();
    const direct = await client(t, 'direct', user, at);
    await sendTo(direct, ann, 'here I am');
    const rooms = await client(t, 'rooms', user, at);
    await succeed(rooms, 'chat.addUser', { roomId: slug() });
    const late = await guest(t, 'namespaced', at);
    await succeed(late, 'auth:login', { token: user.token, userType: 'user' });
    const header = await guest(t, 'conversations', { ...at, extraHeaders: { authorization: `Bearer ${user.token}` } });
    await succeed(header, 'createConversation', { participantIds: [ann.id], type: 'group' });
    const silent = await client(t, 'conversations', user, at);
    sockets.push(direct, rooms, late, header, silent);
  }
  return sockets;
}

/**
 * Waits until each of `sockets` is over. One that was changing over to WebSocket when its gateway closed it may be deaf, and cannot know: there
 * the gateways must not know its session any more.
 */
async function areOver(sockets, isOver) {
  await until(() => sockets.every((socket) => isOver(socket) || isDeaf(socket)), 'all are over').catch(() => {}); // what follows says it better
  const left = sockets.filter((socket) => !isOver(socket));
  assert.deepEqual(left.filter((socket) => !isDeaf(socket)).map(({ io }) => io.engine.transport.name), [], 'sockets that live on');
  for (const { io } of left) {
    const { status, text } = await ask(0, 'GET', `EIO=4&transport=polling&sid=${encodeURIComponent(io.engine.id)}`).answer;
    assert.deepEqual([status, JSON.parse(text).code], [400, 1], 'the session of one that is deaf');
  }
}

/** Runs `act` and asserts that each of `sockets` closes soon after it, and none of `others`. */
async function closes(sockets, others, act) {
  await act();
  const [begun, late] = [Date.now(), lateness()];
  await areOver(sockets, ({ connected }) => !connected);
  const took = Date.now() - begun;
  assert.ok(took <= WITHIN_MS + STALLS_MS + late(), `all were closed after ${took} ms`);
  await quiet(500);
  for (const [index, socket] of others.entries()) assert.ok(socket.connected, `another token’s socket ${index} stays`);
}

/** Asserts that `user`'s token is good for nothing, anywhere. */
async function isDead(t, user) {
  for (const gateway of state.gateways.keys()) {
    for (const namespace of ['/', '/chat']) {
      for (const how of [{ auth: { token: user.token } }, { extraHeaders: { authorization: `Bearer ${user.token}` } }]) {
        const error = await refused(dial(t, { gateway, direct: true, namespace, ...how }));
        assert.equal(error.message, 'Unauthorized');
        assert.deepEqual(error.data, { code: 'UNAUTHORIZED' });
      }
    }
    const late = await guest(t, 'namespaced', { gateway, direct: true });
    late.emit('auth:login', { token: user.token, userType: 'user' });
    assert.equal((await once(late, 'system:error')).code, 'UNAUTHORIZED');
    assert.equal(heard(late, 'system:notification').length, 0);
    failed(await as(user, 'GET', '/auth/me', undefined, { gateway }), 401, 'UNAUTHORIZED');
    failed(await as(user, 'POST', '/auth/logout', undefined, { gateway }), 401, 'UNAUTHORIZED');
  }
}

/** Asserts that sockets of `user`, or of its token, work. */
async function works(t, user, socket) {
  const { ann } = await cast();
  ok(await as(user, 'GET', '/auth/me'), 200);
  const fresh = await client(t, 'direct', user, { gateway: 1 });
  const messageId = await sendTo(fresh, ann, 'still here');
  if (socket) assert.equal((await once(socket, 'receive_message', ({ id }) => id === messageId)).senderId, user.id);
}

test('logging out closes the sockets of that token on all gateways, and no other', limit, async (t) => {
  const phone = await register('owner');
  const laptop = await login(phone, { gateway: 1 });
  assert.notEqual(laptop.token, phone.token);
  const [phones, laptops] = [await everywhere(t, phone), await everywhere(t, laptop)];
  const { ann } = await cast();
  const stranger = await client(t, 'direct', ann);
  await closes(phones, [...laptops, stranger], async () => ok(await as(phone, 'POST', '/auth/logout', undefined, { gateway: 1 }), 204));
  await isDead(t, phone);
  await works(t, laptop, laptops[0]);
  await closes(laptops, [stranger], async () => ok(await as(laptop, 'POST', '/auth/logout'), 204));
  await isDead(t, laptop);
  const again = await login(phone);
  await works(t, again);
});

test('a changed password closes the sockets of all other tokens, not of the one that changed it', limit, async (t) => {
  const phone = await register('owner');
  const laptop = await login(phone, { gateway: 1 });
  const tablet = await login(phone);
  const [phones, laptops, tablets] = [await everywhere(t, phone), await everywhere(t, laptop), await everywhere(t, tablet)];
  const newPassword = `new-${phone.password}`;
  const change = (user, currentPassword) => as(user, 'PUT', '/auth/change-password', { currentPassword, newPassword }, { gateway: 1 });

  failed(await change(laptop, 'not the password'), 400, 'VALIDATION_FAILED');
  await quiet(1_000);
  for (const socket of [...phones, ...laptops, ...tablets]) assert.ok(socket.connected, 'a wrong password changes nothing');

  await closes([...phones, ...tablets], laptops, async () => ok(await change(laptop, phone.password), 204));
  await isDead(t, phone);
  await isDead(t, tablet);
  await works(t, laptop, laptops[0]);
  failed(await request('POST', '/auth/login', { body: { email: phone.email, password: phone.password } }), 401, 'UNAUTHORIZED');
  await works(t, await login(phone, { password: newPassword }));
});

test('who is away while its token ends does not come back', limit, async (t) => {
  const owner = await register('owner');
  const sockets = await Promise.all(state.gateways.map((_, gateway) => client(t, 'direct', owner, { gateway, ...stays })));
  const { ann } = await cast();
  const a = await client(t, 'direct', ann);
  await sendTo(a, owner, 'so that there is something to come back to');
  for (const socket of sockets) {
    await once(socket, 'receive_message');
    await cut(socket);
  }
  ok(await as(owner, 'POST', '/auth/logout'), 204);
  const missed = await sendTo(a, owner, 'not for a token that has ended');
  for (const socket of sockets) {
    const error = await refused(socket);
    assert.deepEqual(error.data, { code: 'UNAUTHORIZED' });
    assert.equal(heard(socket, 'receive_message', ({ id }) => id === missed).length, 0);
  }
});

test('who comes at the very moment of the logout does not slip through', limit, async (t) => {
  const owner = await register('owner');
  const racing = Array.from({ length: 12 }, (_, index) => dial(t, { namespace: '/', gateway: index % 2, auth: { token: owner.token } }));
  const over = new Set();
  for (const socket of racing) socket.once('connect_error', () => over.add(socket)).once('disconnect', () => over.add(socket));
  for (const [index, socket] of racing.entries()) setTimeout(() => socket.connect(), index * 10);
  await quiet(40);
  ok(await as(owner, 'POST', '/auth/logout', undefined, { gateway: 1 }), 204);
  await areOver(racing, (socket) => over.has(socket));
});

test('logging out needs a token', limit, async () => {
  for (const token of [undefined, 'garbage']) failed(await request('POST', '/auth/logout', { token }), 401, 'UNAUTHORIZED');
});
