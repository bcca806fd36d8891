// Source 004, namespaced events on /chat: its event reference, its usage examples, its example test script, over two gateways.

import assert from 'node:assert/strict';
import test from 'node:test';
import { cut, recoverably, recovers, stays, until } from './support/away.js';
import { chatRoom, complaint, guest, namespacedUser, notification, refuses } from './support/dialects.js';
import { documentedIo, quietConsole } from './support/documented.js';
import { barrier, come, enter, logIn, publicRoom, say, saying } from './support/namespaced.js';
import { nobody, people, register, unique } from './support/people.js';
import { dial, heard, once, opened, received, succeed } from './support/socket.js';

const cast = people('ann', 'ben', 'cat');
const limit = { timeout: 360_000 };

test('without a room a message is for the lobby, where everybody is from the login on', limit, async (t) => {
  const { ann, ben, cat } = await cast();
  const [a, b, c] = await Promise.all([come(t, ann), guest(t, 'namespaced', { gateway: 1 }), come(t, cat)]);
  await logIn(a, ann);
  await logIn(b, ben);
  const message = await say(a, undefined);
  namespacedUser(message.sender, ann);
  assert.ok(Math.abs(Date.parse(message.timestamp) - Date.now()) < 120_000);
  assert.deepEqual(await once(b, 'chat:message', saying(message.content)), message);
  const reply = await say(b, undefined);
  assert.deepEqual(await once(a, 'chat:message', saying(reply.content)), reply);
  // Its token came with the connection: the first word that it says shows that it speaks this dialect.
  const first = await say(c, undefined);
  for (const socket of [a, b]) assert.deepEqual(await once(socket, 'chat:message', saying(first.content)), first);
  const named = await say(c, 'lobby');
  for (const socket of [a, b]) assert.equal((await once(socket, 'chat:message', saying(named.content))).id, named.id);
});

test('a client that names the dialect hears the lobby without having spoken', limit, async (t) => {
  const { ann, ben } = await cast();
  const quiet = await opened(dial(t, { auth: { token: ann.token, dialect: 'namespaced' }, gateway: 1 }));
  const speaker = await come(t, ben);
  await logIn(speaker, ben);
  const content = unique();
  await until(async () => {
    await say(speaker, undefined, content);
    return heard(quiet, 'chat:message', saying(content)).length > 0;
  }, 'the lobby is heard');
});

test('chat:room:create without participants makes a public room', limit, async (t) => {
  const { ann, ben } = await cast();
  const [a, b] = await Promise.all([come(t, ann), come(t, ben, { gateway: 1 })]);
  const name = unique('Support Room');
  const room = await publicRoom(a, name);
  assert.equal(room.name, name);
  const [atA, atB] = [await enter(a, room.id), await enter(b, room.id)];
  assert.deepEqual([atA.id, atB.id, atA.name, atB.name], [room.id, room.id, name, name]);
  const message = await say(a, room.id, 'Hello, world!');
  assert.deepEqual([message.roomId, message.content], [room.id, 'Hello, world!']);
  namespacedUser(message.sender, ann);
  assert.deepEqual(await once(b, 'chat:message', ({ id }) => id === message.id), message);
  const reply = await say(b, room.id);
  assert.deepEqual(await once(a, 'chat:message', ({ id }) => id === reply.id), reply);
});

test('chat:room:create with participants tells each of them, and nobody else may join', limit, async (t) => {
  const { ann, ben, cat } = await cast();
  const [a, b, elsewhere, c] = await Promise.all([come(t, ann), come(t, ben, { gateway: 1 }), come(t, ben), come(t, cat, { gateway: 1 })]);
  for (const [socket, user] of [[a, ann], [b, ben], [elsewhere, ben], [c, cat]]) await logIn(socket, user);
  const name = unique('Support Room');
  await succeed(a, 'chat:room:create', { name, participants: [ben.id] });
  const created = await Promise.all([a, b, elsewhere].map((socket) => once(socket, 'chat:room:created', (room) => room.name === name)));
  const [{ id: roomId }] = created;
  for (const room of created) {
    chatRoom(room);
    assert.deepEqual([room.id, room.name], [roomId, name]);
    assert.deepEqual(room.participants.map(({ userId }) => userId).sort(), [ann.id, ben.id].sort());
    for (const user of room.participants) namespacedUser(user, user.userId === ann.id ? ann : ben);
  }
  await refuses(c, 'namespaced', 'NOT_FOUND', 'chat:room:join', roomId);
  await refuses(c, 'namespaced', 'NOT_FOUND', 'chat:message', { content: unique(), roomId });
  for (const socket of [a, b, elsewhere]) assert.equal((await enter(socket, roomId)).id, roomId);
  const message = await say(b, roomId);
  for (const socket of [a, elsewhere]) assert.deepEqual(await once(socket, 'chat:message', ({ id }) => id === message.id), message);
  await say(c, undefined);
  assert.equal(heard(c, 'chat:room:created', (room) => room.id === roomId).length, 0);
  assert.equal(heard(c, 'chat:message', ({ id }) => id === message.id).length, 0);
});

