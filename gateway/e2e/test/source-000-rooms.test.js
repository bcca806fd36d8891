// Source 000, rooms: its socket events, for accounts and for guests, over two gateways.

import assert from 'node:assert/strict';
import test from 'node:test';
import { cut, recoverably, recovers, stays, until } from './support/away.js';
import { state } from './support/cluster.js';
import { client, complaint, guest, refuses, roomsMessage, userStatus } from './support/dialects.js';
import { nobody, people, slug, unique } from './support/people.js';
import { as, ok } from './support/rest.js';
import { connect, dial, heard, once, opened, quiet, succeed } from './support/socket.js';

const cast = people('ann', 'ben', 'cat', 'dan');
const limit = { timeout: 360_000 };

const enter = (socket, roomId, more = {}) => succeed(socket, 'chat.addUser', { roomId, ...more });
const leave = (socket, roomId) => succeed(socket, 'chat.removeUser', { roomId });

/** Who came or went, as `socket` was told. */
const statuses = (socket, type) => heard(socket, 'userStatus', (status) => status.type === type).map(({ username }) => username);
const status = (socket, type, username) => once(socket, 'userStatus', (told) => told.type === type && told.username === username);

/** Says something in a room; `socket` is to be there itself. The message, as it hears it. */
async function say(socket, roomId, content = unique(), more = {}) {
  await succeed(socket, 'chat.sendMessage', { roomId, content, ...more });
  const message = await once(socket, 'message', (told) => told.content === content);
  roomsMessage(message);
  return message;
}

/** A last message that all of `sockets` wait for: what was to come before it has come. */
async function barrier(speaker, roomId, ...sockets) {
  const content = unique('barrier');
  await succeed(speaker, 'chat.sendMessage', { roomId, content });
  await Promise.all(sockets.map((socket) => once(socket, 'message', (message) => message.content === content)));
}

/** A room made over REST by `user`. */
async function made(user, more = {}) {
  return ok(await as(user, 'POST', '/api/rooms', { name: unique('room'), ...more }), 201);
}

test('chat.addUser, chat.sendMessage, chat.removeUser; message and userStatus', limit, async (t) => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const [a, b] = await Promise.all([client(t, 'rooms', ann), client(t, 'rooms', ben, { gateway: 1 })]);

  await enter(a, roomId);
  const first = await status(a, 'JOIN', ann.username);
  userStatus(first);
  assert.deepEqual([first.roomId, first.userId, first.activeUsers], [roomId, ann.id, 1]);

  await enter(b, roomId);
  for (const socket of [a, b]) {
    const joined = await status(socket, 'JOIN', ben.username);
    userStatus(joined);
    assert.deepEqual([joined.roomId, joined.userId, joined.activeUsers], [roomId, ben.id, 2]);
  }

  const content = 'Hello, room!';
  await succeed(a, 'chat.sendMessage', { roomId, content });
  const told = await Promise.all([a, b].map((socket) => once(socket, 'message')));
  for (const message of told) {
    roomsMessage(message);
    assert.deepEqual(
      [message.type, message.roomId, message.content, message.sender, message.senderId],
      ['CHAT', roomId, content, ann.username, ann.id],
    );
  }
  assert.deepEqual(told[0], told[1]);
  const reply = await say(b, roomId);
  assert.deepEqual(await once(a, 'message', ({ id }) => id === reply.id), reply);

  await leave(b, roomId);
  const left = await status(a, 'LEAVE', ben.username);
  userStatus(left);
  assert.deepEqual([left.roomId, left.userId, left.activeUsers], [roomId, ben.id, 1]);
  const unheard = await say(a, roomId);
  await enter(b, roomId);
  await barrier(a, roomId, a, b);
  assert.equal(heard(b, 'message', ({ id }) => id === unheard.id).length, 0, 'who has left hears nothing');
});

test('one must join before sending, and again after leaving', limit, async (t) => {
  const { ann, ben } = await cast();
  const room = await made(ann);
  const [a, b] = await Promise.all([client(t, 'rooms', ann), client(t, 'rooms', ben, { gateway: 1 })]);
  await enter(a, room.slug);
  for (const roomId of [room.slug, room.id]) await refuses(b, 'rooms', 'FORBIDDEN', 'chat.sendMessage', { roomId, content: unique() });
  b.emit('chat.sendMessage', { roomId: room.slug, content: unique() });
  assert.equal((await complaint(b, 'rooms', 'FORBIDDEN')).event, 'chat.sendMessage');
  await enter(b, room.slug);
  await say(b, room.slug, 'now I may');
  await leave(b, room.slug);
  await refuses(b, 'rooms', 'FORBIDDEN', 'chat.sendMessage', { roomId: room.slug, content: unique() });
  await barrier(a, room.slug, a);
  assert.deepEqual(heard(a, 'message', ({ senderId }) => senderId === ben.id).map(({ content }) => content), ['now I may']);
});

