// Source 004's authentication: logging in late, twice, wrongly; logging out; over two gateways.

import assert from 'node:assert/strict';
import test from 'node:test';
import { comeBack, cut, next, stays } from './support/away.js';
import { jwtSecret } from './support/cluster.js';
import { complaint, guest, namespacedUser, notification, refuses } from './support/dialects.js';
import { resign, seconds } from './support/jwt.js';
import { barrier, come, enter, logIn, publicRoom, say } from './support/namespaced.js';
import { people, register } from './support/people.js';
import { as, ok } from './support/rest.js';
import { heard, once } from './support/socket.js';

const cast = people('ann', 'ben');
const limit = { timeout: 360_000 };

test('auth:login with the token that the connection has already', limit, async (t) => {
  const { ann } = await cast();
  const socket = await come(t, ann);
  await logIn(socket, ann);
  await logIn(socket, ann);
  await say(socket, undefined);
});

test('a late auth:login: a connection without a token becomes who the token says', limit, async (t) => {
  const { ann } = await cast();
  for (const gateway of [0, 1]) {
    const socket = await guest(t, 'namespaced', { gateway });
    await logIn(socket, ann);
    const message = await say(socket, undefined);
    namespacedUser(message.sender, ann);
  }
});

test('a bad token is a system:error, and a better one may follow', limit, async (t) => {
  const { ann } = await cast();
  const secret = jwtSecret();
  const expired = resign(ann.token, { claims: { iat: seconds(-7200), exp: seconds(-3600) }, secret });
  const socket = await guest(t, 'namespaced');
  for (const token of ['your-jwt-token', expired, resign(ann.token, { algorithm: 'none', secret })]) {
    await refuses(socket, 'namespaced', 'UNAUTHORIZED', 'auth:login', { token, userType: 'user' });
  }
  for (const args of [[], [null], [{}], [{ userType: 'user' }], [{ token: 7, userType: 'user' }], [ann.token]]) {
    await refuses(socket, 'namespaced', 'VALIDATION_FAILED', 'auth:login', ...args);
  }
  socket.emit('auth:login', { token: 'your-jwt-token', userType: 'user' });
  await complaint(socket, 'namespaced', 'UNAUTHORIZED');
  assert.equal(heard(socket, 'system:notification').length, 0);
  await logIn(socket, ann);
});

test('a second auth:login as somebody else is FORBIDDEN, and changes nothing', limit, async (t) => {
  const { ann, ben } = await cast();
  const late = await guest(t, 'namespaced', { gateway: 1 });
  await logIn(late, ann);
  for (const socket of [await come(t, ann), late]) {
    await refuses(socket, 'namespaced', 'FORBIDDEN', 'auth:login', { token: ben.token, userType: 'user' });
    namespacedUser((await say(socket, undefined)).sender, ann);
  }
});

test('auth:logout notifies and disconnects; the token stays good', limit, async (t) => {
  const { ann } = await cast();
  const other = await come(t, ann, { gateway: 1 });
  await logIn(other, ann);
  const late = await guest(t, 'namespaced');
  await logIn(late, ann);
  for (const socket of [await come(t, ann), late]) {
    const gone = next(socket, 'disconnect');
    socket.emit('auth:logout');
    notification(await once(socket, 'system:notification'));
    await gone;
  }
  await say(other, undefined);
  const again = await come(t, ann);
  await logIn(again, ann);
  ok(await as(ann, 'GET', '/auth/me'), 200);
});

test('who logged in late comes back as who it was, if it connected with no token', limit, async (t) => {
  const { ann, ben } = await cast();
  const a = await come(t, ann);
  const room = await publicRoom(a);
  await enter(a, room.id);
  const b = await guest(t, 'namespaced', { gateway: 1, ...stays });
  await logIn(b, ben);
  await enter(b, room.id);
  await barrier(a, room.id, a, b);
  await cut(b);
  const missed = await say(a, room.id);
  await comeBack(b);
  if (b.recovered) {
    await barrier(a, room.id, a, b);
    assert.deepEqual(heard(b, 'chat:message', (message) => message.id === missed.id), [missed]);
  } else {
    await logIn(b, ben);
    await enter(b, room.id);
  }
  namespacedUser((await say(b, room.id)).sender, ben);
});

test('the role in a User is the account’s', limit, async (t) => {
  const ann = await register('role');
  const socket = await guest(t, 'namespaced');
  await logIn(socket, ann);
  // A token may claim what it likes, if somebody who knows the secret made it; the account decides.
  const claimed = { ...ann, token: resign(ann.token, { claims: { role: 'admin' }, secret: jwtSecret() }) };
  const proud = await come(t, claimed);
  namespacedUser((await say(proud, undefined)).sender, ann);
});
