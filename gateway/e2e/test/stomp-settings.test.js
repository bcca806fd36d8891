// STOMP on gateways of the test's own: the limits that everybody has who sets nothing, heart-beats that are short enough to wait for, and no
// guests.

import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from './support/away.js';
import { client, guest } from './support/dialects.js';
import { privateGateway } from './support/gateways.js';
import { people, slug, unique } from './support/people.js';
import { as, ok } from './support/rest.js';
import { emitAck, heard, quiet } from './support/socket.js';
import { dial, refusal, session, WAYS } from './support/stomp.js';
import { barrier } from './support/stomp-bodies.js';
import { storedMessages } from './support/truth.js';

const limit = { timeout: 90_000 };
const BLOCK_MS = 10_000;
const LATE_MS = 2_500;
const cast = (...names) => people(...names)();

/** What the suite sets for its own gateways is not for these. */
const UNLIMITED = ['MESSAGES', 'ROOMS_MESSAGES', 'ROOM_OPERATIONS', 'ROOMS_ROOM_OPERATIONS'];
const LIMITED = {
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
  const urls = await Promise.all([0, 1].map(() => privateGateway(t, LIMITED)));
  const tests = [];
  const check = (title, body) => tests.push(t.test(title, limit, body));
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
    const waits = errors.flatMap((listener) => listener.heard().map(limited));
    assert.ok(Math.max(...waits) <= BLOCK_MS && Math.max(...waits) > BLOCK_MS - LATE_MS, `blocked for ${Math.max(...waits)} ms`);
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
    await sessions[0].send('/app/chat.addUser', { roomId: first.slug });
    await sessions[1].send(`/app/chat/${second.id}/addUser`, {});
    await sessions[1].send('/app/chat.removeUser', { roomId: second.id });
    await sessions[0].send('/app/chat.addUser', { roomId: second.slug });
    await sessions[1].send('/app/chat.addUser', { roomId: rooms[2].slug });
    sessions[0].tell('/app/chat.removeUser', { roomId: first.slug });
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
    for (let index = 0; index < 40; index += 1) first.tell('/app/chat.sendMessage', { roomId, content: unique() });
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
    commit(20);
    await until(async () => (await storedMessages(id)).length === 20, 'all of it is stored');
    commit(20);
    limited(await errors.next());
    await quiet(500);
    assert.equal((await storedMessages(id)).length, 20);
    assert.deepEqual([errors.heard().length, a.closes.length], [3, 0], 'each is refused once');
  });

  check('subscriptions, and looking for rooms, are counted: some dozen are nothing', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const few = await privateGateway(t, { ...LIMITED, CONFAB_RATE_LIMITS__SUBSCRIPTIONS: '40/1h' });
    for (const user of [ann, ben]) {
      const a = await session(t, user, { url: few });
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
  const url = await privateGateway(t, { CONFAB_STOMP__HEART_BEAT_SEND_MS: '500', CONFAB_STOMP__HEART_BEAT_RECEIVE_MS: '500' });
  const { ann } = await cast('ann');
  const often = { heartbeatIncoming: 500, heartbeatOutgoing: 500 };
  await Promise.all(WAYS.flatMap((way) => [
    t.test(`both sides beat, and nobody goes, over ${way}`, limit, async (t) => {
      let beats = 0;
      const a = await session(t, ann, { way, url, ...often, onHeartbeatReceived: () => { beats += 1; } });
      assert.equal(a.welcome['heart-beat'], '500,500');
      await quiet(4_000);
      assert.ok(beats >= 4, `${beats} beats`);
      assert.equal(a.closes.length, 0);
      await barrier(a, 'public', await a.listen('/topic/public'));
    }),
    t.test(`who has stopped beating is gone after three of them, over ${way}`, limit, async (t) => {
      const a = await session(t, ann, { way, url, ...often });
      const before = Date.now();
      // What it wants to send from now on does not leave it.
      a.client.webSocket.send = () => {};
      await a.over();
      const lasted = Date.now() - before;
      assert.ok(lasted >= 900 && lasted <= 6_000, `${lasted} ms`);
    }),
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