test('a room goes by its id and by its slug; everybody is told the name that they used', limit, async (t) => {
  const { ann, ben } = await cast();
  const room = await made(ann);
  const [a, b] = await Promise.all([client(t, 'rooms', ann), client(t, 'rooms', ben, { gateway: 1 })]);
  await enter(a, room.slug);
  await enter(b, room.id);
  assert.equal((await status(a, 'JOIN', ben.username)).roomId, room.slug);
  assert.equal((await status(b, 'JOIN', ben.username)).roomId, room.id);
  const { roomId: own, ...message } = await say(a, room.slug);
  const { roomId: theirs, ...same } = await once(b, 'message', ({ id }) => id === message.id);
  assert.deepEqual([own, theirs], [room.slug, room.id]);
  assert.deepEqual(same, message);
  await leave(b, room.id);
  assert.equal((await status(a, 'LEAVE', ben.username)).roomId, room.slug);
});

test('an unknown slug is a new room, once, though many come to it at the same moment', limit, async (t) => {
  const users = Object.values(await cast());
  const roomId = slug('fresh');
  const sockets = await Promise.all(users.map((user, index) => client(t, 'rooms', user, { gateway: index % 2 })));
  await Promise.all(sockets.map((socket) => enter(socket, roomId)));
  await barrier(sockets[0], roomId, ...sockets);
  const shown = await Promise.all([0, 1].map(async (gateway) => ok(await as(users[0], 'GET', `/api/rooms/${roomId}`, undefined, { gateway }), 200)));
  assert.equal(shown[0].id, shown[1].id);
  assert.equal(shown[0].slug, roomId);
  const full = (socket) => heard(socket, 'userStatus').some(({ activeUsers }) => activeUsers === users.length);
  await until(() => sockets.every(full), 'everybody hears of the last one to join');
});

test('the rooms `public` and `lobby` always exist', limit, async (t) => {
  const { ann } = await cast();
  const a = await client(t, 'rooms', ann);
  for (const roomId of ['public', 'lobby']) {
    await enter(a, roomId);
    assert.equal((await status(a, 'JOIN', ann.username)).roomId, roomId);
    assert.equal((await say(a, roomId)).roomId, roomId);
    await leave(a, roomId);
  }
});

test('the sender is who the socket is, whatever the payload says', limit, async (t) => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const [a, b] = await Promise.all([client(t, 'rooms', ann), client(t, 'rooms', ben, { gateway: 1 })]);
  await enter(b, roomId);
  await enter(a, roomId, { username: ben.username, userId: ben.id });
  assert.equal((await status(b, 'JOIN', ann.username)).userId, ann.id, 'an account joins by its own name');
  const lies = { sender: ben.username, senderId: ben.id, username: ben.username, userId: ben.id, type: 'LEAVE', id: '1', timestamp: '1970-01-01T00:00:00Z' };
  const message = await say(a, roomId, unique(), lies);
  assert.deepEqual([message.type, message.sender, message.senderId], ['CHAT', ann.username, ann.id]);
  assert.ok(Date.parse(message.timestamp) > Date.now() - 120_000);
  assert.deepEqual(await once(b, 'message', ({ id }) => id === message.id), message);
});

test('a guest goes by the name it joined with', limit, async (t) => {
  const { ann } = await cast();
  const roomId = slug();
  const username = slug('guest');
  const [a, g] = await Promise.all([client(t, 'rooms', ann), guest(t, 'rooms', { gateway: 1 })]);
  await enter(a, roomId);
  await enter(g, roomId, { username });
  const joined = await status(a, 'JOIN', username);
  userStatus(joined);
  assert.equal(joined.activeUsers, 2);
  const message = await say(g, roomId, unique(), { sender: ann.username, senderId: ann.id, username: ann.username });
  assert.deepEqual([message.sender, message.senderId], [username, joined.userId]);
  assert.deepEqual(await once(a, 'message', ({ id }) => id === message.id), message);
  g.disconnect();
  assert.equal((await status(a, 'LEAVE', username)).userId, joined.userId);
});

