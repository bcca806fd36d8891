// Requests as a browser sends them from a page of some origin.

import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { plain } from './documented.js';
import { soon } from './wire.js';

/** What a browser asks before the request itself. */
export function preflight(url, path, origin, method) {
  return plain(`${url}${path}`, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': 'authorization,content-type' },
  });
}

/** Asserts that a preflight's answer lets pages of `origin` send credentials and JSON. */
export function allows(answer, origin) {
  assert.ok(answer.status === 200 || answer.status === 204, `${answer.request}: ${answer.status} ${answer.text}`);
  assert.equal(answer.headers.get('access-control-allow-origin'), origin);
  const headers = (answer.headers.get('access-control-allow-headers') ?? '').toLowerCase();
  for (const name of ['authorization', 'content-type']) assert.ok(headers.includes(name), `${name} in "${headers}"`);
}

/** An Engine.IO handshake over polling, from a page of `origin`. */
export function shake(url, origin) {
  return plain(`${url}/socket.io/?EIO=4&transport=polling`, { headers: origin ? { origin } : {} });
}

/** The status of an Engine.IO handshake over WebSocket, from a page of `origin`: 101 if it opened. */
export function upgrade(t, url, origin) {
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`, origin ? { origin } : {});
  t.after(() => socket.terminate());
  return soon(
    new Promise((resolve, reject) => {
      socket.on('open', () => resolve(101));
      socket.on('unexpected-response', (request, response) => {
        resolve(response.statusCode);
        request.destroy();
      });
      socket.on('error', reject);
    }),
    'the upgrade',
  );
}
