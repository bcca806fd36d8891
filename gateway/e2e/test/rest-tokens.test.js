// What an account's owner changes: the profile, the password, and which tokens are good.

import assert from 'node:assert/strict';
import test from 'node:test';
import { jwtSecret } from './support/cluster.js';
import { resign } from './support/jwt.js';
import { newcomer, people, register } from './support/people.js';
import { as, failed, nextPage, ok, request } from './support/rest.js';
import * as shapes from './support/shapes.js';

const cast = people('ann', 'ben');
const limit = { timeout: 240_000 };

const login = async ({ email, password }) => ok(await request('POST', '/auth/login', { body: { email, password } }), 200).accessToken;
const field = (body) => body.details.map((detail) => detail.field);

test('a profile changes where it is asked to', limit, async () => {
  const user = await register('profile');
  const { username } = newcomer('renamed');
  const changed = ok(await as(user, 'PUT', '/auth/profile', { username, name: 'New Name', avatar: 'https://example.com/new.png' }), 200);
  shapes.user(changed);
  assert.deepEqual([changed.username, changed.name, changed.avatar], [username, 'New Name', 'https://example.com/new.png']);
  for (const gateway of [0, 1]) assert.deepEqual(ok(await as(user, 'GET', '/auth/me', undefined, { gateway }), 200).name, 'New Name');
  assert.equal(ok(await as(user, 'PUT', '/auth/profile', {}), 200).avatar, 'https://example.com/new.png');
  assert.equal(ok(await as(user, 'PUT', '/auth/profile', { avatar: null, email: 'ignored' }), 200).avatar, null);
  const { ann } = await cast();
  failed(await as(user, 'PUT', '/auth/profile', { username: ann.username.toUpperCase() }), 409, 'CONFLICT');
  const wrong = failed(await as(user, 'PUT', '/auth/profile', { username: 'a', name: '', avatar: 'ftp://x' }), 400, 'VALIDATION_FAILED');
  assert.deepEqual(field(wrong), ['username', 'name', 'avatar']);
});

test('an online status is what was asked for', limit, async () => {
  const { ann } = await cast();
  for (const isOnline of [false, true]) assert.equal(ok(await as(ann, 'PUT', '/auth/online-status', { isOnline }), 200).isOnline, isOnline);
  for (const isOnline of [undefined, null, 'true', 1]) {
    assert.deepEqual(field(failed(await as(ann, 'PUT', '/auth/online-status', { isOnline }), 400, 'VALIDATION_FAILED')), ['isOnline']);
  }
});

test('another password ends all other tokens', limit, async () => {
  const user = await register('secretive');
  const other = await login(user);
  const wrong = failed(
    await as(user, 'PUT', '/auth/change-password', { currentPassword: 'not it', newPassword: 'another password' }), 400, 'VALIDATION_FAILED');
  assert.deepEqual(field(wrong), ['currentPassword']);
  failed(await as(user, 'PUT', '/auth/change-password', { currentPassword: user.password, newPassword: 'short' }), 400, 'VALIDATION_FAILED');
  ok(await request('GET', '/auth/me', { token: other }), 200);

  ok(await as(user, 'PUT', '/auth/change-password', { currentPassword: user.password, newPassword: 'another password' }), 204);
  for (const gateway of [0, 1]) {
    ok(await as(user, 'GET', '/auth/me', undefined, { gateway }), 200);
    failed(await request('GET', '/auth/me', { token: other, gateway }), 401, 'UNAUTHORIZED');
  }
  failed(await request('POST', '/auth/login', { body: { email: user.email, password: user.password } }), 401, 'UNAUTHORIZED');
  const renewed = await login({ ...user, password: 'another password' });
  ok(await request('GET', '/auth/me', { token: renewed }), 200);
});

test('logging out ends this token and no other', limit, async () => {
  const user = await register('leaving');
  const other = await login(user);
  ok(await as(user, 'POST', '/auth/logout'), 204);
  for (const gateway of [0, 1]) {
    failed(await as(user, 'GET', '/auth/me', undefined, { gateway }), 401, 'UNAUTHORIZED');
    ok(await request('GET', '/auth/me', { token: other, gateway }), 200);
  }
  failed(await as(user, 'POST', '/auth/logout'), 401, 'UNAUTHORIZED');
});

test('a token of another issuer is ended in the same way', limit, async () => {
  const user = await register('foreign');
  for (const jti of [undefined, 'issue-7']) {
    const token = resign(user.token, { claims: { jti, ver: undefined, iss: `elsewhere ${jti}` }, secret: jwtSecret() });
    ok(await request('GET', '/auth/me', { token }), 200);
    ok(await request('POST', '/auth/logout', { token }), 204);
    failed(await request('GET', '/auth/me', { token, gateway: 1 }), 401, 'UNAUTHORIZED');
  }
  ok(await as(user, 'GET', '/auth/me'), 200);
});

test('people are found by the beginning of their name or address', limit, async () => {
  const { ann } = await cast();
  const marked = newcomer('q').username;
  const users = [];
  for (const name of ['b', 'a', 'c']) {
    const account = { ...newcomer(), username: `${marked}${name}`.slice(0, 32) };
    users.push(ok(await request('POST', '/auth/register', { body: account }), 201).user);
  }
  const by = { ...newcomer(), email: `${marked}z+x@example.com` };
  users.push(ok(await request('POST', '/auth/register', { body: by }), 201).user);

  const first = await as(ann, 'GET', `/users/search?q=${marked.toUpperCase()}&limit=2`);
  const found = ok(first, 200);
  let next = nextPage(first);
  while (next) {
    const page = await as(ann, 'GET', next, undefined, { gateway: found.length % 2 });
    found.push(...ok(page, 200));
    next = nextPage(page);
  }
  assert.deepEqual(found.map(({ username }) => username), [`${marked}a`, `${marked}b`, `${marked}c`, by.username]);
  for (const user of found) shapes.keys(user, ['id', 'username', 'name', 'avatar', 'isOnline', 'lastSeen', 'createdAt']);
  const [exact] = ok(await as(ann, 'GET', `/users/search?q=${encodeURIComponent(by.email)}`), 200);
  assert.equal(exact.username, by.username);
  for (const q of ['', '%20', undefined, '%00']) {
    failed(await as(ann, 'GET', q === undefined ? '/users/search' : `/users/search?q=${q}`), 400, 'VALIDATION_FAILED');
  }
  for (const query of ['q=a&limit=0', 'q=a&limit=x', 'q=a&limit=', 'q=a&cursor=x']) {
    failed(await as(ann, 'GET', `/users/search?${query}`), 400, 'VALIDATION_FAILED');
  }
  assert.deepEqual(ok(await as(ann, 'GET', '/users/search?q=_%25'), 200), [], 'no wildcards');
});
