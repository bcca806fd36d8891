// Clients that lose their connection and come back, as the real client does it.

import assert from 'node:assert/strict';
import { PATIENCE_MS } from './cluster.js';
import { endDeafness, isDeaf } from './deaf.js';
import { growth } from './metrics.js';
import { unlessCounted } from './patience.js';
import { heard, opened, quiet } from './socket.js';
import { storedMessages } from './truth.js';

/** For `connect`: the client stays away until the test sends it back. */
export const stays = { reconnection: false };

/** How soon a client comes again that could not be let in. */
const AGAIN_MS = 100;

/** For `connect`: the client comes back by itself, soon. */
export const returns = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 250, timeout: 10_000 };

/** The next time `socket` emits one of its reserved events: its first argument. */
export function next(socket, event, ms = PATIENCE_MS) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.off(event, here);
      reject(new Error(`no ${event} within ${ms} ms`));
    }, ms);
    const here = (value) => {
      clearTimeout(timer);
      resolve(value);
    };
    socket.once(event, here);
  });
}

/** Closes the engine under `socket`, which is no `disconnect()`: the namespace was not left. */
export async function cut(socket) {
  const gone = next(socket, 'disconnect');
  socket.io.engine.close();
  await gone;
}

/**
 * Breaks connections with `act` until `socket` has noticed: between two polls there is none to break, and a client that has gone
 * deaf has none any more. Hands back what `act` answered each time.
 */
export async function broken(socket, act) {
  assert.ok(!isDeaf(socket), 'deaf, though nothing was broken');
  const gone = next(socket, 'disconnect');
  const answers = [];
  while (socket.connected) {
    answers.push(act());
    await Promise.race([gone, quiet(20)]);
    endDeafness(socket);
  }
  await gone;
  return answers;
}

/**
 * Opens a cut `socket` again, at `url` if one is given, and says whether it was recovered. Like every client it comes again when it is told that
 * its session cannot be looked up now.
 */
export async function comeBack(socket, url) {
  const { io } = socket;
  const was = io.reconnection();
  if (url !== undefined) io.uri = url;
  io.reconnection(true);
  io.reconnectionDelay(AGAIN_MS);
  io.reconnectionDelayMax(2 * AGAIN_MS);
  try {
    await opened(socket);
  } finally {
    io.reconnection(was);
  }
  return socket.recovered;
}

/**
 * A test in which clients are recovered. A gateway that cannot say for too long whether something is still changing has its client begin anew, and
 * counts that: where one was kept waiting like this, the test is done again.
 */
export const recoverably = (body, gateways) => (t) => unlessCounted(t, 3, unsettled(gateways), () => body(t));

/** How often since the first time that it was asked a gateway of the cluster, or of `gateways`, had somebody begin anew because it could not wait. */
export const unsettled = (gateways) => growth('confab_gateway_resumes_total', { outcome: 'unsettled' }, gateways);

/**
 * Waits until `socket` is recovered when it comes back. After Redis lost its memory nobody is before something was announced, and for a
 * moment after that.
 */
export async function recoverable(socket) {
  await until(async () => {
    if (socket.connected) await cut(socket);
    return comeBack(socket).catch(() => false);
  }, 'sessions are recovered again');
}

/** Asserts that `socket` comes back as what it was. */
export async function recovers(socket, was, url, where = '') {
  assert.equal(await comeBack(socket, url), true, `recovered ${where}`);
  assert.equal(socket.id, was, `the same socket id ${where}`);
}

/** Asserts that `socket` comes back as somebody new. */
export async function beginsAnew(socket, was, url, where = '') {
  assert.notEqual(await comeBack(socket, url), true, `not recovered ${where}`);
  assert.notEqual(socket.id, was, `a fresh socket id ${where}`);
}

/** Waits until `check()` is true. */
export async function until(check, what, ms = PATIENCE_MS) {
  const deadline = Date.now() + ms;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms} ms`);
    await quiet(20);
  }
}

/**
 * Asserts that `socket`, joined since before the first message, heard exactly the messages that PostgreSQL has, each once
 * and in order. `lastId` must be the last one.
 */
export async function heardAll(socket, conversationId, lastId, where = '') {
  const seen = () =>
    heard(socket, 'newMessage', (event) => event.conversationId === conversationId).map(({ message }) => ({ id: message._id, seq: message.seq, content: message.content }));
  await until(() => seen().some(({ id }) => id === lastId), `the last message ${where}`);
  const stored = (await storedMessages(conversationId)).map(({ id, seq, content }) => ({ id, seq, content }));
  assert.deepEqual(seen(), stored, `nothing lost, nothing twice, all in order ${where}`);
}
