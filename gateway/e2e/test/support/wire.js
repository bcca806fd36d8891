// Engine.IO by hand, over a WebSocket or over polls, where the real client would be too well behaved.

import assert from 'node:assert/strict';
import http from 'node:http';
import WebSocket from 'ws';
import { gatewayUrl, PATIENCE_MS, state } from './cluster.js';

const PATH = '/socket.io/';

/** Waits for `promise` no longer than is reasonable. */
export function soon(promise, what, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Who is online is told whenever it is known; no test that reads packets by hand is about that. */
export const isPresence = (packet) => /^42[^[]*\["(onlineUsers|userStatusChanged|status:online|status:offline)"/.test(packet);

/** A WebSocket with the frames it received: `next()` hands them out in order, `over` settles when it is closed. */
export function raw(t, query = 'EIO=4&transport=websocket', gateway = 0) {
  const socket = new WebSocket(`${gatewayUrl(gateway).replace(/^http/, 'ws')}${PATH}?${query}`, { perMessageDeflate: false });
  const frames = [];
  const waiting = [];
  socket.on('message', (data, isBinary) => {
    const frame = isBinary ? data : data.toString();
    if (!isBinary && isPresence(frame)) return;
    const waiter = waiting.shift();
    if (waiter) waiter(frame);
    else frames.push(frame);
  });
  socket.on('error', () => {});
  const opening = new Promise((resolve, reject) => { socket.once('open', resolve).once('error', reject); });
  opening.catch(() => {});
  const closed = new Promise((resolve) => { socket.once('close', (code) => resolve(code)); });
  t.after(() => socket.terminate());
  return {
    opened: () => soon(opening, 'the opening'),
    send: (frame) => socket.send(frame),
    next: (ms) => soon(frames.length > 0 ? Promise.resolve(frames.shift()) : new Promise((resolve) => { waiting.push(resolve); }), 'a frame', ms),
    over: () => soon(closed, 'the close'),
    isOpen: () => socket.readyState === WebSocket.OPEN,
    terminate: () => socket.terminate(),
  };
}

/** An open session: the open packet is read and parsed. */
export async function session(t, gateway = 0) {
  const link = raw(t, undefined, gateway);
  const first = await link.next();
  assert.equal(first[0], '0', `the first frame is the open packet: ${first}`);
  return { ...link, open: JSON.parse(first.slice(1)) };
}

/** The answer to an upgrade that is refused. */
export function refusal(t, query, gateway = 0) {
  const socket = new WebSocket(`${gatewayUrl(gateway).replace(/^http/, 'ws')}${PATH}?${query}`);
  t.after(() => socket.terminate());
  return soon(
    new Promise((resolve, reject) => {
      socket.on('open', () => reject(new Error(`${query} was accepted`)));
      socket.on('error', reject);
      socket.on('unexpected-response', (_request, response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          try {
            resolve({ status: response.statusCode, body: JSON.parse(text) });
          } catch (cause) {
            reject(new Error(`${response.statusCode} without JSON: ${text}`, { cause }));
          }
        });
      });
    }),
    'the refusal',
  );
}

/** One HTTP request to Engine.IO: `answer` is `{status, headers, text}`, `abort()` hangs up. */
export function ask(gateway, method, query, { body, headers = {}, path = PATH } = {}) {
  let request;
  const answer = new Promise((resolve, reject) => {
    request = http.request(`${gatewayUrl(gateway)}${path}?${query}`, { method, headers, agent: false }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() }));
    });
    request.on('error', reject);
    request.end(body);
  });
  const inTime = soon(answer, `${method} ?${query}`, 40_000);
  inTime.catch(() => {}); // who aborts does not wait for it
  return { answer: inTime, abort: () => request.destroy() };
}

/**
 * A polling session whose every request goes to the next gateway, so that none but one in three meets the session's own.
 * `get` and `post` begin a request like `ask`; `read` is a GET's text.
 */
export async function poller(t, first = 0) {
  let turn = first;
  const next = () => turn++ % state.gateways.length;
  const shake = await ask(next(), 'GET', 'EIO=4&transport=polling').answer;
  assert.equal(shake.status, 200, shake.text);
  assert.equal(shake.text[0], '0', shake.text);
  const open = JSON.parse(shake.text.slice(1));
  const query = `EIO=4&transport=polling&sid=${encodeURIComponent(open.sid)}`;
  const get = () => ask(next(), 'GET', query);
  const post = (body, headers = { 'content-type': 'text/plain;charset=UTF-8' }) => ask(next(), 'POST', query, { body, headers });
  t.after(() => post('1').answer.catch(() => {}));
  return {
    open, shake, query, get, post, next,
    read: async () => {
      const { status, text } = await get().answer;
      assert.equal(status, 200, text);
      return text;
    },
    send: async (body) => {
      const { status, text } = await post(body).answer;
      assert.deepEqual([status, text], [200, 'ok']);
    },
  };
}
