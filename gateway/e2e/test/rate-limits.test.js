// How much one user may do in a minute, counted over all gateways: on gateways of the test's own, which have the limits that everybody
// has who sets nothing.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import test from 'node:test';
import { direct, group, join } from './support/chat.js';
import { client, guest } from './support/dialects.js';
import { plain } from './support/documented.js';
import { privateGateway } from './support/gateways.js';
import { newcomer, people, register, slug, unique } from './support/people.js';
import { as, failed, ok } from './support/rest.js';
import { keys } from './support/shapes.js';
import { connect, emitAck, heard, once, quiet, succeed } from './support/socket.js';
import { membershipCount, populate, setTokens, storedMessages } from './support/truth.js';

const BLOCK_MS = 10_000;
/** What has already passed of a block, at the most, when its first refusal arrives. */
const LATE_MS = 2_500;

/** What the caller has set for the cluster, and the suite for its own gateways, is not for these. */
const CLASSES = [
  'MESSAGES', 'ROOMS_MESSAGES', 'ROOM_OPERATIONS', 'ROOMS_ROOM_OPERATIONS', 'READS', 'QUESTIONS', 'REST_REQUESTS', 'LOGIN', 'LOGIN_ADDRESS', 'REGISTER', 'GUESTS',
];
const DEFAULTS = Object.fromEntries(
  [...Object.keys(process.env).filter((name) => name.startsWith('CONFAB_RATE_LIMITS__')), ...CLASSES.map((name) => `CONFAB_RATE_LIMITS__${name}`), 'THROTTLE_LIMIT', 'THROTTLE_TTL'].map((name) => [
    name,
    undefined,
  ]),
);
const OPEN = { CONFAB_AUTH__GUESTS: 'true', CONFAB_ROOMS__AUTO_CREATE: 'true' };
/** Few enough to be used up by a test. */
const FEW = { CONFAB_RATE_LIMITS__ROOM_OPERATIONS: '10/1m', CONFAB_RATE_LIMITS__READS: '20/1m', CONFAB_RATE_LIMITS__QUESTIONS: '10/1m', CONFAB_RATE_LIMITS__GUESTS: '10/1m' };
const BEHIND_A_PROXY = { CONFAB_HTTP__TRUSTED_PROXIES: '127.0.0.0/8' };

/** An address that nobody else has, as a proxy tells it, or of this very machine. */
const address = () => `198.18.${randomInt(256)}.${randomInt(1, 255)}`;
const ownAddress = () => `127.${randomInt(1, 255)}.${randomInt(256)}.${randomInt(1, 255)}`;
const from = (...addresses) => ({ 'x-forwarded-for': addresses.join(', ') });

/** Asserts that `answer`, an acknowledgement, says RATE_LIMITED; for how long. */
function limited(answer, where = '') {
  keys(answer, ['success', 'error'], [], where);
  keys(answer.error, ['code', 'message', 'retryAfterMs'], [], where);
  assert.deepEqual([answer.success, answer.error.code], [false, 'RATE_LIMITED'], where);
  const { retryAfterMs } = answer.error;
  assert.ok(Number.isSafeInteger(retryAfterMs) && retryAfterMs > 0, `retryAfterMs ${retryAfterMs} ${where}`);
  return retryAfterMs;
}

/** Emits an event that is refused, and asserts that the dialect's own error event says so as well; for how long. */
async function refusedFor(socket, errorEvent, fields, event, payload) {
  const retryAfterMs = limited(await emitAck(socket, event, payload), event);
  const told = await once(socket, errorEvent, (error) => error.code === 'RATE_LIMITED' && error.retryAfterMs === retryAfterMs);
  keys(told, [...fields, 'retryAfterMs'], ['event'], `${errorEvent} of ${event}`);
  return retryAfterMs;
}

/** All of `calls` at once: how many succeeded, the refusals' times, and the seconds that it took. */
async function flood(calls) {
  const begun = Date.now();
  const answers = await Promise.all(calls.map((call) => call()));
  const seconds = (Date.now() - begun) / 1000;
  const refusals = answers.filter(({ success }) => success !== true).map((answer) => limited(answer));
  return { passed: answers.length - refusals.length, refusals, seconds };
}

