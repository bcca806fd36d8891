// STOMP on gateways of the test's own: the limits that everybody has who sets nothing, heart-beats that are short enough to wait for, and no
// guests.

import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from './support/away.js';
import { client, guest } from './support/dialects.js';
import { mortalGateway, privateGateway } from './support/gateways.js';
import { counted, isBlock, LONG_BLOCK, LONG_BLOCK_MS, untilRefused } from './support/limits.js';
import { attempts, lateness } from './support/patience.js';
import { people, slug, unique } from './support/people.js';
import { as, ok } from './support/rest.js';
import { emitAck, heard, quiet } from './support/socket.js';
import { dial, refusal, session, WAYS } from './support/stomp.js';
import { barrier } from './support/stomp-bodies.js';
import { storedMessages } from './support/truth.js';

const limit = { timeout: 360_000 };
/** How often the patient one of two gateways wants to hear its clients' hearts. */
const PATIENT_MS = 2_500;
const cast = (...names) => people(...names)();

/** What the suite sets for its own gateways is not for these. */
const UNLIMITED = ['MESSAGES', 'ROOMS_MESSAGES', 'ROOM_OPERATIONS', 'ROOMS_ROOM_OPERATIONS'];
const LIMITED = {
  ...LONG_BLOCK,
  ...Object.fromEntries(UNLIMITED.map((name) => [`CONFAB_RATE_LIMITS__${name}`, undefined])),
  CONFAB_AUTH__GUESTS: 'true',
  CONFAB_ROOMS__AUTO_CREATE: 'true',
};

/** Asserts that a body of the errors queue says RATE_LIMITED; for how long. */
function limited(told) {
  refusal(told);
  assert.equal(told.code, 'RATE_LIMITED', JSON.stringify(told));
  assert.ok(Number.isSafeInteger(told.retryAfterMs) && told.retryAfterMs > 0, JSON.stringify(told));
  return told.retryAfterMs;
}

