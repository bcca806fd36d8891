// Who a STOMP client is: its token, wherever it stands, for as long as it holds; guests; and gateways that let none in.

import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from './support/away.js';
import { jwtSecret, state } from './support/cluster.js';
import { issue, resign, seconds } from './support/jwt.js';
import { lateness, STALLS_MS } from './support/patience.js';
import { login, nobody, people, register, slug } from './support/people.js';
import { as, ok } from './support/rest.js';
import { quiet } from './support/socket.js';
import { about, dial, session, WAYS } from './support/stomp.js';
import { barrier } from './support/stomp-bodies.js';

const limit = { timeout: 240_000 };
const cast = people('ann', 'ben');
const WITHIN_MS = 5_000;

/** Asserts that a client is not let in: an ERROR, and the end. */
async function refused(t, options) {
  const one = dial(t, options);
  await assert.rejects(one.open());
  const { headers } = await one.failed();
  assert.ok(headers.message, 'an ERROR says why');
  assert.equal(one.connects, 0);
}

test('a token may stand in any of the places that clients put it', { concurrency: true, ...limit }, async (t) => {
  const { ann } = await cast();
  const places = {
    'Authorization: Bearer': { headers: { Authorization: `Bearer ${ann.token}` } },
    'authorization: bearer': { headers: { authorization: `bearer ${ann.token}` } },
    token: { headers: { token: ann.token } },
    passcode: { headers: { login: ann.username, passcode: ann.token } },
    'the upgrade request': { upgrade: { Authorization: `Bearer ${ann.token}` } },
  };
  await Promise.all(Object.entries(places).flatMap(([title, options]) => ['native', 'xhr-polling'].filter((way) => way === 'native' || !options.upgrade).map((way) =>
    t.test(`${title}, over ${way}`, limit, async (t) => {
      const a = await dial(t, { way, ...options }).open();
      assert.equal(a.welcome['user-name'], ann.username);
      const roomId = slug();
      const inbox = await a.listen(`/topic/${roomId}`);
      await a.send('/app/chat.addUser', { roomId });
      await inbox.next(about('JOIN', ann.username));
    }))));
});

test('a token that is none, or no longer one, lets nobody in', { concurrency: true, ...limit }, async (t) => {
  const { ann } = await cast();
  const secret = jwtSecret();
  const gone = await register('gone');
  ok(await as(gone, 'POST', '/auth/logout'), 204);
  const bad = {
    garbage: 'your-jwt-token',
    'of another secret': issue(ann.id, 'another secret, which is as long as the right one is'),
    'without a signature': resign(ann.token, { algorithm: 'none', secret }),
    expired: resign(ann.token, { claims: { exp: seconds(-3_600) }, secret }),
    'of nobody': issue(nobody(), secret),
    revoked: gone.token,
  };
  await Promise.all(Object.entries(bad).flatMap(([title, token], index) => [
    t.test(`${title}, in Authorization`, limit, (t) => refused(t, { token, way: WAYS[index % WAYS.length] })),
    t.test(`${title}, as the passcode`, limit, (t) => refused(t, { headers: { login: 'ann', passcode: token }, way: WAYS[(index + 1) % WAYS.length] })),
    t.test(`${title}, in the upgrade request`, limit, (t) => refused(t, { upgrade: { Authorization: `Bearer ${token}` } })),
  ]));
});

test('a token that ends ends its sessions, on every gateway and over each transport, and no other', limit, async (t) => {
  const phone = await register('owner');
  const laptop = await login(phone, { gateway: 1 });
  const everywhere = (user) => Promise.all(state.gateways.flatMap((_, gateway) => WAYS.map((way) => session(t, user, { way, gateway, direct: true }))));
  const [phones, laptops] = [await everywhere(phone), await everywhere(laptop)];
  const stranger = await session(t, (await cast()).ann);
  ok(await as(phone, 'POST', '/auth/logout', undefined, { gateway: 1 }), 204);
  const [begun, late] = [Date.now(), lateness()];
  await Promise.all(phones.map((one) => one.failed()));
  const took = Date.now() - begun;
  assert.ok(took <= WITHIN_MS + STALLS_MS + late(), `all were closed after ${took} ms`);
  await quiet(300);
  for (const one of [...laptops, stranger]) assert.equal(one.closes.length, 0, 'another token’s session stays');
  await refused(t, { token: phone.token });
  const newPassword = `new-${phone.password}`;
  ok(await as(laptop, 'PUT', '/auth/change-password', { currentPassword: phone.password, newPassword }), 204);
  const third = await login(phone, { password: newPassword });
  ok(await as(third, 'PUT', '/auth/change-password', { currentPassword: newPassword, newPassword: phone.password }), 204);
  await Promise.all(laptops.map((one) => one.over()));
  await session(t, third);
  assert.equal(stranger.closes.length, 0);
});

test('a session does not outlive its token', limit, async (t) => {
  const ann = await register('ann');
  const sessions = await Promise.all(WAYS.map((way, gateway) => {
    // Late enough for everybody to have come by then.
    const token = resign(ann.token, { claims: { exp: seconds(30) }, secret: jwtSecret() });
    return session(t, ann, { token, way, gateway: gateway % 2 });
  }));
  for (const one of sessions) assert.ok((await one.failed()).headers.message, `${one.way} is told`);
});

test('guests have no name until they say one, and their session is their own', limit, async (t) => {
  const { ann } = await cast();
  const roomId = slug();
  const a = await session(t, ann);
  const inbox = await a.listen(`/topic/${roomId}`);
  const guests = await Promise.all(WAYS.map((way) => session(t, undefined, { way, gateway: 1 })));
  for (const [index, guest] of guests.entries()) {
    assert.ok(guest.welcome.session);
    const called = `visitor_${slug('g').slice(-12)}_${index}`;
    await guest.send('/app/chat.addUser', { roomId, sender: called });
    await inbox.next(about('JOIN', called));
  }
  assert.equal(new Set(guests.map(({ welcome }) => welcome.session)).size, guests.length);
  await barrier(a, roomId, inbox);
  await until(() => inbox.heard(about('JOIN')).length === guests.length, 'each joins once');
});