/** `count` calls of each socket, in turn. */
const each = (sockets, count, call) => Array.from({ length: count }, (_, round) => sockets.map((socket) => () => call(socket, round))).flat();

/** A block that has just begun. */
function isBlock(retryAfterMs, blockMs) {
  assert.ok(retryAfterMs <= blockMs && retryAfterMs > blockMs - LATE_MS, `blocked for ${retryAfterMs} ms, not ${blockMs}`);
}

/** Asserts that `answer` is REST's 429 with its headers; the seconds after which to come again. */
function tooMany(answer, limit) {
  const body = failed(answer, 429, 'RATE_LIMITED');
  assert.ok(body.message.length > 0);
  const retryAfter = Number(answer.headers.get('retry-after'));
  assert.ok(Number.isInteger(retryAfter) && retryAfter >= 1, `Retry-After: ${answer.headers.get('retry-after')}`);
  assert.deepEqual(budget(answer, limit), 0);
  return retryAfter;
}

/** The RateLimit-* headers of an answer, checked: how many requests remain. */
function budget(answer, limit) {
  const [most, remaining, reset] = ['limit', 'remaining', 'reset'].map((name) => Number(answer.headers.get(`ratelimit-${name}`) ?? NaN));
  assert.ok([most, remaining, reset].every((figure) => Number.isInteger(figure) && figure >= 0), `${answer.request}: RateLimit-* are ${most}, ${remaining}, ${reset}`);
  assert.equal(most, limit, 'RateLimit-Limit');
  return remaining;
}

