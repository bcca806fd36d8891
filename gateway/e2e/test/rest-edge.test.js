// What every route has in common: the shape of errors, request ids, unknown routes, wrong methods, bodies too large.

import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { gatewayUrl, PATIENCE_MS } from './support/cluster.js';
import { people } from './support/people.js';
import { as, failed, ok, request } from './support/rest.js';
import * as shapes from './support/shapes.js';

const cast = people('ann');
const limit = { timeout: 240_000 };

test('an unknown route is a JSON 404, with a token and without', limit, async () => {
  const { ann } = await cast();
  for (const path of ['/nowhere', '/auth', '/auth/nowhere', '/chats/nowhere/at/all', '/%20']) {
    failed(await as(ann, 'GET', path), 404, 'NOT_FOUND');
    failed(await request('GET', path, { gateway: 1 }), 404, 'NOT_FOUND');
  }
});

test('a wrong method is 405', limit, async () => {
  const { ann } = await cast();
  for (const [method, path] of [['DELETE', '/conversations'], ['PATCH', '/auth/me'], ['GET', '/auth/login'], ['GET', '/messages'], ['PUT', '/chats/conversations']]) {
    const answer = await as(ann, method, path, method === 'GET' ? undefined : {});
    assert.equal(answer.status, 405, `${method} ${path}: ${answer.status} ${answer.text}`);
    shapes.keys(answer.body, ['statusCode', 'error', 'message', 'code', 'requestId'], ['details']);
    assert.equal(answer.body.statusCode, 405);
    assert.match(answer.headers.get('allow'), /^[A-Z,]+$/, `${method} ${path} says what is allowed`);
  }
  const { headers } = await as(ann, 'PATCH', '/messages/1', {});
  assert.deepEqual(headers.get('allow').split(',').sort(), ['DELETE', 'PUT']);
});

test('what may be done is told to who asks, and HEAD answers as GET does, without a body', limit, async () => {
  const { ann } = await cast();
  const options = await request('OPTIONS', '/conversations');
  assert.equal(options.status, 204);
  assert.deepEqual(options.headers.get('allow').split(',').sort(), ['GET', 'HEAD', 'POST']);
  const head = await as(ann, 'HEAD', '/auth/me');
  assert.deepEqual([head.status, head.text, head.headers.get('content-type')], [200, '', 'application/json']);
  assert.equal((await request('HEAD', '/auth/me')).status, 401);
});

test('a limit over 100 is cut, and garbage is refused, on every list', limit, async () => {
  const { ann } = await cast();
  for (const path of ['/conversations', '/chats/conversations', '/api/rooms', '/api/rooms/public/users']) {
    assert.ok(Array.isArray(ok(await as(ann, 'GET', `${path}?limit=100000&other=ignored`), 200)), path);
    for (const bad of ['0', '-1', 'x', '1.5', '', '%20']) failed(await as(ann, 'GET', `${path}?limit=${bad}`), 400, 'VALIDATION_FAILED');
    for (const bad of ['x', '-210866803200001_01900000-0000-7000-8000-000000000002', '99999999999999_01900000-0000-7000-8000-000000000002']) {
      failed(await as(ann, 'GET', `${path}?cursor=${bad}`), 400, 'VALIDATION_FAILED');
    }
  }
});

test('a request id is taken when given, made when not, and always returned', limit, async () => {
  const { ann } = await cast();
  const given = 'e2e-0123456789';
  const good = await as(ann, 'GET', '/auth/me', undefined, { headers: { 'x-request-id': given } });
  ok(good, 200);
  assert.equal(good.headers.get('x-request-id'), given);
  const bad = await as(ann, 'GET', '/nowhere', undefined, { headers: { 'x-request-id': given }, gateway: 1 });
  assert.equal(failed(bad, 404, 'NOT_FOUND').requestId, given);
  const made = [await as(ann, 'GET', '/auth/me'), await as(ann, 'GET', '/auth/me')].map((answer) => answer.headers.get('x-request-id'));
  assert.ok(made[0] && made[1], 'made by the gateway');
  assert.notEqual(made[0], made[1]);
});

/** Offers a body of `size` bytes, but waits with it until the gateway asks for it, as large uploads should. */
function offer(path, token, size) {
  return new Promise((resolve, reject) => {
    const call = http.request(new URL(path, gatewayUrl(0)), {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'content-length': size, expect: '100-continue' },
      timeout: PATIENCE_MS,
      agent: false,
    });
    let answered = false;
    call.on('continue', async () => {
      const piece = Buffer.alloc(64 * 1024, 'x');
      for (let sent = 0; sent < size && !answered; sent += piece.length) {
        if (!call.write(piece.subarray(0, Math.min(piece.length, size - sent)))) {
          await new Promise((drained) => { call.once('drain', drained); call.once('close', drained); });
        }
      }
      if (!answered) call.end();
    });
    call.on('response', (response) => {
      answered = true;
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const headers = new Headers(Object.entries(response.headers).map(([name, value]) => [name, String(value)]));
        resolve({ request: `POST ${path}`, status: response.statusCode, headers, text, body: JSON.parse(text) });
        call.destroy();
      });
    });
    call.on('timeout', () => call.destroy(new Error('no answer in time')));
    // An error after the answer is the gateway hanging up on the rest of the body, which is its right.
    call.on('error', (error) => { if (!answered) reject(error); });
    call.flushHeaders();
  });
}

test('a body that is too large is 413', limit, async () => {
  const { ann } = await cast();
  failed(await offer('/messages', ann.token, 8_000_000), 413, 'PAYLOAD_TOO_LARGE');
  ok(await as(ann, 'GET', '/auth/me'), 200);
});

test('health is open and says what it depends on', limit, async () => {
  for (const gateway of [0, 1]) {
    const body = ok(await request('GET', '/health', { gateway }), 200);
    shapes.keys(body, ['status', 'version', 'uptime', 'checks']);
    assert.ok('redis' in body.checks && 'database' in body.checks);
    ok(await request('GET', '/health/db', { gateway }), 200);
  }
});
