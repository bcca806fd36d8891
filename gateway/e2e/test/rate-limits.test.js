// How much one user may do in a minute, counted over all gateways: on gateways of the test's own, which have the limits that everybody
// has who sets nothing.

import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from './support/away.js';
import { direct, group, join } from './support/chat.js';
import { client, guest } from './support/dialects.js';
import { mortalGateway, privateGateway } from './support/gateways.js';
import {
  BEHIND_A_PROXY, BLOCK_MS, DEFAULTS, FEW, LONG_BLOCK, LONG_BLOCK_MS, OPEN, address, bearer, call, counted, each, flood, from, isBlock, limited, ok200, refusedFor, untilRefused,
} from './support/limits.js';
import { people, register, slug, unique } from './support/people.js';
import { as, failed, ok } from './support/rest.js';
import { keys } from './support/shapes.js';
import { connect, emitAck, heard, once, quiet, succeed } from './support/socket.js';
import { membershipCount, populate, storedMessages } from './support/truth.js';

test('rate limits', { concurrency: 16, timeout: 480_000 }, async (t) => {
  const limit = { timeout: 400_000 };
  const settings = { ...DEFAULTS, ...OPEN, ...BEHIND_A_PROXY };
  // Where much is done while somebody is blocked, the block is long enough for it; who types there goes on until it is said that he does not.
  const patient = { ...settings, ...LONG_BLOCK, CONFAB_HUB__TYPING_TIMEOUT_MS: '120000' };
  const gateways = await Promise.all([settings, settings, patient, patient, { ...patient, ...FEW }].map((each) => mortalGateway(t, each)));
  const urls = gateways.map(({ url }) => url);
  const [usual, few] = [urls.splice(0, 2), urls.pop()];
  const tests = [];
  const check = (name, body) => tests.push(t.test(name, limit, counted(gateways, body)));
  const cast = (...names) => people(...names)();
  /** Four sockets of `user` on two gateways. */
  const four = (t, dialect, user, at = urls) => Promise.all([0, 1, 0, 1].map((index) => client(t, dialect, user, { url: at[index] })));

  check('30 messages a minute in rooms, exactly, from four sockets on two gateways; a violation blocks for 10 s, the next one for 20', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const roomId = slug();
    const [sockets, b] = await Promise.all([four(t, 'rooms', ann, usual), client(t, 'rooms', ben, { url: usual[1] })]);
    for (const socket of [...sockets, b]) await succeed(socket, 'chat.addUser', { roomId });
    const send = (socket) => emitAck(socket, 'chat.sendMessage', { roomId, content: unique() });

    const begun = Date.now();
    const { passed, refusals, seconds } = await flood(each(sockets, 12, send));
    const began = Date.now();
    // One becomes free every two seconds.
    assert.ok(passed >= 30 && passed <= 30 + Math.floor(seconds / 2), `${passed} in ${seconds} s`);
    const room = ok(await as(ben, 'GET', `/api/rooms/${roomId}`), 200);
    assert.equal((await storedMessages(room.id)).length, passed, 'what was refused is not stored');
    isBlock(Math.max(...refusals), BLOCK_MS);
    const errors = () => sockets.flatMap((socket) => heard(socket, 'error', ({ code }) => code === 'RATE_LIMITED'));
    await until(() => errors().length >= refusals.length, 'each refusal is an error event as well');
    assert.equal(errors().length, refusals.length);
    for (const error of errors()) {
      keys(error, ['code', 'message', 'event', 'retryAfterMs'], [], '(error)');
      assert.equal(error.event, 'chat.sendMessage');
    }
    const asking = quiet(3_000).then(async () => ({ asked: Date.now(), answer: await send(sockets[1]), answered: Date.now() }));

    await succeed(b, 'chat.sendMessage', { roomId, content: 'others are not concerned' });
    const elsewhere = await connect(t, ann, { url: usual[1] });
    const conversationId = await direct(ann, ben);
    await succeed(elsewhere, 'sendMessage', { conversationId, content: 'nor is her budget in other dialects' });
    // To ask during the block makes it no longer.
    const { asked, answer, answered } = await asking;
    if (answered < begun + BLOCK_MS - 500) {
      const left = limited(answer);
      assert.ok(left <= BLOCK_MS - (asked - began) + 500, `${left} ms are left, ${asked - began} ms later`);
    }
    await quiet(Math.max(...refusals) - (Date.now() - began) + 250);
    await succeed(sockets[0], 'chat.sendMessage', { roomId, content: 'the block is over' });
    const second = await flood(each(sockets, 10, send));
    const free = 30 + Math.floor((Date.now() - begun) / 2_000);
    assert.ok(passed + 1 + second.passed <= free, `${second.passed} more than ${passed + 1}, where ${free} were free in all`);
    isBlock(Math.max(...second.refusals), 2 * BLOCK_MS);
  });

  check('120 messages a minute elsewhere, over all dialects, and each refuses in its own words', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const conversationId = await direct(ann, ben);
    const sockets = await four(t, 'conversations', ann);
    const { passed, refusals, seconds } = await flood(each(sockets, 40, (socket) => emitAck(socket, 'sendMessage', { conversationId, content: unique() })));
    assert.ok(passed >= 120 && passed <= 120 + Math.ceil(2 * seconds), `${passed} in ${seconds} s`);
    assert.equal((await storedMessages(conversationId)).length, passed, 'what was refused is not stored');
    isBlock(Math.max(...refusals), LONG_BLOCK_MS);
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
    await once(b, 'userStoppedTyping');
    await succeed(await client(t, 'direct', ben, { url: urls[0] }), 'send_message', { receiverId: ann.id, content });
  });

  check('5 room operations a minute in rooms and under /api/rooms, apart from messages and from other dialects', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const [one, other] = await Promise.all([0, 1].map((index) => client(t, 'rooms', ann, { url: urls[index] })));
    const roomId = slug();
    const five = [[one, 'addUser', roomId], [other, 'addUser', roomId], [one, 'addUser', slug()], [other, 'removeUser', roomId], [other, 'addUser', slug()]];
    const operate = ([socket, what, where]) => emitAck(socket, `chat.${what}`, { roomId: where });
    // One becomes free every twelve seconds.
    const isFive = ({ passed, seconds }, whose) => assert.ok(passed >= 5 && passed <= 5 + Math.floor(seconds / 12), `${passed} of ${whose} in ${seconds} s`);
    const refused = await untilRefused((index) => operate(five[index] ?? [one, 'addUser', slug()]));
    isFive(refused, 'ann');
    isBlock(limited(refused.answer), LONG_BLOCK_MS);
    await refusedFor(one, 'error', ['code', 'message', 'event'], 'chat.addUser', { roomId: slug() });
    await refusedFor(other, 'error', ['code', 'message', 'event'], 'chat.removeUser', { roomId });
    const create = (user, index) =>
      call(urls[index], '/api/rooms', { method: 'POST', headers: { ...bearer(user), 'content-type': 'application/json' }, body: JSON.stringify({ name: unique('room') }) });
    const answer = await create(ann, 1);
    failed(answer, 429, 'RATE_LIMITED');
    assert.ok(Number(answer.headers.get('retry-after')) >= 1);
    await succeed(one, 'chat.sendMessage', { roomId, content: 'messages are counted apart' });
    const elsewhere = await connect(t, ann, { url: urls[0] });
    await succeed(elsewhere, 'createConversation', { participantIds: [ben.id], type: 'direct' });

    const over = await untilRefused(async (index) => {
      const made = await create(ben, index % 2);
      return { ...made, success: made.status === 201 };
    });
    isFive(over, 'ben');
    failed(over.answer, 429, 'RATE_LIMITED');
  });

  check('60 room operations a minute elsewhere', async (t) => {
    const { ann, ben } = await cast('ann', 'ben');
    const conversationId = await group(ann, [ben]);
    const sockets = await four(t, 'conversations', ben);
    const { passed, refusals, seconds } = await flood(
      each(sockets, 20, (socket, round) => emitAck(socket, round % 2 === 0 ? 'joinRoom' : 'leaveRoom', { conversationId })),
    );
    assert.ok(passed >= 60 && passed <= 60 + Math.ceil(seconds), `${passed} in ${seconds} s`);
    isBlock(Math.max(...refusals), LONG_BLOCK_MS);
    await succeed(sockets[0], 'sendMessage', { conversationId, content: 'messages are counted apart' });
    await succeed(await connect(t, ann, { url: urls[0] }), 'joinRoom', { conversationId });
  });

  check('a first message to somebody makes a conversation, and counts as that as well', async (t) => {
    const [ann, ben] = await Promise.all(['ann', 'ben'].map((name) => register(name)));
    const strangers = await populate(Array.from({ length: 30 }, () => slug('stranger').replaceAll('-', '_')));
    const write = (socket) => strangers.map(({ id }) => () => emitAck(socket, 'send_message', { receiverId: id, content: unique() }));
    const socket = await client(t, 'direct', ann, { url: few });
    const { passed, refusals, seconds } = await flood(write(socket));
    assert.ok(passed >= 10 && passed <= 10 + Math.ceil(seconds / 6), `${passed} of one socket in ${seconds} s`);
    isBlock(Math.max(...refusals), LONG_BLOCK_MS);
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
    const { passed: more } = await untilRefused(() => emitAck(c, 'createConversation', { participantIds: [others[4].id] }));
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
    isBlock(Math.max(...refusals), LONG_BLOCK_MS);
    await refusedFor(socket, 'error', ['code', 'message', 'event'], 'markAsRead', { conversationId, messageId: last });
    // Several hundred at once are nothing by default.
    const other = await client(t, 'conversations', ann, { url: urls[0] });
    const answers = await Promise.all(Array.from({ length: 250 }, () => emitAck(other, 'markConversationAsRead', { conversationId })));
    assert.ok(answers.every(({ success }) => success === true));
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
    isBlock(Math.max(...refusals), LONG_BLOCK_MS);
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
    const calls = await Promise.all(Array.from({ length: 20 }, () => come(here)));
    const { passed, refusals, seconds } = await flood(calls);
    assert.ok(passed >= 10 && passed <= 10 + Math.ceil(seconds / 6), `${passed} in ${seconds} s`);
    isBlock(Math.max(...refusals), LONG_BLOCK_MS);
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

  check('off is off', async (t) => {
    const url = await privateGateway(t, { ...DEFAULTS, ...OPEN, CONFAB_RATE_LIMITS__ENABLED: 'false' });
    const { ann, ben } = await cast('ann', 'ben');
    const conversationId = await direct(ann, ben);
    const [a, r] = await Promise.all([client(t, 'conversations', ann, { url }), client(t, 'rooms', ann, { url })]);
    for (let index = 0; index < 130; index += 1) await succeed(a, 'getOnlineUsers');
    for (let index = 0; index < 8; index += 1) await succeed(r, 'chat.addUser', { roomId: slug() });
    const roomId = slug();
    await succeed(r, 'chat.addUser', { roomId });
    const calls = [
      ...each([a], 150, (socket) => emitAck(socket, 'sendMessage', { conversationId, content: unique() })),
      ...each([r], 40, (socket) => emitAck(socket, 'chat.sendMessage', { roomId, content: unique() })),
    ];
    for (const answer of await Promise.all(calls.map((each) => each()))) assert.equal(answer.success, true, JSON.stringify(answer));
    for (let index = 0; index < 110; index += 1) ok200(await call(url, '/auth/me', { headers: bearer(ann) }));
  });

  check('a setting that makes no sense fails at start, and is named', async (t) => {
    for (const value of ['many', '0/minute', '-1']) {
      await assert.rejects(privateGateway(t, { ...DEFAULTS, CONFAB_RATE_LIMITS__MESSAGES: value }), /rate_limits\.messages/, value);
    }
  });

  await Promise.all(tests);
});