test('rate limits', { concurrency: 16, timeout: 120_000 }, async (t) => {
  const limit = { timeout: 100_000 };
  const [urls, few, strict] = await Promise.all([
    Promise.all([0, 1].map(() => privateGateway(t, { ...DEFAULTS, ...OPEN, ...BEHIND_A_PROXY }))),
    privateGateway(t, { ...DEFAULTS, ...OPEN, ...BEHIND_A_PROXY, ...FEW }),
    // The first believes what proxies say of addresses, the second does not.
    Promise.all([BEHIND_A_PROXY, {}].map((settings) => privateGateway(t, { ...DEFAULTS, ...OPEN, ...settings, THROTTLE_LIMIT: '20', THROTTLE_TTL: '60' }))),
  ]);
  const tests = [];
  const check = (name, body) => tests.push(t.test(name, limit, body));
  const cast = (...names) => people(...names)();
  /** Four sockets of `user` on two gateways. */
  const four = (t, dialect, user) => Promise.all([0, 1, 0, 1].map((index) => client(t, dialect, user, { url: urls[index] })));
  const call = (base, path, options) => plain(`${base}${path}`, options);
  const bearer = (user) => ({ authorization: `Bearer ${user.token}` });

  check('30 messages a minute in rooms, exactly, from four sockets on two gateways; a violation blocks for 10 s, the next one for 20', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const roomId = slug();
    const [sockets, b] = await Promise.all([four(t, 'rooms', ann), client(t, 'rooms', ben, { url: urls[1] })]);
    for (const socket of [...sockets, b]) await succeed(socket, 'chat.addUser', { roomId });
    const send = (socket) => emitAck(socket, 'chat.sendMessage', { roomId, content: unique() });

    const { passed, refusals, seconds } = await flood(each(sockets, 12, send));
    const began = Date.now();
    // One becomes free every two seconds.
    assert.ok(passed >= 30 && passed <= 30 + Math.floor(seconds / 2), `${passed} in ${seconds} s`);
    const room = ok(await as(ben, 'GET', `/api/rooms/${roomId}`), 200);
    assert.equal((await storedMessages(room.id)).length, passed, 'what was refused is not stored');
    isBlock(Math.max(...refusals), BLOCK_MS);
    const errors = sockets.flatMap((socket) => heard(socket, 'error', ({ code }) => code === 'RATE_LIMITED'));
    assert.equal(errors.length, refusals.length, 'each refusal is an error event as well');
    for (const error of errors) {
      keys(error, ['code', 'message', 'event', 'retryAfterMs'], [], '(error)');
      assert.equal(error.event, 'chat.sendMessage');
    }

    await succeed(b, 'chat.sendMessage', { roomId, content: 'others are not concerned' });
    const elsewhere = await connect(t, ann, { url: urls[1] });
    const conversationId = await direct(ann, ben);
    await succeed(elsewhere, 'sendMessage', { conversationId, content: 'nor is her budget in other dialects' });
    // To ask during the block makes it no longer.
    await quiet(3_000);
    const left = limited(await send(sockets[1]));
    assert.ok(left < BLOCK_MS - 2_000, `${left} ms are left`);
    await quiet(Math.max(...refusals) - (Date.now() - began) + 250);
    await succeed(sockets[0], 'chat.sendMessage', { roomId, content: 'the block is over' });
    const second = await flood(each(sockets, 4, send));
    assert.ok(second.passed <= 6, `what became free in ten seconds: ${second.passed}`);
    isBlock(Math.max(...second.refusals), 2 * BLOCK_MS);
  });

  check('120 messages a minute elsewhere, over all dialects, and each refuses in its own words', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const conversationId = await direct(ann, ben);
    const sockets = await four(t, 'conversations', ann);
    const { passed, refusals, seconds } = await flood(each(sockets, 40, (socket) => emitAck(socket, 'sendMessage', { conversationId, content: unique() })));
    assert.ok(passed >= 120 && passed <= 120 + Math.ceil(2 * seconds), `${passed} in ${seconds} s`);
    assert.equal((await storedMessages(conversationId)).length, passed, 'what was refused is not stored');
    isBlock(Math.max(...refusals), BLOCK_MS);
    const content = unique();
    await refusedFor(sockets[0], 'error', ['code', 'message', 'event'], 'sendMessage', { conversationId, content });
    const late = await client(t, 'direct', ann, { url: urls[1] });
    await refusedFor(late, 'error', ['code', 'message'], 'send_message', { receiverId: ben.id, content });
    const named = await client(t, 'namespaced', ann, { url: urls[0] });
    await refusedFor(named, 'system:error', ['code', 'message'], 'chat:message', { content });
    // Without an acknowledgement the error event says it all.
    sockets[3].emit('sendMessage', { conversationId, content });
    await once(sockets[3], 'error', ({ code, retryAfterMs }) => code === 'RATE_LIMITED' && retryAfterMs > 0);
    // What is no message still works.
    await join(conversationId, sockets[1]);
    await succeed(sockets[1], 'markConversationAsRead', { conversationId });
    const b = await client(t, 'conversations', ben, { url: urls[0] });
    await join(conversationId, b);
    await succeed(sockets[1], 'typing', { conversationId });
    await once(b, 'userTyping');
    // A message that is refused leaves her typing, until she says that she does not.
    await refusedFor(sockets[1], 'error', ['code', 'message', 'event'], 'sendMessage', { conversationId, content });
    await succeed(sockets[1], 'stopTyping', { conversationId });
    await once(b, 'userStoppedTyping', () => true, 2_500);
    await succeed(await client(t, 'direct', ben, { url: urls[0] }), 'send_message', { receiverId: ann.id, content });
  });

  check('5 room operations a minute in rooms and under /api/rooms, apart from messages and from other dialects', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const [one, other] = await Promise.all([0, 1].map((index) => client(t, 'rooms', ann, { url: urls[index] })));
    const roomId = slug();
    await succeed(one, 'chat.addUser', { roomId });
    await succeed(other, 'chat.addUser', { roomId });
    await succeed(one, 'chat.addUser', { roomId: slug() });
    await succeed(other, 'chat.removeUser', { roomId });
    await succeed(other, 'chat.addUser', { roomId: slug() });
    isBlock(await refusedFor(one, 'error', ['code', 'message', 'event'], 'chat.addUser', { roomId: slug() }), BLOCK_MS);
    await refusedFor(other, 'error', ['code', 'message', 'event'], 'chat.removeUser', { roomId });
    const create = (user, index) =>
      call(urls[index], '/api/rooms', { method: 'POST', headers: { ...bearer(user), 'content-type': 'application/json' }, body: JSON.stringify({ name: unique('room') }) });
    const answer = await create(ann, 1);
    failed(answer, 429, 'RATE_LIMITED');
    assert.ok(Number(answer.headers.get('retry-after')) >= 1);
    await succeed(one, 'chat.sendMessage', { roomId, content: 'messages are counted apart' });
    const elsewhere = await connect(t, ann, { url: urls[0] });
    await succeed(elsewhere, 'createConversation', { participantIds: [ben.id], type: 'direct' });

    for (let index = 0; index < 5; index += 1) ok(await create(ben, index % 2), 201);
    failed(await create(ben, 1), 429, 'RATE_LIMITED');
  });

  check('60 room operations a minute elsewhere', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const conversationId = await group(ann, [ben]);
    const sockets = await four(t, 'conversations', ben);
    const { passed, refusals, seconds } = await flood(
      each(sockets, 20, (socket, round) => emitAck(socket, round % 2 === 0 ? 'joinRoom' : 'leaveRoom', { conversationId })),
    );
    assert.ok(passed >= 60 && passed <= 60 + Math.ceil(seconds), `${passed} in ${seconds} s`);
    isBlock(Math.max(...refusals), BLOCK_MS);
    await succeed(sockets[0], 'sendMessage', { conversationId, content: 'messages are counted apart' });
    await succeed(await connect(t, ann, { url: urls[0] }), 'joinRoom', { conversationId });
  });

  check('a first message to somebody makes a conversation, and counts as that as well', async (t) => {
    const [ann, ben] = await Promise.all(['ann', 'ben'].map((name) => register(name)));
    const strangers = await populate(Array.from({ length: 16 }, () => slug('stranger').replaceAll('-', '_')));
    const write = (socket) => strangers.map(({ id }) => () => emitAck(socket, 'send_message', { receiverId: id, content: unique() }));
    const socket = await client(t, 'direct', ann, { url: few });
    const { passed, refusals, seconds } = await flood(write(socket));
    assert.ok(passed >= 10 && passed <= 10 + Math.ceil(seconds / 6), `${passed} of one socket in ${seconds} s`);
    isBlock(Math.max(...refusals), BLOCK_MS);
    assert.equal(await membershipCount(ann.id), passed, 'what was refused makes nothing');
    await succeed(socket, 'send_message', { receiverId: strangers[0].id, content: 'they know each other by now' });
    // Over REST the same is used up.
    const body = JSON.stringify({ participantIds: [ben.id] });
    failed(await call(few, '/conversations', { method: 'POST', headers: { ...bearer(ann), 'content-type': 'application/json' }, body }), 429, 'RATE_LIMITED');

    // Who may say nothing makes nothing.
    const sockets = await Promise.all([0, 1].map((index) => client(t, 'direct', ben, { url: urls[index] })));
    await flood(each(sockets, 70, (one) => emitAck(one, 'send_message', { receiverId: ann.id, content: unique() })));
    assert.equal((await flood(write(sockets[0]))).passed, 0);
    assert.equal(await membershipCount(ben.id), 1);
  });

  check('each conversation that is made counts once', async (t) => {
    const ann = await register('ann');
    const others = await populate(Array.from({ length: 9 }, () => slug('other').replaceAll('-', '_')));
    const [d, c, n] = await Promise.all(['direct', 'conversations', 'namespaced'].map((dialect) => client(t, dialect, ann, { url: few })));
    const post = (participantIds) =>
      call(few, '/conversations', { method: 'POST', headers: { ...bearer(ann), 'content-type': 'application/json' }, body: JSON.stringify({ participantIds }) });
    const begun = Date.now();
    for (const { id } of others.slice(0, 4)) await succeed(d, 'send_message', { receiverId: id, content: unique() });
    for (const { id } of others.slice(4, 6)) await succeed(c, 'createConversation', { participantIds: [id] });
    await succeed(n, 'chat:room:create', { name: unique(), participants: [others[6].id] });
    await succeed(n, 'chat:room:create', { name: unique() });
    for (const { id } of others.slice(7)) ok(await post([id]), 201);
    // One becomes free every six seconds.
    let more = 0;
    while ((await emitAck(c, 'createConversation', { participantIds: [others[4].id] })).success) more += 1;
    assert.ok(more <= Math.ceil((Date.now() - begun) / 6_000), `${more} after ten`);
  });

  check('what is read: many, but not without end', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const conversationId = await group(ann, [ben]);
    const socket = await client(t, 'conversations', ben, { url: few });
    const last = (await succeed(await client(t, 'conversations', ann, { url: few }), 'sendMessage', { conversationId, content: unique() })).messageId;
    const { passed, refusals, seconds } = await flood([
      ...each([socket], 15, () => emitAck(socket, 'markAsRead', { conversationId, messageId: last })),
      ...each([socket], 15, () => emitAck(socket, 'markConversationAsRead', { conversationId })),
    ]);
    assert.ok(passed >= 20 && passed <= 20 + Math.ceil(seconds / 3), `${passed} in ${seconds} s`);
    isBlock(Math.max(...refusals), BLOCK_MS);
    await refusedFor(socket, 'error', ['code', 'message', 'event'], 'markAsRead', { conversationId, messageId: last });
    // Several hundred at once are nothing by default.
    const other = await client(t, 'conversations', ann, { url: urls[0] });
    assert.equal((await flood(each([other], 250, () => emitAck(other, 'markConversationAsRead', { conversationId })))).passed, 250);
  });

  check('questions of all dialects are counted together', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const [c, d, n] = await Promise.all(['conversations', 'direct', 'namespaced'].map((dialect) => client(t, dialect, ann, { url: few })));
    const { passed, refusals, seconds } = await flood([
      ...each([c], 5, () => emitAck(c, 'getOnlineUsers')),
      ...each([d], 5, () => emitAck(d, 'get_messages', { otherUserId: ben.id })),
      ...each([n], 5, (_, round) => emitAck(n, 'status:update', { isOnline: round % 2 === 0 })),
    ]);
    assert.ok(passed >= 10 && passed <= 10 + Math.ceil(seconds / 6), `${passed} in ${seconds} s`);
    isBlock(Math.max(...refusals), BLOCK_MS);
    await refusedFor(d, 'error', ['code', 'message'], 'get_messages', { otherUserId: ben.id });
    await refusedFor(n, 'system:error', ['code', 'message'], 'status:update', { isOnline: true });
    c.emit('getOnlineUsers');
    await once(c, 'error', ({ code, event, retryAfterMs }) => code === 'RATE_LIMITED' && event === 'getOnlineUsers' && retryAfterMs > 0);
    await succeed(d, 'send_message', { receiverId: ben.id, content: 'messages are counted apart' });
    await succeed(await client(t, 'conversations', ben, { url: few }), 'getOnlineUsers');
  });

  check('whatever guests call themselves, one address has so many of them', async (t) => {
    const [here, roomId] = [address(), slug()];
    const come = async (where, named = true) => {
      const socket = await guest(t, 'rooms', { url: few, extraHeaders: from(where) });
      return () => emitAck(socket, 'chat.addUser', { roomId, ...(named ? { username: slug('guest').replaceAll('-', '_') } : {}) });
    };
    await (await come(address()))();
    const calls = await Promise.all(Array.from({ length: 14 }, () => come(here)));
    const { passed, refusals, seconds } = await flood(calls);
    assert.ok(passed >= 10 && passed <= 10 + Math.ceil(seconds / 6), `${passed} in ${seconds} s`);
    isBlock(Math.max(...refusals), BLOCK_MS);
    limited(await (await come(here, false))(), 'without a name');
    assert.equal((await (await come(address()))()).success, true, 'another address');
  });

  check('a guest is an address and a name', async (t) => {
    const [here, name, roomId] = [address(), slug('guest').replaceAll('-', '_'), slug()];
    const enter = async (username, url, where = here) => {
      const socket = await guest(t, 'rooms', { url, extraHeaders: from(where) });
      await succeed(socket, 'chat.addUser', { roomId, username });
      return socket;
    };
    const send = (socket) => emitAck(socket, 'chat.sendMessage', { roomId, content: unique() });
    const socket = await enter(name, urls[0]);
    const { passed, seconds } = await flood(each([socket], 40, send));
    assert.ok(passed >= 30 && passed <= 30 + Math.floor(seconds / 2), `${passed} in ${seconds} s`);
    socket.disconnect();
    limited(await send(await enter(name, urls[1])), 'with another socket, on another gateway');
    assert.equal((await send(await enter(`${name}_2`, urls[0]))).success, true, 'another name');
  });

  check('REST: 100 requests a minute by default, and what is left is said', async () => {
    const { ann } = await cast('ann');
    const left = [];
    for (const base of urls) left.push(budget(ok200(await call(base, '/auth/me', { headers: bearer(ann) })), 100));
    assert.ok(left[0] === 99 && (left[1] === 98 || left[1] === 99), `${left}`);
  });

  check('REST: per user on all gateways, THROTTLE_LIMIT in THROTTLE_TTL seconds', async () => {
    const { ann, ben } = await cast('ann', 'ben');
    const get = (user, index, path = '/auth/me') => call(strict[index % 2], path, { headers: bearer(user) });
    const begun = Date.now();
    for (let index = 0; index < 20; index += 1) {
      const answer = ok200(await get(ann, index, index % 3 === 0 ? '/conversations' : '/auth/me'));
      if (Date.now() - begun < 2_500) assert.equal(budget(answer, 20), 19 - index);
    }
    let answer = await get(ann, 0);
    // One becomes free every three seconds.
    for (let index = 0; index < 10 && answer.status === 200; index += 1) answer = await get(ann, index);
    assert.ok(tooMany(answer, 20) <= 60);
    tooMany(await get(ann, 1), 20);
    tooMany(await call(strict[1], '/messages', { method: 'POST', headers: { ...bearer(ann), 'content-type': 'application/json' }, body: '{}' }), 20);
    assert.equal(budget(ok200(await get(ben, 0)), 20), 19, 'others are not concerned');
    for (let index = 0; index < 25; index += 1) assert.equal((await call(strict[0], '/health', { headers: from(address()) })).status, 200);
  });

  check('REST: who is known to be blocked is not even looked up', async () => {
    const ann = await register('ann');
    const get = () => call(strict[0], '/auth/me', { headers: bearer(ann) });
    const block = async () => {
      let answer = await get();
      for (let index = 0; index < 40 && answer.status === 200; index += 1) answer = await get();
      tooMany(answer, 20);
    };
    // A refusal is believed for a second. Then it is asked again, and it would be seen that her token has ended.
    const seen = [];
    for (let attempt = 0; attempt < 5 && !seen.includes(429); attempt += 1) {
      await block();
      await setTokens(ann.id, { end: true });
      seen.push((await get()).status);
      await setTokens(ann.id, { end: false });
    }
    assert.ok(seen.includes(429), `${seen}`);
    await quiet(1_100);
    await setTokens(ann.id, { end: true });
    assert.equal((await get()).status, 401);
  });

  check('REST without a token: per address, as a trusted proxy tells it', async () => {
    const [here, there] = [address(), address()];
    const get = (...addresses) => call(strict[0], '/api/rooms?limit=1', { headers: from(...addresses) });
    const until429 = async (attempt) => {
      const begun = Date.now();
      for (let index = 0; index < 30; index += 1) {
        const answer = await attempt(index);
        if (answer.status === 200) continue;
        // One becomes free every three seconds.
        const free = Math.floor((Date.now() - begun) / 3_000);
        assert.ok(index >= 20 && index <= 22 + free, `${index} were let through, when ${free} had become free`);
        return answer;
      }
      throw new Error('30 requests were let through');
    };
    // What a client itself says stands before what the proxy adds.
    tooMany(await until429((index) => get(`203.0.113.${index}`, here)), 20);
    ok200(await get(there));
    ok200(await get(here, there));
    tooMany(await get(there, here), 20);
    const { ann } = await cast('ann');
    ok200(await call(strict[0], '/auth/me', { headers: { ...bearer(ann), ...from(here) } }));

    // Where no proxy is trusted the connection's own address counts, whatever is claimed.
    const localAddress = ownAddress();
    await until429(() => call(strict[1], '/api/rooms?limit=1', { headers: from(address()), localAddress }));
    ok200(await call(strict[1], '/api/rooms?limit=1', { localAddress: ownAddress() }));
  });

  check('login and register are stricter', async () => {
    const post = (base, path, where, body) =>
      call(base, path, { method: 'POST', headers: { 'content-type': 'application/json', ...from(where) }, body: JSON.stringify(body) });
    const user = await register('ann');
    for (const [path, status, body, other] of [
      ['/auth/login', 401, () => ({ email: user.email, password: 'not the password' }), () => ({ email: user.email, password: user.password })],
      ['/auth/register', 201, () => newcomer(), () => newcomer()],
    ]) {
      const here = address();
      let answer;
      let passed = -1;
      do {
        answer = await post(urls[passed % 2 === 0 ? 1 : 0], path, here, body());
        passed += 1;
      } while (answer.status === status && passed < 50);
      failed(answer, 429, 'RATE_LIMITED');
      assert.ok(passed >= 3 && passed < 50, `${passed} of ${path} were let through`);
      assert.ok(Number(answer.headers.get('retry-after')) >= 1);
      failed(await post(urls[1], path, here, other()), 429, 'RATE_LIMITED');
      const elsewhere = await post(urls[0], '/auth/register', address(), newcomer());
      assert.equal(elsewhere.status, 201, `another address: ${elsewhere.text}`);
    }
  });

  check('passwords are guessed no faster by who has a token', async () => {
    const user = await register('ann');
    const where = address();
    const send = (method, path, body, headers = {}) =>
      call(urls[0], path, { method, headers: { 'content-type': 'application/json', ...from(where), ...headers }, body: JSON.stringify(body) });
    const guess = () => send('PUT', '/auth/change-password', { currentPassword: 'not the password', newPassword: 'another password' }, bearer(user));
    const begun = Date.now();
    let answer;
    let passed = -1;
    do {
      answer = await guess();
      passed += 1;
    } while (answer.status === 400 && passed < 50);
    failed(answer, 429, 'RATE_LIMITED');
    // One becomes free every six seconds.
    assert.ok(passed >= 10 && passed <= 10 + Math.ceil((Date.now() - begun) / 6_000), `${passed} were let through`);
    failed(await send('POST', '/auth/login', { email: user.email, password: user.password }), 429, 'RATE_LIMITED');
    ok200(await send('GET', '/auth/me', undefined, bearer(user)));
    ok200(await call(urls[0], '/auth/login', {
      method: 'POST', headers: { 'content-type': 'application/json', ...from(address()) }, body: JSON.stringify({ email: user.email, password: user.password }),
    }));
  });

  check('off is off', async (t) => {
    const url = await privateGateway(t, { ...DEFAULTS, ...OPEN, CONFAB_RATE_LIMITS__ENABLED: 'false' });
    const { ann, ben } = await cast('ann', 'ben');
    const conversationId = await direct(ann, ben);
    const [a, r] = await Promise.all([client(t, 'conversations', ann, { url }), client(t, 'rooms', ann, { url })]);
    for (let index = 0; index < 130; index += 1) await succeed(a, 'getOnlineUsers');
    for (let index = 0; index < 8; index += 1) await succeed(r, 'chat.addUser', { roomId: slug() });
    const roomId = slug();
    await succeed(r, 'chat.addUser', { roomId });
    const { passed } = await flood([
      ...each([a], 150, (socket) => emitAck(socket, 'sendMessage', { conversationId, content: unique() })),
      ...each([r], 40, (socket) => emitAck(socket, 'chat.sendMessage', { roomId, content: unique() })),
    ]);
    assert.equal(passed, 190);
    for (let index = 0; index < 110; index += 1) ok200(await call(url, '/auth/me', { headers: bearer(ann) }));
  });

  check('a setting that makes no sense fails at start, and is named', async (t) => {
    for (const value of ['many', '0/minute', '-1']) {
      await assert.rejects(privateGateway(t, { ...DEFAULTS, CONFAB_RATE_LIMITS__MESSAGES: value }), /rate_limits\.messages/, value);
    }
  });

  await Promise.all(tests);
});

/** Asserts a 200 and hands the answer back, for its headers. */
function ok200(answer) {
  ok(answer, 200);
  return answer;
}
