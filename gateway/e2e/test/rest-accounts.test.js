// /auth/register, /auth/login, /auth/me, and the token they hand out.

import assert from 'node:assert/strict';
import test from 'node:test';
import { jwtSecret } from './support/cluster.js';
import { resign, seconds } from './support/jwt.js';
import { newcomer, people } from './support/people.js';
import { as, failed, ok, request } from './support/rest.js';
import * as shapes from './support/shapes.js';
import { connect } from './support/socket.js';

const cast = people('ann', 'ben');
const limit = { timeout: 240_000 };

const post = (path, body, gateway = 0) => request('POST', path, { body, gateway });

function grant(body, account) {
  shapes.keys(body, ['user', 'accessToken', 'tokenType', 'expiresIn']);
  shapes.user(body.user);
  assert.deepEqual([body.user.email, body.user.username], [account.email, account.username]);
  assert.equal(body.tokenType, 'Bearer');
  assert.ok(Number.isInteger(body.expiresIn) && body.expiresIn > 0, `expiresIn in seconds: ${body.expiresIn}`);
  assert.equal(body.accessToken.split('.').length, 3);
  const claims = JSON.parse(Buffer.from(body.accessToken.split('.')[1], 'base64url'));
  assert.equal(claims.sub, body.user.id);
  assert.ok(Math.abs(claims.exp - seconds(body.expiresIn)) < 120, 'expiresIn says when the token expires');
}

test('registering hands out a token that both gateways and both protocols take', limit, async (t) => {
  const account = { ...newcomer('new'), avatar: 'https://example.com/face.png' };
  const answer = await post('/auth/register', account);
  const body = ok(answer, 201);
  grant(body, account);
  assert.deepEqual([body.user.name, body.user.avatar], [account.name, account.avatar]);
  assert.ok(!answer.text.includes(account.password), 'the password is not told');
  for (const gateway of [0, 1]) {
    const me = ok(await request('GET', '/auth/me', { token: body.accessToken, gateway }), 200);
    shapes.user(me);
    assert.deepEqual([me.id, me.email, me.name], [body.user.id, account.email, account.name]);
    await connect(t, { token: body.accessToken }, { gateway });
  }
});

test('name and avatar may be left out', limit, async () => {
  const { name: _name, ...account } = newcomer('bare');
  const body = ok(await post('/auth/register', account, 1), 201);
  grant(body, account);
  assert.equal(body.user.avatar, null);
});

test('logging in gives the same shape', limit, async () => {
  const { ann } = await cast();
  for (const gateway of [0, 1]) {
    const body = ok(await post('/auth/login', { email: ann.email, password: ann.password }, gateway), 200);
    grant(body, ann);
    assert.equal(body.user.id, ann.id);
    ok(await request('GET', '/auth/me', { token: body.accessToken, gateway: 1 - gateway }), 200);
  }
});

test('an email or a username that is taken is a CONFLICT', limit, async () => {
  const { ann } = await cast();
  failed(await post('/auth/register', { ...newcomer(), email: ann.email }, 1), 409, 'CONFLICT');
  failed(await post('/auth/register', { ...newcomer(), username: ann.username }), 409, 'CONFLICT');
  failed(await post('/auth/register', { ...newcomer(), email: ann.email.toUpperCase() }), 409, 'CONFLICT');
  failed(await post('/auth/register', { ...newcomer(), username: ann.username.toUpperCase() }, 1), 409, 'CONFLICT');
});

test('registered twice at once, one of them gets it', limit, async () => {
  const account = newcomer('race');
  const answers = await Promise.all([0, 1, 0, 1].map((gateway) => post('/auth/register', account, gateway)));
  const statuses = answers.map((answer) => answer.status).sort();
  assert.deepEqual(statuses, [201, 409, 409, 409]);
});

test('a wrong password and an unknown email are told apart in no way', limit, async () => {
  const { ann } = await cast();
  const wrong = failed(await post('/auth/login', { email: ann.email, password: 'not the password' }), 401, 'UNAUTHORIZED');
  const unknown = failed(await post('/auth/login', { email: newcomer().email, password: 'not the password' }, 1), 401, 'UNAUTHORIZED');
  const same = ({ statusCode, error, message, code }) => ({ statusCode, error, message, code });
  assert.deepEqual(same(unknown), same(wrong));
});