test('rate limits', { concurrency: true, ...limit }, async (t) => {
  const few = { CONFAB_RATE_LIMITS__SUBSCRIPTIONS: '40/1h' };
  const gateways = await Promise.all([{}, {}, few].map((more) => mortalGateway(t, { ...LIMITED, ...more })));
  const urls = gateways.map(({ url }) => url);
  const tests = [];
  const check = (title, body) => tests.push(t.test(title, limit, counted(gateways, body)));
  const room = async (user) => ok(await as(user, 'POST', '/api/rooms', { name: unique('room') }), 201);

  check('30 messages a minute, exactly, over all sessions and transports, and those of the rooms dialect', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const { id, slug: roomId } = await room(ben);
    const sessions = await Promise.all(WAYS.map((way, index) => session(t, ann, { way, url: urls[index % 2] })));
    const errors = await Promise.all(sessions.map((one) => one.listen('/user/queue/errors')));
    const socket = await client(t, 'rooms', ann, { url: urls[0] });
    const begun = Date.now();
    assert.equal((await emitAck(socket, 'chat.addUser', { roomId })).success, true);
    const contents = Array.from({ length: 60 }, () => unique());
    for (const [index, content] of contents.entries()) {
      if (index % 6 === 5) socket.emit('chat.sendMessage', { roomId, content });
      else sessions[index % 6].tell('/app/chat.sendMessage', { roomId, content });
    }
    const refused = () => errors.reduce((sum, { entries }) => sum + entries.length, heard(socket, 'error').length);
    await until(async () => refused() + (await storedMessages(id)).length >= contents.length, 'each is stored or refused');
    const stored = (await storedMessages(id)).length;
    assert.equal(stored + refused(), contents.length);
    const seconds = (Date.now() - begun) / 1000;
    assert.ok(stored >= 30 && stored <= 30 + Math.floor(seconds / 2), `${stored} in ${seconds} s`);
    const waits = [...errors.flatMap((listener) => listener.heard().map(limited)), ...heard(socket, 'error').map(({ retryAfterMs }) => retryAfterMs)];
    isBlock(Math.max(...waits), LONG_BLOCK_MS);
    // Others are not concerned, nor is what is no message.
    const b = await session(t, ben, { url: urls[1] });
    await b.send('/app/chat.sendMessage', { roomId, content: unique() });
    await sessions[0].listen(`/topic/${roomId}`);
    await sessions[1].send('/app/chat.addUser', { roomId });
    // Private messages are messages.
    const known = errors[2].entries.length;
    sessions[2].tell('/app/chat.private', { receiverId: ben.id, content: unique() });
    await until(() => errors[2].entries.length > known, 'a private message is refused as well');
    limited(errors[2].heard().at(-1));
  });

  check('5 room operations a minute; to listen is none, as clients do so whenever they come back', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const rooms = await Promise.all(Array.from({ length: 3 }, () => room(ben)));
    const sessions = await Promise.all([session(t, ann, { url: urls[0] }), session(t, ann, { way: 'xhr-streaming', url: urls[1] })]);
    const errors = await Promise.all(sessions.map((one) => one.listen('/user/queue/errors')));
    for (let round = 0; round < 4; round += 1) {
      for (const { slug: roomId } of rooms) await sessions[0].unlisten(await sessions[0].listen(`/topic/${roomId}`));
    }
    const [first, second] = rooms;
    const five = [
      [0, 'chat.addUser', { roomId: first.slug }], [1, `chat/${second.id}/addUser`, {}], [1, 'chat.removeUser', { roomId: second.id }],
      [0, 'chat.addUser', { roomId: second.slug }], [1, 'chat.addUser', { roomId: rooms[2].slug }],
    ];
    const operate = async ([index, what, body]) => {
      const known = errors[index].entries.length;
      let success = false;
      sessions[index].send(`/app/${what}`, body).then(() => { success = true; }, () => {});
      await until(() => success || errors[index].entries.length > known, 'it is confirmed or refused');
      return { success };
    };
    const { passed, seconds } = await untilRefused((index) => operate(five[index] ?? [0, 'chat.removeUser', { roomId: first.slug }]));
    // One becomes free every twelve seconds.
    assert.ok(passed >= 5 && passed <= 5 + Math.floor(seconds / 12), `${passed} in ${seconds} s`);
    limited(await errors[0].next());
    sessions[1].tell('/app/chat.addUser', { roomId: slug() });
    limited(await errors[1].next());
    await sessions[0].send('/app/chat.sendMessage', { roomId: first.slug, content: 'messages are counted apart' });
    assert.deepEqual(sessions.map(({ closes }) => closes.length), [0, 0]);
  });

  check('a guest is an address and a name, whatever it speaks', async (t) => {
    const { ann } = await cast('ann');
    const { slug: roomId } = await room(ann);
    const sender = slug('guest').replaceAll('-', '_').slice(0, 32);
    const first = await session(t, undefined, { url: urls[0] });
    const errors = await first.listen('/user/queue/errors');
    await first.send('/app/chat.addUser', { roomId, sender });
    for (let index = 0; index < 60; index += 1) first.tell('/app/chat.sendMessage', { roomId, content: unique() });
    limited(await errors.next());
    await first.leave();
    const socket = await guest(t, 'rooms', { url: urls[1] });
    assert.equal((await emitAck(socket, 'chat.addUser', { roomId, username: sender })).success, true);
    const answer = await emitAck(socket, 'chat.sendMessage', { roomId, content: unique() });
    assert.equal(answer.error?.code, 'RATE_LIMITED');
  });

  check('a transaction is counted as a whole: none of what is too much is stored', async (t) => {
    const { ann } = await cast('ann');
    const { id, slug: roomId } = await room(ann);
    const a = await session(t, ann, { url: urls[0] });
    const errors = await a.listen('/user/queue/errors');
    const commit = (count, places = [roomId]) => {
      const transaction = a.client.begin();
      for (let index = 0; index < count; index += 1) {
        a.tell(`/app/chat/${places[index % places.length]}/sendMessage`, { content: unique() }, { transaction: transaction.id });
      }
      transaction.commit();
    };
    commit(40);
    const told = await errors.next();
    assert.equal(told.code, 'VALIDATION_FAILED', 'more than can be had at any time');
    commit(3, [roomId, 'no-such-room-'.concat(unique().replaceAll(/[^a-z0-9]/g, '').slice(0, 20)), roomId]);
    assert.equal((await errors.next()).code, 'NOT_FOUND');
    commit(25);
    await until(async () => (await storedMessages(id)).length === 25, 'all of it is stored');
    commit(25);
    limited(await errors.next());
    await quiet(500);
    assert.equal((await storedMessages(id)).length, 25);
    assert.deepEqual([errors.heard().length, a.closes.length], [3, 0], 'each is refused once');
  });

  check('subscriptions, and looking for rooms, are counted: some dozen are nothing', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    for (const user of [ann, ben]) {
      const a = await session(t, user, { url: urls[2] });
      const errors = await a.listen('/user/queue/errors');
      for (let round = 0; round < 30; round += 1) await a.unlisten(await a.listen('/topic/public'));
      for (let round = 0; round < 30; round += 1) a.tell('/app/chat.sendMessage', { roomId: slug(), content: 'to nobody' });
      await until(() => errors.entries.length === 30, 'each is refused');
      const codes = errors.heard().map(({ code }) => code);
      assert.deepEqual([...new Set(codes.slice(0, 10))], ['NOT_FOUND']);
      assert.deepEqual([...new Set(codes.slice(10))], ['RATE_LIMITED']);
      a.client.subscribe('/topic/public', () => assert.fail('not subscribed'));
      await until(() => errors.entries.length === 31, 'to subscribe is refused as well');
      limited(errors.heard().at(-1));
    }
  });

  await Promise.all(tests);
});