test('a guest without a name is given one', limit, async (t) => {
  const { ann } = await cast();
  const roomId = slug();
  const [a, g] = await Promise.all([client(t, 'rooms', ann), guest(t, 'rooms', { gateway: 1 })]);
  await enter(a, roomId);
  await enter(g, roomId);
  const joined = await once(a, 'userStatus', ({ type, userId }) => type === 'JOIN' && userId !== ann.id);
  userStatus(joined);
  assert.match(joined.username, /^[A-Za-z0-9_.-]{3,32}$/);
  assert.equal((await say(g, roomId)).sender, joined.username);
});

test('a guest may not take a registered username, in no spelling, nor one that is none', limit, async (t) => {
  const { ann } = await cast();
  const roomId = slug();
  const g = await guest(t, 'rooms');
  for (const username of [ann.username, ann.username.toUpperCase()]) {
    await refuses(g, 'rooms', 'CONFLICT', 'chat.addUser', { roomId, username });
  }
  for (const username of ['', 'ab', 'x'.repeat(33), 'with space', 'semi;colon', 7, {}]) {
    await refuses(g, 'rooms', 'VALIDATION_FAILED', 'chat.addUser', { roomId, username });
  }
  await refuses(g, 'rooms', 'FORBIDDEN', 'chat.sendMessage', { roomId: 'public', content: unique() });
  await enter(g, roomId, { username: slug('guest') });
  await say(g, roomId);
});

test('a guest sees public rooms only', limit, async (t) => {
  const { ann, ben } = await cast();
  const hidden = ok(await as(ann, 'POST', '/conversations', { participantIds: [ben.id], type: 'group', name: unique('group') }), 201);
  const g = await guest(t, 'rooms');
  await refuses(g, 'rooms', 'NOT_FOUND', 'chat.addUser', { roomId: hidden.id, username: slug('guest') });
});

test('JOIN and LEAVE are said once per user, at the first and the last of its sockets', limit, async (t) => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const at = (gateway) => ({ gateway, direct: true });
  const a = await client(t, 'rooms', ann, at(0));
  await enter(a, roomId);
  const bens = await Promise.all(state.gateways.flatMap((_, gateway) => [client(t, 'rooms', ben, at(gateway)), client(t, 'rooms', ben, at(gateway))]));
  for (const socket of bens) await enter(socket, roomId);
  await enter(bens[0], roomId);
  await barrier(bens.at(-1), roomId, a, ...bens);
  assert.deepEqual(statuses(a, 'JOIN'), [ann.username, ben.username]);

  const [last, ...others] = bens;
  for (const [index, socket] of others.entries()) {
    if (index % 2 === 0) await leave(socket, roomId);
    else socket.disconnect();
  }
  await quiet(1_000);
  await barrier(last, roomId, a, last);
  assert.deepEqual(statuses(a, 'LEAVE'), [], 'one of its sockets is still there');
  await leave(last, roomId);
  assert.equal((await status(a, 'LEAVE', ben.username)).activeUsers, 1);
  await enter(last, roomId);
  assert.equal((await status(a, 'JOIN', ben.username)).activeUsers, 2);
  await barrier(a, roomId, a, last);
  assert.deepEqual([statuses(a, 'JOIN'), statuses(a, 'LEAVE')], [[ann.username, ben.username, ben.username], [ben.username]]);
});

test('who disconnects has left; so has who is cut off and stays away', { timeout: 960_000 }, async (t) => {
  const { ann, ben, cat } = await cast();
  const roomId = slug();
  const [a, b, c] = await Promise.all([
    client(t, 'rooms', ann), client(t, 'rooms', ben, { gateway: 1 }), client(t, 'rooms', cat, { gateway: 1, ...stays }),
  ]);
  for (const socket of [a, b, c]) await enter(socket, roomId);
  b.disconnect();
  assert.equal((await status(a, 'LEAVE', ben.username)).activeUsers, 2);
  await cut(c);
  // It may still come back as what it was, so nobody is in a hurry; but it is not there for good.
  const left = await once(a, 'userStatus', ({ type, username }) => type === 'LEAVE' && username === cat.username, 180_000);
  assert.equal(left.activeUsers, 1);
  assert.equal(statuses(a, 'LEAVE').length, 2);
});

test('who comes back at once is recovered, is in its room and hears what it missed', limit, recoverably(async (t) => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const [a, b] = await Promise.all([client(t, 'rooms', ann), client(t, 'rooms', ben, { gateway: 1, ...stays })]);
  for (const socket of [a, b]) await enter(socket, roomId);
  await barrier(a, roomId, a, b);
  const { id } = b;
  await cut(b);
  const missed = await say(a, roomId);
  await recovers(b, id);
  await barrier(a, roomId, a, b);
  assert.deepEqual(heard(b, 'message', (message) => message.id === missed.id), [missed]);
  await say(b, roomId);
}));