test('what is wrong with a registration is said field by field', limit, async () => {
  const bad = {
    email: [undefined, null, 7, '', 'nobody', 'two@@example.com', 'a b@example.com', `${'x'.repeat(250)}@example.com`],
    username: [undefined, null, 7, '', 'ab', 'x'.repeat(33), 'with space', 'ünder', 'semi;colon', 'nul\u0000'],
    password: [undefined, null, 7, '', '1234567', 'x'.repeat(129)],
    name: [7, {}, 'x'.repeat(101), 'a\u0000b'],
    avatar: [7, {}, 'x'.repeat(3000)],
  };
  for (const [field, values] of Object.entries(bad)) {
    for (const value of values) {
      const body = failed(await post('/auth/register', { ...newcomer(), [field]: value }), 400, 'VALIDATION_FAILED');
      assert.ok(JSON.stringify(body.details ?? '').includes(field), `${field}=${JSON.stringify(value)} in ${JSON.stringify(body)}`);
    }
  }
  const { details } = failed(await post('/auth/register', { email: 'x', username: 'y', password: 'z' }), 400, 'VALIDATION_FAILED');
  for (const field of ['email', 'username', 'password']) assert.ok(JSON.stringify(details).includes(field), `${field} too`);
  for (const body of ['', '{', 'null', '[]', '"text"', '7', '{"email":"\\ud800"}']) {
    failed(await post('/auth/register', body), 400, 'VALIDATION_FAILED');
    failed(await post('/auth/login', body), 400, 'VALIDATION_FAILED');
  }
});

test('the edges of what is allowed are allowed', limit, async () => {
  for (const more of [
    { password: '12345678' },
    { password: 'x'.repeat(128) },
    { username: `${newcomer('x').username}_.-`.padEnd(32, 'Z') },
    { name: '漢'.repeat(100) },
    { nickname: 'a field that nobody asked for' },
  ]) {
    const account = { ...newcomer('edge'), ...more };
    grant(ok(await post('/auth/register', account), 201), account);
    ok(await post('/auth/login', { email: account.email, password: account.password }, 1), 200);
  }
});

test('every route but the open ones asks for a token', limit, async () => {
  const { ann } = await cast();
  const id = ann.id;
  const routes = [
    ['GET', '/auth/me'],
    ['POST', '/messages'],
    ['GET', `/messages/conversation/${id}`],
    ['PUT', '/messages/1'],
    ['DELETE', '/messages/1'],
    ['PUT', '/messages/mark-as-read'],
    ['POST', '/conversations'],
    ['GET', '/conversations'],
    ['GET', `/conversations/${id}`],
    ['POST', '/chats/conversations'],
    ['GET', '/chats/conversations'],
    ['GET', `/chats/conversations/${id}`],
    ['GET', `/chats/conversations/${id}/messages`],
    ['POST', `/chats/conversations/${id}/read`],
    ['DELETE', '/chats/messages/1'],
    ['POST', `/chats/conversations/${id}/participants`],
    ['DELETE', `/chats/conversations/${id}/participants/${id}`],
    ['POST', `/chats/conversations/${id}/leave`],
  ];
  for (const [index, [method, path]] of routes.entries()) {
    const gateway = index % 2;
    const body = method === 'GET' || method === 'DELETE' ? undefined : {};
    failed(await request(method, path, { body, gateway }), 401, 'UNAUTHORIZED');
    failed(await request(method, path, { body, gateway, token: 'garbage' }), 401, 'UNAUTHORIZED');
  }
});

test('a bad token opens nothing', limit, async () => {
  const { ann } = await cast();
  const secret = jwtSecret();
  const [header, payload] = ann.token.split('.');
  const bad = {
    expired: resign(ann.token, { claims: { iat: seconds(-7200), exp: seconds(-3600) }, secret }),
    'alg none': resign(ann.token, { algorithm: 'none', secret }),
    HS512: resign(ann.token, { algorithm: 'HS512', secret }),
    'another secret': resign(ann.token, { secret: 'some other secret, long enough to count' }),
    'no signature': `${header}.${payload}.`,
  };
  for (const [, token] of Object.entries(bad)) failed(await request('GET', '/auth/me', { token }), 401, 'UNAUTHORIZED');
  for (const authorization of ['Bearer', 'Bearer ', ann.token, `Basic ${ann.token}`, `Bearer ${ann.token} x`]) {
    failed(await request('GET', '/auth/me', { headers: { authorization } }), 401, 'UNAUTHORIZED');
  }
  ok(await request('GET', '/auth/me', { headers: { authorization: `bearer ${ann.token}` } }), 200);
  ok(await as(ann, 'GET', '/auth/me'), 200);
});
