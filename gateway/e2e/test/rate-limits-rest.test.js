// How much may be asked of REST, per user and per address, and what its answers say of that.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test from 'node:test';
import { mortalGateway } from './support/gateways.js';
import { BEHIND_A_PROXY, DEFAULTS, LONG_BLOCK, LONG_BLOCK_MS, OPEN, address, bearer, budget, call, counted, from, ok200, ownAddress, tooMany } from './support/limits.js';
import { scrape } from './support/metrics.js';
import { newcomer, people, register } from './support/people.js';
import { failed } from './support/rest.js';
import { quiet } from './support/socket.js';
import { setTokens } from './support/truth.js';

/**
 * Asks with `get(0)`, `get(1)` and so on, a few at a time, which is faster than anything becomes free, until somebody is told that it is too
 * much: that answer, how many others there were, all with this status, and the seconds that it took.
 */
async function untilTooMany(get, status = 200) {
  const begun = Date.now();
  let passed = 0;
  for (let index = 0; index < 200; index += 5) {
    const answers = await Promise.all(Array.from({ length: 5 }, (_, more) => get(index + more)));
    const refused = answers.filter((answer) => answer.status !== status);
    passed += answers.length - refused.length;
    if (refused.length > 0) return { answer: refused[0], passed, seconds: (Date.now() - begun) / 1000 };
  }
  throw new Error('200 requests were let through');
}

test('rate limits of REST', { concurrency: 16, timeout: 480_000 }, async (t) => {
  const settings = { ...DEFAULTS, ...OPEN, ...LONG_BLOCK };
  const throttle = { THROTTLE_LIMIT: '20', THROTTLE_TTL: '60' };
  // The first of the strict ones believes what proxies say of addresses, the second does not.
  const gateways = await Promise.all([BEHIND_A_PROXY, BEHIND_A_PROXY, { ...BEHIND_A_PROXY, ...throttle }, throttle].map((more) => mortalGateway(t, { ...settings, ...more })));
  const [urls, strict] = [gateways.slice(0, 2), gateways.slice(2)].map((each) => each.map(({ url }) => url));
  const tests = [];
  const check = (name, body) => tests.push(t.test(name, { timeout: 400_000 }, counted(gateways, body)));

  check('100 requests a minute by default, and what is left is said', async () => {
    const { ann } = await people('ann')();
    const left = [];
    for (const base of urls) left.push(budget(ok200(await call(base, '/auth/me', { headers: bearer(ann) })), 100));
    assert.ok(left[0] === 99 && (left[1] === 98 || left[1] === 99), `${left}`);
  });

  check('per user on all gateways, THROTTLE_LIMIT in THROTTLE_TTL seconds', async () => {
    const { ann, ben } = await people('ann', 'ben')();
    const get = (user, index, path = '/auth/me') => call(strict[index % 2], path, { headers: bearer(user) });
    const begun = Date.now();
    for (let index = 0; index < 20; index += 1) {
      const answer = ok200(await get(ann, index, index % 3 === 0 ? '/conversations' : '/auth/me'));
      if (Date.now() - begun < 2_500) assert.equal(budget(answer, 20), 19 - index);
    }
    assert.ok(tooMany((await untilTooMany((index) => get(ann, index))).answer, 20) <= LONG_BLOCK_MS / 1_000);
    tooMany(await get(ann, 1), 20);
    tooMany(await call(strict[1], '/messages', { method: 'POST', headers: { ...bearer(ann), 'content-type': 'application/json' }, body: '{}' }), 20);
    assert.equal(budget(ok200(await get(ben, 0)), 20), 19, 'others are not concerned');
    for (let index = 0; index < 25; index += 1) assert.equal((await call(strict[0], '/health', { headers: from(address()) })).status, 200);
  });

  check('who is known to be blocked is not even looked up', async () => {
    const ann = await register('ann');
    const get = () => call(strict[0], '/auth/me', { headers: bearer(ann) });
    const block = async () => tooMany((await untilTooMany(get)).answer, 20);
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

  check('requests that are given up count, too, and are no failure of PostgreSQL’s', async () => {
    const { url, internal } = await mortalGateway(t, { ...DEFAULTS, ...OPEN, THROTTLE_LIMIT: '20', THROTTLE_TTL: '60' });
    const ann = await register('ann');
    const { hostname: host, port } = new URL(url);
    const giveUp = async () => {
      const socket = net.connect({ host, port });
      await once(socket, 'connect');
      socket.end(`GET /conversations HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${ann.token}\r\n\r\n`).destroySoon();
      await once(socket, 'close');
    };
    // Each counts as hers, or, if she was gone before it was known who she is, as of whoever says from there that he is her.
    const statuses = [];
    for (let index = 0; index < 10 && !statuses.includes(429); index += 1) {
      for (let more = 0; more < 10; more += 1) await giveUp();
      statuses.push((await call(url, '/auth/me', { headers: bearer(ann) })).status);
    }
    assert.ok(statuses.includes(429), `${statuses}`);
    const told = await scrape(internal);
    assert.equal(told.value('confab_gateway_postgres_errors_total', { operation: 'authenticate' }), 0);
  });

  check('without a token: per address, as a trusted proxy tells it', async () => {
    const [here, there] = [address(), address()];
    const get = (...addresses) => call(strict[0], '/api/rooms?limit=1', { headers: from(...addresses) });
    const until429 = async (ask) => {
      const { answer, passed, seconds } = await untilTooMany(ask);
      // One becomes free every three seconds.
      const free = Math.floor(seconds / 3);
      assert.ok(passed >= 20 && passed <= 20 + free, `${passed} were let through, when ${free} had become free`);
      return answer;
    };
    // What a client itself says stands before what the proxy adds.
    tooMany(await until429((index) => get(`203.0.113.${index + 1}`, here)), 20);
    ok200(await get(there));
    ok200(await get(here, there));
    tooMany(await get(there, here), 20);
    const { ann } = await people('ann')();
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
    const { answer, passed, seconds } = await untilTooMany(guess, 400);
    failed(answer, 429, 'RATE_LIMITED');
    // One becomes free every six seconds.
    assert.ok(passed >= 10 && passed <= 10 + Math.ceil(seconds / 6), `${passed} were let through`);
    failed(await send('POST', '/auth/login', { email: user.email, password: user.password }), 429, 'RATE_LIMITED');
    ok200(await send('GET', '/auth/me', undefined, bearer(user)));
    ok200(await call(urls[0], '/auth/login', {
      method: 'POST', headers: { 'content-type': 'application/json', ...from(address()) }, body: JSON.stringify({ email: user.email, password: user.password }),
    }));
  });

  await Promise.all(tests);
});