test('a full room is a CONFLICT, until somebody leaves', limit, async (t) => {
  const { ann, ben, cat } = await cast();
  const room = await made(ann, { maxUsers: 2 });
  const [a, b, again, c] = await Promise.all([
    client(t, 'rooms', ann), client(t, 'rooms', ben, { gateway: 1 }), client(t, 'rooms', ben), client(t, 'rooms', cat, { gateway: 1 }),
  ]);
  await enter(a, room.slug);
  await enter(b, room.slug);
  await status(a, 'JOIN', ben.username);
  await refuses(c, 'rooms', 'CONFLICT', 'chat.addUser', { roomId: room.slug });
  await refuses(c, 'rooms', 'FORBIDDEN', 'chat.sendMessage', { roomId: room.slug, content: unique() });
  await enter(again, room.id);
  await leave(again, room.id);
  await leave(b, room.slug);
  await status(a, 'LEAVE', ben.username);
  await enter(c, room.slug);
  assert.equal((await status(a, 'JOIN', cat.username)).activeUsers, 2);
  await refuses(b, 'rooms', 'CONFLICT', 'chat.addUser', { roomId: room.slug });
});

test('many who come at once to a small room do not fill it beyond its size', limit, async (t) => {
  const { ann } = await cast();
  const room = await made(ann, { maxUsers: 3 });
  const guests = await Promise.all(Array.from({ length: 8 }, (_, index) => guest(t, 'rooms', { gateway: index % 2 })));
  const answers = await Promise.all(
    guests.map((socket) => socket.timeout(15_000).emitWithAck('chat.addUser', { roomId: room.slug, username: slug('crowd') })),
  );
  const refusals = answers.filter(({ success }) => !success).map(({ error }) => error.code);
  assert.deepEqual(refusals, Array(5).fill('CONFLICT'), JSON.stringify(answers));
});

test('what is malformed is refused by name', limit, async (t) => {
  const { ann } = await cast();
  const room = await made(ann);
  const a = await client(t, 'rooms', ann);
  await enter(a, room.slug);
  for (const roomId of [undefined, null, 7, '', 'Has Space', '../etc', '-dash', 'x'.repeat(65), {}]) {
    await refuses(a, 'rooms', 'VALIDATION_FAILED', 'chat.addUser', { roomId });
    await refuses(a, 'rooms', 'VALIDATION_FAILED', 'chat.sendMessage', { roomId, content: unique() });
  }
  for (const content of [undefined, null, 7, '', ' \n ', 'x'.repeat(4_001), 'nul\u0000', {}]) {
    await refuses(a, 'rooms', 'VALIDATION_FAILED', 'chat.sendMessage', { roomId: room.slug, content });
  }
  for (const event of ['chat.addUser', 'chat.sendMessage', 'chat.removeUser']) {
    for (const args of [[], [null], ['public'], [7], [[]]]) await refuses(a, 'rooms', 'VALIDATION_FAILED', event, ...args);
  }
  await refuses(a, 'rooms', 'VALIDATION_FAILED', 'joinRoom', { conversationId: room.id });
  await refuses(a, 'rooms', 'NOT_FOUND', 'chat.addUser', { roomId: nobody() });
  await say(a, room.slug);
});

test('one socket may be in several rooms', limit, async (t) => {
  const { ann, ben } = await cast();
  const [one, two] = [slug(), slug()];
  const [a, b] = await Promise.all([client(t, 'rooms', ann), client(t, 'rooms', ben, { gateway: 1 })]);
  for (const socket of [a, b]) for (const roomId of [one, two]) await enter(socket, roomId);
  const messages = [await say(a, one), await say(b, two), await say(a, two)];
  for (const socket of [a, b]) await barrier(b, two, socket);
  await leave(a, one);
  await say(a, two);
  await refuses(a, 'rooms', 'FORBIDDEN', 'chat.sendMessage', { roomId: one, content: unique() });
  for (const message of messages) assert.deepEqual(heard(b, 'message', ({ id }) => id === message.id), [message]);
});

test('a client may come to /chat as well, and may name its dialect', limit, async (t) => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const a = await connect(t, ann);
  const b = await opened(dial(t, { namespace: '/', auth: { token: ben.token, dialect: 'rooms' }, gateway: 1 }));
  await enter(a, roomId);
  await enter(b, roomId);
  const message = await say(a, roomId);
  assert.deepEqual(await once(b, 'message', ({ id }) => id === message.id), message);
});