test('heart-beats', { concurrency: true, ...limit }, async (t) => {
  // Three of the client's beats may be missing: nobody goes for want of them who was only slow, and who has stopped is soon gone.
  const [patient, url] = await Promise.all([PATIENT_MS, 500].map((receive) =>
    privateGateway(t, { CONFAB_STOMP__HEART_BEAT_SEND_MS: '500', CONFAB_STOMP__HEART_BEAT_RECEIVE_MS: String(receive) })));
  const { ann } = await cast('ann');
  const often = { heartbeatIncoming: 500, heartbeatOutgoing: 500, heartbeatToleranceMultiplier: 20 };
  await Promise.all(WAYS.flatMap((way) => [
    t.test(`both sides beat, and nobody goes, over ${way}`, limit, async (t) => {
      let beats = 0;
      const a = await session(t, ann, { way, url: patient, ...often, onHeartbeatReceived: () => { beats += 1; } });
      assert.equal(a.welcome['heart-beat'], `500,${PATIENT_MS}`);
      // Without its own it would be gone by then.
      await quiet(4 * PATIENT_MS);
      await until(() => beats >= 4, 'it hears the gateway’s beats');
      assert.equal(a.closes.length, 0);
      await barrier(a, 'public', await a.listen('/topic/public'));
    }),
    t.test(`who has stopped beating is gone after three of them, over ${way}`, limit, (t) => attempts(5, 'it stopped by itself', async () => {
      const late = lateness();
      const a = await session(t, ann, { way, url, ...often });
      const before = Date.now();
      const held = late();
      const wasGone = a.closes.length > 0;
      if (!wasGone) {
        a.client.webSocket.send('\n');
        // What it wants to send from now on does not leave it.
        a.client.webSocket.send = () => {};
      }
      await a.over();
      const lasted = Date.now() - before;
      // Whoever was held up had stopped before it meant to.
      if (lasted < 900 && (wasGone || held > 500)) return false;
      assert.ok(lasted >= 900 && lasted <= 20_000, `${lasted} ms`);
      return true;
    })),
    t.test(`who wants none and promises none is left alone, over ${way}`, limit, async (t) => {
      let beats = 0;
      const a = await session(t, ann, { way, url, heartbeatIncoming: 0, heartbeatOutgoing: 0, onHeartbeatReceived: () => { beats += 1; } });
      await quiet(4_000);
      assert.deepEqual([a.closes.length, beats], [0, 0]);
    }),
  ]));
});

test('a gateway that lets no guests in', { concurrency: true, ...limit }, async (t) => {
  const url = await privateGateway(t, { CONFAB_AUTH__GUESTS: 'false' });
  const { ann } = await cast('ann');
  await Promise.all(WAYS.map((way) => t.test(way, limit, async (t) => {
    const stranger = dial(t, { way, url });
    await assert.rejects(stranger.open());
    const { headers } = await stranger.failed();
    assert.ok(headers.message);
    const a = await session(t, ann, { way, url });
    await barrier(a, 'public', await a.listen('/topic/public'));
  })));
});
