// Who is online: told to those who share a conversation, each in its dialect's words; several devices, short absences, and who would rather
// not be seen.

import assert from 'node:assert/strict';
import test from 'node:test';
import { cut, recovers, stays, until } from './support/away.js';
import { direct, group, join } from './support/chat.js';
import { client, guest, refuses, sendTo } from './support/dialects.js';
import { logIn } from './support/namespaced.js';
import { attempts } from './support/patience.js';
import { people, slug, unique } from './support/people.js';
import { changes, CONVERGED_MS, course, found, heardNothing, hears, ids, isTold, LINGER_MS, news, online, shown } from './support/presence.js';
import { as, ok } from './support/rest.js';
import { entered } from './support/rooms.js';
import { connect, emitAck, heard, once, opened, dial, quiet, succeed } from './support/socket.js';
import { stalls } from './support/stalls.js';

/** How much earlier than promised a clock may find something, and how much later a busy machine. */
const EARLY_MS = 500;
const LATE_MS = 10_000;
/** Longer than anybody lingers: what has not been said by then is not said. */
const SILENCE_MS = LINGER_MS + 2_500;

/** People of one test: presence is about a person, so tests that run at once share none. */
const cast = (...names) => people(...names)();
const hide = (user, isOnline, gateway = 0) => as(user, 'PUT', '/auth/online-status', { isOnline }, { gateway });

/** Waits until `watcher`'s own presence has settled: who is told of others is told who is there first. */
async function watching(t, user, options = {}) {
  const socket = await connect(t, user, options);
  await once(socket, 'onlineUsers');
  return socket;
}