test('chat:room:leave: the room’s id comes back, and nothing more from the room', limit, recoverably(async (t) => {
  const { ann, ben } = await cast();
  const [a, b] = await Promise.all([come(t, ann), come(t, ben, { gateway: 1, ...stays })]);
  const room = await publicRoom(a);
  await enter(a, room.id);
  await enter(b, room.id);
  await barrier(a, room.id, a, b);
  await succeed(b, 'chat:room:leave', room.id);
  assert.equal(await once(b, 'chat:room:left'), room.id);
  const unheard = await say(a, room.id);

  // What ends in a string is an offset to the client. This one is none: the client would not come back as what it was.
  const { args } = received(b).find(({ event }) => event === 'chat:room:left');
  assert.equal(args[0], room.id);
  const { id } = b;
  await cut(b);
  await recovers(b, id, undefined, 'after chat:room:left');

  await enter(b, room.id);
  await barrier(a, room.id, a, b);
  assert.equal(heard(b, 'chat:message', (message) => message.id === unheard.id).length, 0);
}));

test('who comes back is in its rooms and the lobby, and heard what it missed', limit, recoverably(async (t) => {
  const { ann, ben } = await cast();
  const a = await come(t, ann);
  const b = await come(t, ben, { gateway: 1, ...stays });
  await logIn(b, ben);
  const room = await publicRoom(a);
  await enter(a, room.id);
  await enter(b, room.id);
  await barrier(a, room.id, a, b);
  const { id } = b;
  await cut(b);
  const missed = [await say(a, room.id), await say(a, undefined), await say(a, room.id)];
  await recovers(b, id);
  await barrier(a, room.id, a, b);
  const ids = missed.map((message) => message.id);
  assert.deepEqual(heard(b, 'chat:message', (message) => ids.includes(message.id)), missed);
  await say(b, undefined);
}));

test('what is malformed or not there is a system:error', limit, async (t) => {
  const { ann } = await cast();
  const a = await come(t, ann);
  await logIn(a, ann);
  for (const payload of [null, 'text', 7, [], {}, { content: '' }, { content: ' \n ' }, { content: 7 }, { content: 'x'.repeat(4_001) }, { content: 'x', roomId: 7 }, { content: 'x', roomId: '' }]) {
    await refuses(a, 'namespaced', 'VALIDATION_FAILED', 'chat:message', payload);
  }
  for (const payload of [null, {}, { name: '' }, { name: 7 }, { name: 'x'.repeat(101) }, { name: 'x', participants: 'user1' }, { name: 'x', participants: ['user1', 'user2'] }]) {
    await refuses(a, 'namespaced', 'VALIDATION_FAILED', 'chat:room:create', payload);
  }
  await refuses(a, 'namespaced', 'NOT_FOUND', 'chat:room:create', { name: 'x', participants: [nobody()] });
  for (const event of ['chat:room:join', 'chat:room:leave']) {
    for (const args of [[], [null], [7], [''], ['Not A Room'], [{}]]) await refuses(a, 'namespaced', 'VALIDATION_FAILED', event, ...args);
  }
  await refuses(a, 'namespaced', 'NOT_FOUND', 'chat:room:join', nobody());
  await refuses(a, 'namespaced', 'NOT_FOUND', 'chat:message', { content: unique(), roomId: nobody() });
  await refuses(a, 'namespaced', 'VALIDATION_FAILED', 'sendMessage', { conversationId: nobody(), content: 'x' });
  a.emit('chat:message', {});
  await complaint(a, 'namespaced', 'VALIDATION_FAILED');
  await say(a, undefined);
});

