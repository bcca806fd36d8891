// REST calls, and what every answer of a kind must look like.

import assert from 'node:assert/strict';
import { entryUrl, gatewayUrl, PATIENCE_MS } from './cluster.js';
import { keys } from './shapes.js';

/**
 * Sends one request and reads the whole answer. `body` is sent as JSON unless it is a string, which goes out as it is.
 * Without a gateway it goes where clients go. Statuses are data here: nothing throws but a broken connection or an answer that is not the JSON it claims to be.
 */
export async function request(method, path, { token, body, headers = {}, gateway } = {}) {
  const init = { method, headers: { ...headers }, signal: AbortSignal.timeout(PATIENCE_MS), redirect: 'manual' };
  if (token !== undefined) init.headers.authorization = `Bearer ${token}`;
  if (body !== undefined) {
    init.headers['content-type'] ??= 'application/json';
    init.body = typeof body === 'string' ? body : JSON.stringify(body);
  }
  const response = await fetch(new URL(path, gateway === undefined ? entryUrl() : gatewayUrl(gateway)), init);
  const text = await response.text();
  const isJson = (response.headers.get('content-type') ?? '').startsWith('application/json');
  return {
    request: `${method} ${path}`,
    status: response.status,
    headers: response.headers,
    text,
    body: isJson && text !== '' ? JSON.parse(text) : undefined,
  };
}

/** A request in the name of a user made by `people`. */
export function as(user, method, path, body, options = {}) {
  return request(method, path, { token: user.token, body, ...options });
}

/** Asserts the status and hands back the body. Several statuses may be given where the contract leaves the choice. */
export function ok(answer, ...statuses) {
  assert.ok(
    statuses.includes(answer.status),
    `${answer.request}: expected ${statuses.join(' or ')}, got ${answer.status} ${answer.text.slice(0, 500)}`,
  );
  if (answer.status === 204) {
    assert.equal(answer.text, '', `${answer.request}: 204 has no body`);
  } else {
    assert.notEqual(answer.body, undefined, `${answer.request}: the answer is JSON`);
  }
  return answer.body;
}

/** Asserts that the answer is the error `status`/`code` in the one shape all errors have. */
export function failed(answer, status, code) {
  const where = `${answer.request}: ${answer.status} ${answer.text.slice(0, 500)}`;
  assert.equal(answer.status, status, where);
  assert.notEqual(answer.body, undefined, `errors are JSON: ${where}`);
  keys(answer.body, ['statusCode', 'error', 'message', 'code', 'requestId'], ['details'], where);
  assert.equal(answer.body.statusCode, status, where);
  assert.equal(answer.body.code, code, where);
  for (const field of ['error', 'message', 'requestId']) {
    assert.equal(typeof answer.body[field], 'string', `${field}: ${where}`);
    assert.notEqual(answer.body[field], '', `${field}: ${where}`);
  }
  assert.equal(answer.headers.get('x-request-id'), answer.body.requestId, `the header names the same request: ${where}`);
  return answer.body;
}

/** The path of the next page, from `Link: <…>; rel="next"`, or null on the last one. */
export function nextPage(answer) {
  const next = /<([^>]*)>\s*;\s*rel="?next"?/.exec(answer.headers.get('link') ?? '');
  if (!next) return null;
  const url = new URL(next[1], 'http://gateway.invalid');
  return url.pathname + url.search;
}