test('presence', { concurrency: 16, timeout: 480_000 }, async (t) => {
  const limit = { timeout: 360_000 };
  const tests = [];
  const still = stalls(t);
  const check = (name, body) => tests.push(t.test(name, limit, still.unless(body)));

  check('who is online is told once on connecting: contacts alone, not strangers, not people of public rooms, not oneself', async (t) => {
    const { ann, ben, cat, dan, eve, fay, gil } = await cast('ann', 'ben', 'cat', 'dan', 'eve', 'fay', 'gil');
    const conversationId = await group(ann, [ben, fay, gil]);
    ok(await as(ann, 'DELETE', `/chats/conversations/${conversationId}/participants/${gil.id}`), 204);
    await direct(cat, ann);
    const room = ok(await as(eve, 'POST', '/api/rooms', { name: unique('public') }), 201);
    await Promise.all([
      connect(t, ben, { gateway: 1 }), client(t, 'direct', cat), connect(t, dan, { gateway: 1 }), connect(t, gil),
    ]);
    const e = await client(t, 'rooms', eve, { gateway: 1 });
    await succeed(e, 'chat.addUser', { roomId: room.slug });
    await shown(ann, true, [ben, cat, dan, eve, gil]);

    const begun = Date.now();
    const a = await connect(t, ann);
    await join(room.id, a);
    await isTold(a, ben, cat);
    e.disconnect();
    await quiet(SILENCE_MS);
    const told = heard(a, 'onlineUsers').map((list) => [...list].sort());
    for (const each of told) assert.deepEqual(each, ids(ben, cat));
    assert.ok(told.length === 1 || (await still.since(begun)), `told ${told.length} times, and not for having stood still`);
    for (const user of [ann, dan, eve, fay, gil]) assert.deepEqual(course(a, user), [], user.username);
    assert.deepEqual([...online(a)].sort(), ids(ben, cat));
  });

  check('coming and going: each dialect in its words, strangers and dialects without words nothing; lastSeen', async (t) => {
    const { ann, ben, cat, dan, eve } = await cast('ann', 'ben', 'cat', 'dan', 'eve');
    await group(ann, [ben, cat, dan]);
    await group(eve, [ben]);
    const b = await watching(t, ben, { gateway: 1 });
    const silent = [await client(t, 'direct', dan), await client(t, 'rooms', dan, { gateway: 1 })];
    await sendTo(silent[0], ann, 'so that it speaks its dialect');
    await succeed(silent[1], 'chat.addUser', { roomId: slug() });
    const c = await client(t, 'namespaced', cat);
    await logIn(c, cat);
    const stranger = await watching(t, eve);
    await shown(ann, true, [cat, dan]);

    const a = await connect(t, ann);
    for (const socket of [b, c]) await hears(socket, ann, 'online');
    assert.ok(Math.abs(changes(b, ann)[0].when - Date.now()) < 60_000, 'the timestamp is that of the change');
    await shown(ben, true, [ann]);

    const gone = Date.now();
    a.disconnect();
    for (const socket of [b, c]) {
      await hears(socket, ann, 'online', 'offline');
      const took = changes(socket, ann)[1].at - gone;
      assert.ok(took >= LINGER_MS - EARLY_MS && took <= CONVERGED_MS + LATE_MS, `told after ${took} ms`);
    }
    await shown(ben, false, [ann]);
    for (const gateway of [0, 1]) {
      const { lastSeen } = await found(ben, ann, gateway);
      const after = Date.parse(lastSeen) - gone;
      assert.ok(after > -2_000 && after < CONVERGED_MS + LATE_MS, `last seen ${after} ms after she went`);
    }
    assert.equal(ok(await as(ann, 'GET', '/auth/me'), 200).isOnline, false);
    assert.ok(Math.abs(changes(c, ann)[1].when - gone) < CONVERGED_MS + LATE_MS, 'OnlineStatus says when she was last seen');
    assert.ok(!online(b).has(ann.id));
    for (const socket of silent) heardNothing(socket);
    assert.deepEqual(course(stranger, ann), []);
    assert.ok(!online(stranger).has(ann.id));
  });

  check('who comes is announced at once, not after the time in which the gone may come back', async (t) => {
    await attempts(8, 'she was announced at once', async () => {
      const { ann, ben } = await cast('ann', 'ben');
      await direct(ann, ben);
      const [b, begun] = [await watching(t, ben, { gateway: 1 }), Date.now()];
      await connect(t, ann);
      await hears(b, ann, 'online');
      return changes(b, ann)[0].at - begun < LINGER_MS;
    });
  });

  check('of several devices on two gateways the last one counts', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    await direct(ann, ben);
    const b = await watching(t, ben);
    const devices = await Promise.all([
      connect(t, ann, { gateway: 0, direct: true }), client(t, 'direct', ann, { gateway: 1, direct: true }), connect(t, ann, { gateway: 1, direct: true }),
    ]);
    await hears(b, ann, 'online');
    devices[0].disconnect();
    devices[2].disconnect();
    await quiet(SILENCE_MS);
    assert.deepEqual(course(b, ann), ['online'], 'one device is left');
    await shown(ben, true, [ann]);
    const gone = Date.now();
    devices[1].disconnect();
    await hears(b, ann, 'online', 'offline');
    const took = changes(b, ann)[1].at - gone;
    assert.ok(took >= LINGER_MS - EARLY_MS && took <= CONVERGED_MS + LATE_MS, `told after ${took} ms`);
    await shown(ben, false, [ann]);
  });

  check('who is back within five seconds, on whichever gateway, was never away', async (t) => {
    /** Whether she is seen to have been there all the time; nothing if the machine kept her away for too long to say. */
    const absence = async (leave, comeBack) => {
      const { ann, ben } = await cast('ann', 'ben');
      await direct(ann, ben);
      const b = await watching(t, ben, { gateway: 1 });
      const a = await connect(t, ann, stays);
      await hears(b, ann, 'online');
      const [gone, { id }] = [Date.now(), a];
      await leave(a);
      await quiet(300);
      await comeBack(a, ann, id);
      const took = Date.now() - gone;
      await quiet(SILENCE_MS);
      // Redis is to know that she is back, and a program that stands still holds that up.
      if (course(b, ann).length > 1 && (took > LINGER_MS - 1_000 || (await still.since(gone)))) return false;
      assert.deepEqual(course(b, ann), ['online']);
      await shown(ben, true, [ann]);
      return true;
    };
    await Promise.all([
      attempts(5, 'her connection was soon there again', () => absence(cut, (a, _, id) => recovers(a, id))),
      attempts(5, 'she was soon there again, elsewhere', () => absence((a) => a.disconnect(), (_, ann) => connect(t, ann, { gateway: 1, direct: true }))),
    ]);
  });

  check('isOnline is right wherever it stands', async (t) => {
    const { ann, ben, cat, dan } = await cast('ann', 'ben', 'cat', 'dan');
    const [a, b] = await Promise.all([connect(t, ann), connect(t, ben, { gateway: 1 })]);
    await shown(cat, true, [ann, ben]);
    const truth = { [ann.id]: true, [ben.id]: true, [cat.id]: false };
    const of = (participants) => Object.fromEntries(participants.map(({ _id, id = _id, isOnline }) => [id, isOnline]));

    const body = { participantIds: [ben.id, cat.id], type: 'group', name: unique('group') };
    const made = await succeed(a, 'createConversation', body);
    assert.deepEqual(of(made.conversation.participants), truth, 'the answer to createConversation');
    for (const socket of [a, b]) {
      const told = await once(socket, 'conversationCreated', ({ _id }) => _id === made.conversation._id);
      assert.deepEqual(of(told.participants), truth, 'conversationCreated');
    }
    assert.deepEqual(of(ok(await as(cat, 'POST', '/chats/conversations', { ...body, participantIds: [ann.id, ben.id] }), 201).participants), truth);
    const plain = ok(await as(ann, 'POST', '/conversations', body, { gateway: 1 }), 201);
    assert.deepEqual(of(plain.participants), truth, 'POST /conversations');
    for (const gateway of [0, 1]) {
      const get = async (user, path) => ok(await as(user, 'GET', path, undefined, { gateway }), 200);
      for (const path of ['/conversations', '/chats/conversations']) {
        for (const { participants } of await get(cat, path)) assert.deepEqual(of(participants), truth, path);
        assert.deepEqual(of((await get(cat, `${path}/${plain.id}`)).participants), truth, `${path}/:id`);
      }
      for (const user of [ann, cat]) assert.equal((await get(user, '/auth/me')).isOnline, truth[user.id], `/auth/me of ${user.username}`);
    }
    const added = ok(await as(ann, 'POST', `/chats/conversations/${plain.id}/participants`, { userIds: [dan.id] }), 200);
    assert.deepEqual(of(added.participants), { ...truth, [dan.id]: false }, 'the answer to adding somebody');
  });

  check('who wants to appear offline does, everywhere, and goes on working', async (t) => {
    const { ann, ben, cat } = await cast('ann', 'ben', 'cat');
    const conversationId = await group(ann, [ben, cat]);
    const [a, other] = await Promise.all([connect(t, ann, stays), connect(t, ann, { gateway: 1, direct: true })]);
    const b = await watching(t, ben, { gateway: 1 });
    const c = await client(t, 'namespaced', cat);
    await logIn(c, cat);
    await shown(ben, true, [ann, cat]);
    await until(() => online(b).has(ann.id), 'ben knows that ann is there');

    const hidden = ok(await hide(ann, false, 1), 200);
    assert.deepEqual([hidden.id, hidden.isOnline], [ann.id, false]);
    for (const socket of [b, c]) {
      await until(() => course(socket, ann).at(-1) === 'offline', 'ann has gone, as they see it');
      assert.ok(!online(socket).has(ann.id));
    }
    await shown(ben, false, [ann]);
    for (const gateway of [0, 1]) {
      const { participants } = ok(await as(cat, 'GET', `/chats/conversations/${conversationId}`, undefined, { gateway }), 200);
      assert.equal(participants.find(({ _id }) => _id === ann.id).isOnline, false);
      assert.equal(ok(await as(ann, 'GET', '/auth/me', undefined, { gateway }), 200).isOnline, false, 'as others see it');
    }
    b.emit('getOnlineUsers');
    await isTold(b, cat);
    await isTold(await connect(t, ben), cat);

    // Nothing that she does betrays her: neither a message, nor another device, nor a short absence.
    const told = [b, c].map((socket) => course(socket, ann).length);
    const { lastSeen } = await found(ben, ann);
    await join(conversationId, a, b);
    const { messageId } = await succeed(a, 'sendMessage', { conversationId, content: unique() });
    await once(b, 'newMessage', ({ message }) => message._id === messageId);
    (await connect(t, ann, { gateway: 1 })).disconnect();
    const { id } = a;
    await cut(a);
    await recovers(a, id);
    other.disconnect();
    await quiet(SILENCE_MS);
    assert.deepEqual([b, c].map((socket) => course(socket, ann).length), told, 'nothing was told of her');
    assert.equal((await found(ben, ann)).lastSeen, lastSeen);

    assert.equal(ok(await hide(ann, true), 200).isOnline, true);
    for (const [index, socket] of [b, c].entries()) {
      await until(() => course(socket, ann).at(-1) === 'online', 'ann is there again');
      assert.equal(course(socket, ann).length, told[index] + 1, 'told once');
    }
    await shown(ben, true, [ann]);
    await isTold(await connect(t, ben, { gateway: 1 }), ann, cat);
  });

  check('who hides while nobody can see it is not announced when it comes', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    await direct(ann, ben);
    ok(await hide(ann, false), 200);
    const b = await watching(t, ben, { gateway: 1 });
    const a = await connect(t, ann);
    await isTold(a, ben);
    await quiet(1_500);
    a.disconnect();
    await quiet(SILENCE_MS);
    assert.deepEqual(course(b, ann), []);
    assert.equal((await found(ben, ann)).isOnline, false);
  });

  check('status:update, and each dialect in its own words', async (t) => {
    const { ann, ben, cat } = await cast('ann', 'ben', 'cat');
    await group(ann, [ben, cat]);
    const c = await client(t, 'namespaced', cat);
    await logIn(c, cat);
    const b = await watching(t, ben, { gateway: 1 });
    const a = await client(t, 'namespaced', ann, { gateway: 1 });
    await logIn(a, ann);
    for (const socket of [b, c]) await hears(socket, ann, 'online');
    const expected = ['online'];
    for (const isOnline of [false, true, false]) {
      await succeed(a, 'status:update', { isOnline });
      expected.push(isOnline ? 'online' : 'offline');
      for (const socket of [b, c]) await hears(socket, ann, ...expected);
      await shown(ben, isOnline, [ann]);
    }
    await succeed(a, 'status:update', { isOnline: false });
    ok(await hide(ann, true, 1), 200);
    // What holds already may be said again; it makes no difference to what anybody knows.
    for (const socket of [b, c]) {
      await until(() => course(socket, ann).at(-1) === 'online', 'ann is seen again');
      const turns = course(socket, ann).filter((state, index, all) => state !== all[index - 1]);
      assert.deepEqual(turns, [...expected, 'online']);
    }
    for (const payload of [null, undefined, 7, 'true', [], {}, { isOnline: 'true' }, { isOnline: 1 }, { isOnline: null }]) {
      await refuses(a, 'namespaced', 'VALIDATION_FAILED', 'status:update', payload);
    }
    assert.deepEqual([heard(b, 'status:online').length, heard(b, 'status:offline').length], [0, 0], 'no word of another dialect');
    // It may have been given `onlineUsers` before its first event told its dialect; nothing of that kind since.
    assert.equal(heard(c, 'userStatusChanged').length, 0, 'no word of another dialect');
  });

  check('getOnlineUsers answers with the event, and with an acknowledgement if it is asked for one', async (t) => {
    const { ann, ben, cat } = await cast('ann', 'ben', 'cat');
    await group(ann, [ben, cat]);
    const a = await watching(t, ann, { gateway: 1 });
    a.emit('getOnlineUsers');
    await isTold(a);
    await connect(t, ben);
    const c = await connect(t, cat, { gateway: 1 });
    await until(() => online(a).size === 2, 'both have come');
    assert.equal((await emitAck(a, 'getOnlineUsers')).success, true);
    await isTold(a, ben, cat);
    c.disconnect();
    await until(() => online(a).size === 1, 'one has gone');
    assert.equal((await emitAck(a, 'getOnlineUsers', {})).success, true, 'a payload does no harm');
    await isTold(a, ben);
    await refuses(await client(t, 'direct', ann, { auth: { token: ann.token, dialect: 'direct' } }), 'direct', 'VALIDATION_FAILED', 'getOnlineUsers');
  });

  check('a socket that settles to its dialect late is told who is online then', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const conversationId = await group(ann, [ben]);
    const b = await connect(t, ben, { gateway: 1 });
    await shown(ann, true, [ben]);
    const [asks, joins, still] = await Promise.all([0, 1, 0].map((gateway) => client(t, 'direct', ann, { gateway })));
    const late = await client(t, 'direct', ann);
    await quiet(500);
    for (const socket of [asks, joins, still, late]) heardNothing(socket);
    asks.emit('getOnlineUsers');
    await join(conversationId, joins);
    await succeed(late, 'chat:room:join', conversationId);
    for (const socket of [asks, joins]) await isTold(socket, ben);
    await until(() => course(late, ben).at(-1) === 'online', 'ben is there');
    ok(await hide(ben, false), 200);
    for (const socket of [asks, joins, late]) await until(() => course(socket, ben).at(-1) === 'offline', 'ben has gone');
    assert.deepEqual([course(late, ben).filter((state) => state === 'offline').length, heard(late, 'userStatusChanged').length], [1, 0]);
    heardNothing(still);
    assert.ok(b.connected);
  });

  check('a late login comes, a logout goes', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    await direct(ann, ben);
    const b = await watching(t, ben);
    const a = await guest(t, 'namespaced', { gateway: 1 });
    await quiet(1_000);
    assert.deepEqual(course(b, ann), []);
    await logIn(a, ann);
    await hears(b, ann, 'online');
    await until(() => course(a, ben).at(-1) === 'online', 'ben is there');
    ok(await hide(ben, false, 1), 200);
    await until(() => course(a, ben).at(-1) === 'offline', 'who has logged in late is told as well');
    ok(await as(ann, 'POST', '/auth/logout'), 204);
    await hears(b, ann, 'online', 'offline');
  });

  check('a recovered socket is told again who is online', async (t) => {
    const { ann, ben, cat, dan } = await cast('ann', 'ben', 'cat', 'dan');
    await group(ann, [ben, cat, dan]);
    const [c] = await Promise.all([connect(t, cat, { gateway: 1 }), connect(t, ben)]);
    await shown(ann, true, [ben, cat]);
    const a = await connect(t, ann, stays);
    await isTold(a, ben, cat);
    const conversationId = await group(ben, [ann]); // recovery needs an offset, and that a message
    await once(a, 'conversationCreated', ({ _id }) => _id === conversationId);
    const { id } = a;
    await cut(a);
    c.disconnect();
    await connect(t, dan, { gateway: 1 });
    await shown(ben, false, [cat]);
    await shown(ben, true, [dan]);
    await recovers(a, id);
    await isTold(a, ben, dan);
    await quiet(1_000);
    assert.deepEqual([...online(a)].sort(), ids(ben, dan));
    assert.deepEqual(changes(a, cat), [], 'what was told meanwhile is not told afterwards');
  });

  check('who becomes a contact is seen from then on, and who is removed no longer', async (t) => {
    const { ann, ben, cat } = await cast('ann', 'ben', 'cat');
    const b = await watching(t, ben, { gateway: 1 });
    assert.deepEqual([...online(b)], []);
    const conversationId = await group(ann, [ben, cat]);
    await once(b, 'conversationCreated', ({ _id }) => _id === conversationId);
    const a = await connect(t, ann);
    await hears(b, ann, 'online');
    ok(await as(ann, 'DELETE', `/chats/conversations/${conversationId}/participants/${ben.id}`), 204);
    b.emit('getOnlineUsers');
    await isTold(b);
    const known = course(b, ann).length;
    a.disconnect();
    await quiet(SILENCE_MS);
    assert.deepEqual(course(b, ann).slice(known), [], 'she is nobody to him any more');
  });

  check('guests never appear', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    await direct(ann, ben);
    const a = await watching(t, ann);
    const roomId = slug();
    await client(t, 'rooms', ben, { gateway: 1 }).then((socket) => succeed(socket, 'chat.addUser', { roomId }));
    const room = ok(await as(ann, 'GET', `/api/rooms/${roomId}`), 200);
    await join(room.id, a);
    const visitor = await entered(t, roomId);
    await until(() => online(a).has(ben.id), 'ben is seen');
    await quiet(1_500);
    a.emit('getOnlineUsers');
    await once(a, 'onlineUsers', (list) => list.includes(ben.id));
    for (const entry of news(a)) assert.ok(entry.userId !== visitor && !entry.snapshot?.includes(visitor), 'no word of the guest');
    // Nor is a guest told of anybody.
    const anybody = await opened(dial(t, { gateway: 1 }));
    await quiet(500);
    assert.deepEqual([...online(anybody)], []);
  });

  await Promise.all(tests);
});