test('the "Example test script"', limit, async (t) => {
  const user = await register('user');
  const [io, console] = [documentedIo(t), quietConsole()];

  const socket = io('http://localhost:3000/chat', {
    auth: { token: user.token }
  });

  socket.on('connect', () => {
    console.log('Connected to WebSocket server');

    // Test authentication
    socket.emit('auth:login', { token: user.token, userType: 'user' });
  });

  socket.on('system:notification', (notification) => {
    console.log('Notification:', notification);
  });

  socket.on('chat:message', (message) => {
    console.log('Received message:', message);
  });

  const said = (title) => console.said.filter(([first]) => first === title);
  await until(() => said('Notification:').length > 0, 'the notification');
  assert.equal(said('Connected to WebSocket server').length, 1);
  notification(said('Notification:')[0][1]);
  const other = await come(t, (await cast()).ann, { gateway: 1 });
  const message = await say(other, undefined);
  await until(() => said('Received message:').some(([, { id }]) => id === message.id), 'a message of the lobby');
});

test('the usage examples, in their order', limit, async (t) => {
  const [user, user1, user2] = await Promise.all([register('user'), register('user1'), register('user2')]);
  const [io, console] = [documentedIo(t), quietConsole()];
  const others = await Promise.all([user1, user2].map((other) => come(t, other, { gateway: 1 })));
  for (const [index, socket] of others.entries()) await logIn(socket, [user1, user2][index]);

  // Connect to main chat namespace
  const chatSocket = io('http://localhost:3000/chat', {
    auth: {
      token: user.token
    }
  });

  // Authenticate with the WebSocket server
  chatSocket.emit('auth:login', {
    token: user.token,
    userType: 'user'
  });

  // Listen for authentication response
  chatSocket.on('system:notification', (notification) => {
    console.log('Auth result:', notification);
  });

  // Listen for incoming messages
  chatSocket.on('chat:message', (message) => {
    console.log('New message:', message);
  });

  chatSocket.on('system:error', (error) => {
    console.error('WebSocket error:', error.message, error.code);
  });

  // Create a chat room
  const name = unique('Support Room');
  chatSocket.emit('chat:room:create', {
    name,
    participants: [user1.id, user2.id]
  });

  const { id: roomId } = await once(chatSocket, 'chat:room:created', (room) => room.name === name);
  for (const socket of others) {
    await once(socket, 'chat:room:created', (room) => room.id === roomId);
    await enter(socket, roomId);
  }

  // Join a room
  chatSocket.emit('chat:room:join', roomId);

  // Send a message
  chatSocket.emit('chat:message', {
    content: 'Hello, world!',
    roomId // optional
  });

  // Leave a room
  chatSocket.emit('chat:room:leave', roomId);

  assert.equal(await once(chatSocket, 'chat:room:left'), roomId);
  for (const socket of others) {
    const message = await once(socket, 'chat:message', saying('Hello, world!'));
    assert.deepEqual([message.roomId, message.sender.userId], [roomId, user.id]);
  }
  const said = (title) => console.said.filter(([first]) => first === title).map(([, ...rest]) => rest);
  notification(said('Auth result:')[0][0]);
  assert.deepEqual(said('WebSocket error:'), []);
});

test('status:update and status:typing', limit, async (t) => {
  const { ann, ben } = await cast();
  const [a, b] = await Promise.all([come(t, ann), come(t, ben, { gateway: 1 })]);
  for (const [socket, user] of [[a, ann], [b, ben]]) await logIn(socket, user);
  const name = unique('Support Room');
  await succeed(a, 'chat:room:create', { name, participants: [ben.id] });
  const { id: roomId } = await once(b, 'chat:room:created', (room) => room.name === name);
  await enter(a, roomId);
  await enter(b, roomId);
  for (const isTyping of [true, false]) {
    await succeed(a, 'status:typing', { roomId, isTyping });
    assert.deepEqual(await once(b, 'status:typing', (told) => told.isTyping === isTyping), { userId: ann.id, roomId, isTyping });
  }
  for (const isOnline of [false, true]) {
    const event = isOnline ? 'status:online' : 'status:offline';
    const tell = () => succeed(a, 'status:update', { isOnline });
    await tell();
    // Who has only just come is not told what was so before it was shown who is online: then it is said again.
    const again = setInterval(() => tell().catch(() => {}), 1_000);
    try {
      const { lastSeen: _, ...told } = await once(b, event, ({ userId }) => userId === ann.id);
      assert.deepEqual(told, { userId: ann.id, isOnline, userType: 'user' });
    } finally {
      clearInterval(again);
    }
  }
});
