// What the suites of rate limits have in common: settings for gateways of their own, and how a refusal looks.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { plain } from './documented.js';
import { growth } from './metrics.js';
import { unlessCounted } from './patience.js';
import { failed, ok } from './rest.js';
import { keys } from './shapes.js';
import { emitAck, once } from './socket.js';

/** The block that everybody has who sets nothing, and one that whatever belongs into it fits into on any machine. */
export const BLOCK_MS = 10_000;
export const LONG_BLOCK_MS = 90_000;
export const LONG_BLOCK = { CONFAB_RATE_LIMITS__BLOCK_SECONDS: String(LONG_BLOCK_MS / 1_000) };
/** What has already passed of a block, at the most, when its first refusal arrives. */
const LATE_MS = 2_500;

/** What the caller has set for the cluster, and the suite for its own gateways, is not for these. */
const CLASSES = [
  'MESSAGES', 'ROOMS_MESSAGES', 'ROOM_OPERATIONS', 'ROOMS_ROOM_OPERATIONS', 'READS', 'QUESTIONS', 'REST_REQUESTS', 'LOGIN', 'LOGIN_ADDRESS', 'REGISTER', 'GUESTS',
];
export const DEFAULTS = Object.fromEntries(
  [...Object.keys(process.env).filter((name) => name.startsWith('CONFAB_RATE_LIMITS__')), ...CLASSES.map((name) => `CONFAB_RATE_LIMITS__${name}`), 'THROTTLE_LIMIT', 'THROTTLE_TTL'].map((name) => [
    name,
    undefined,
  ]),
);
export const OPEN = { CONFAB_AUTH__GUESTS: 'true', CONFAB_ROOMS__AUTO_CREATE: 'true' };
/** Few enough to be used up by a test. */
export const FEW = { CONFAB_RATE_LIMITS__ROOM_OPERATIONS: '10/1m', CONFAB_RATE_LIMITS__READS: '20/1m', CONFAB_RATE_LIMITS__QUESTIONS: '10/1m', CONFAB_RATE_LIMITS__GUESTS: '10/1m' };
export const BEHIND_A_PROXY = { CONFAB_HTTP__TRUSTED_PROXIES: '127.0.0.0/8' };

/** An address that nobody else has, as a proxy tells it, or of this very machine. */
export const address = () => `198.18.${randomInt(256)}.${randomInt(1, 255)}`;
export const ownAddress = () => `127.${randomInt(1, 255)}.${randomInt(256)}.${randomInt(1, 255)}`;
export const from = (...addresses) => ({ 'x-forwarded-for': addresses.join(', ') });

/** Asserts that `answer`, an acknowledgement, says RATE_LIMITED; for how long. */
export function limited(answer, where = '') {
  keys(answer, ['success', 'error'], [], where);
  keys(answer.error, ['code', 'message', 'retryAfterMs'], [], where);
  assert.deepEqual([answer.success, answer.error.code], [false, 'RATE_LIMITED'], where);
  const { retryAfterMs } = answer.error;
  assert.ok(Number.isSafeInteger(retryAfterMs) && retryAfterMs > 0, `retryAfterMs ${retryAfterMs} ${where}`);
  return retryAfterMs;
}

/** Emits an event that is refused, and asserts that the dialect's own error event says so as well; for how long. */
export async function refusedFor(socket, errorEvent, fields, event, payload) {
  const retryAfterMs = limited(await emitAck(socket, event, payload), event);
  const told = await once(socket, errorEvent, (error) => error.code === 'RATE_LIMITED' && error.retryAfterMs === retryAfterMs);
  keys(told, [...fields, 'retryAfterMs'], ['event'], `${errorEvent} of ${event}`);
  return retryAfterMs;
}

/** How many calls a flood has at the most, where what becomes free meanwhile is enough for many. */
const MOST_CALLS = 500;

/** All of `calls` at once, again and again until one is refused: how many succeeded, the refusals' times, and the seconds that it took. */
export async function flood(calls) {
  const begun = Date.now();
  const answers = [];
  do answers.push(...(await Promise.all(calls.map((call) => call()))));
  while (answers.length < MOST_CALLS && answers.every(({ success }) => success === true));
  const seconds = (Date.now() - begun) / 1000;
  const refusals = answers.filter(({ success }) => success !== true).map((answer) => limited(answer));
  return { passed: answers.length - refusals.length, refusals, seconds };
}

/** `call(0)`, `call(1)` and so on until one is refused: how many succeeded, that refusal, and the seconds that it took. */
export async function untilRefused(call) {
  const begun = Date.now();
  for (let passed = 0; passed < MOST_CALLS; passed += 1) {
    const answer = await call(passed);
    if (answer.success !== true) return { passed, answer, seconds: (Date.now() - begun) / 1000 };
  }
  throw new Error(`${MOST_CALLS} were let through`);
}

/**
 * A test of what these gateways let through. Rather than keep anybody waiting they let everything through when Redis, or their own process,
 * says nothing for a second: where the machine made them do so, the test is done again with other people.
 */
export const counted = (gateways, body) => async (t) => {
  const failedOpen = growth('confab_gateway_rate_limit_decisions_total', { outcome: 'failed_open' }, () => gateways);
  await unlessCounted(t, 6, failedOpen, () => body(t));
};

/** `count` calls of each socket, in turn. */
export const each = (sockets, count, call) => Array.from({ length: count }, (_, round) => sockets.map((socket) => () => call(socket, round))).flat();

/** A block that has just begun. */
export function isBlock(retryAfterMs, blockMs) {
  assert.ok(retryAfterMs <= blockMs && retryAfterMs > blockMs - LATE_MS, `blocked for ${retryAfterMs} ms, not ${blockMs}`);
}

/** Asserts that `answer` is REST's 429 with its headers; the seconds after which to come again. */
export function tooMany(answer, limit) {
  const body = failed(answer, 429, 'RATE_LIMITED');
  assert.ok(body.message.length > 0);
  const retryAfter = Number(answer.headers.get('retry-after'));
  assert.ok(Number.isInteger(retryAfter) && retryAfter >= 1, `Retry-After: ${answer.headers.get('retry-after')}`);
  assert.deepEqual(budget(answer, limit), 0);
  return retryAfter;
}

/** The RateLimit-* headers of an answer, checked: how many requests remain. */
export function budget(answer, limit) {
  const [most, remaining, reset] = ['limit', 'remaining', 'reset'].map((name) => Number(answer.headers.get(`ratelimit-${name}`) ?? NaN));
  assert.ok([most, remaining, reset].every((figure) => Number.isInteger(figure) && figure >= 0), `${answer.request}: RateLimit-* are ${most}, ${remaining}, ${reset}`);
  assert.equal(most, limit, 'RateLimit-Limit');
  return remaining;
}

/** Asserts a 200 and hands the answer back, for its headers. */
export function ok200(answer) {
  ok(answer, 200);
  return answer;
}

/** A request with whatever headers, from whatever address of this machine. */
export const call = (base, path, options) => plain(`${base}${path}`, options);
export const bearer = (user) => ({ authorization: `Bearer ${user.token}` });
