// Source 002, user to user: its connection methods, its events, its client and its React component, over two gateways.

import assert from 'node:assert/strict';
import test from 'node:test';
import { cut, recoverably, recovers, stays, until } from './support/away.js';
import { state } from './support/cluster.js';
import { client, complaint, directMessage, refuses, sendTo } from './support/dialects.js';
import { documentedIo, quietConsole } from './support/documented.js';
import { chatComponent } from './support/documents/direct-component.js';
import { nobody, people, register, unique } from './support/people.js';
import { createElement as h, mount } from './support/react.js';
import { connect, dial, heard, once, opened, received, refused, succeed } from './support/socket.js';

const cast = people('ann', 'ben', 'cat');
const limit = { timeout: 360_000 };

const saying = (content) => (message) => message.content === content;

/** Two people who have never met, and a socket of each on every gateway, whatever the door of this run. */
async function strangers(t) {
  const [john, jane] = await Promise.all([register('john'), register('jane')]);
  const everywhere = (user) => Promise.all(state.gateways.map((_, gateway) => client(t, 'direct', user, { gateway, direct: true })));
  const [johns, janes] = await Promise.all([everywhere(john), everywhere(jane)]);
  return { john, jane, johns, janes };
}

/** The conversation of `socket`'s user with `other`, as `get_messages` tells it. */
async function history(socket, other, more = {}) {
  socket.emit('get_messages', { otherUserId: other.id, ...more });
  const messages = await once(socket, 'messages_list');
  assert.ok(Array.isArray(messages), JSON.stringify(messages));
  messages.forEach(directMessage);
  const ids = messages.map(({ id }) => id);
  assert.deepEqual(ids, [...ids].sort((a, b) => a - b), 'oldest first');
  return messages;
}

test('both connection methods: auth.token and the Authorization header', limit, async (t) => {
  const { ann, ben } = await cast();
  const io = documentedIo(t);
  const token = ann.token;
  const sockets = [
    io('http://localhost:3000', {
      auth: {
        token
      }
    }),
    io('http://localhost:3000', {
      extraHeaders: {
        authorization: `Bearer ${token}`
      }
    }),
  ];
  for (const socket of sockets) {
    const content = unique();
    await sendTo(socket, ben, content);
    const message = await once(socket, 'receive_message', saying(content));
    assert.equal(message.senderId, ann.id, 'the user is the token’s `sub`');
  }
});

test('an invalid token connects nobody', limit, async (t) => {
  for (const options of [{ auth: { token: 'your-jwt-token' } }, { extraHeaders: { authorization: 'Bearer your-jwt-token' } }]) {
    const error = await refused(dial(t, { namespace: '/', ...options }));
    assert.equal(error.message, 'Unauthorized');
    assert.deepEqual(error.data, { code: 'UNAUTHORIZED' });
  }
});

test('send_message between strangers: answered with a number, received on every socket of both, joined nowhere', limit, async (t) => {
  const { john, jane, johns, janes } = await strangers(t);
  const content = 'Hello, how are you?';
  const messageId = await sendTo(johns[0], jane, content);
  for (const socket of [...johns, ...janes]) {
    const message = await once(socket, 'receive_message');
    directMessage(message);
    const { createdAt, ...rest } = message;
    assert.ok(Math.abs(Date.parse(createdAt) - Date.now()) < 120_000, createdAt);
    assert.deepEqual(rest, {
      id: messageId, content, senderId: john.id, senderName: john.name, receiverId: jane.id, receiverName: jane.name,
    });
  }
  const reply = 'Fine, and you?';
  const replyId = await sendTo(janes.at(-1), john, reply);
  for (const socket of [...johns, ...janes]) {
    const { createdAt: _, ...message } = await once(socket, 'receive_message', saying(reply));
    assert.deepEqual(message, {
      id: replyId, content: reply, senderId: jane.id, senderName: jane.name, receiverId: john.id, receiverName: john.name,
    });
    assert.deepEqual(heard(socket, 'receive_message').map(({ id }) => id), [messageId, replyId], 'each once');
  }
});

test('two strangers who write to each other at the same moment hear both messages once, in one order', limit, async (t) => {
  const { john, jane, johns, janes } = await strangers(t);
  const sent = await Promise.all([sendTo(johns[0], jane, 'you first'), sendTo(janes.at(-1), john, 'no, you')]);
  const last = await sendTo(johns.at(-1), jane, 'well');
  const all = [...johns, ...janes];
  await Promise.all(all.map((socket) => once(socket, 'receive_message', saying('well'))));
  const order = heard(all[0], 'receive_message').map(({ id }) => id);
  assert.deepEqual([...order].sort((a, b) => a - b), [...sent, last].sort((a, b) => a - b));
  for (const socket of all) assert.deepEqual(heard(socket, 'receive_message').map(({ id }) => id), order);
});

test('first contact reaches a receiver who connected before, and nobody else', limit, async (t) => {
  const [john, jane] = await Promise.all([register('john'), register('jane')]);
  const { cat } = await cast();
  const [receiver, bystander, sender] = await Promise.all([
    client(t, 'direct', jane, { gateway: 1 }), client(t, 'direct', cat, { gateway: 1 }), client(t, 'direct', john),
  ]);
  const content = unique('first contact');
  await sendTo(sender, jane, content);
  assert.equal((await once(receiver, 'receive_message', saying(content))).senderId, john.id);
  const note = unique('note');
  await sendTo(sender, cat, note);
  await once(bystander, 'receive_message', saying(note));
  assert.equal(heard(bystander, 'receive_message', saying(content)).length, 0);
});

test('a sender who is connected once hears its messages in the order it sent them', limit, async (t) => {
  const { ann, ben } = await cast();
  const [a, b] = await Promise.all([client(t, 'direct', ann), client(t, 'direct', ben, { gateway: 1 })]);
  const prefix = unique('in order');
  const contents = Array.from({ length: 50 }, (_, index) => `${prefix} ${index}`);
  for (const content of contents) a.emit('send_message', { receiverId: ben.id, content });
  for (const socket of [a, b]) {
    await once(socket, 'receive_message', saying(contents.at(-1)));
    const own = heard(socket, 'receive_message', (message) => message.content.startsWith(prefix));
    assert.deepEqual(own.map(({ content }) => content), contents);
  }
});

test('get_messages tells all of it, oldest first, to the one who asked; between strangers it is empty', limit, async (t) => {
  const { john, jane, johns, janes } = await strangers(t);
  assert.deepEqual(await history(johns[0], jane), []);
  const sent = [];
  for (let index = 0; index < 6; index += 1) {
    const [socket, other] = index % 2 === 0 ? [johns[0], jane] : [janes.at(-1), john];
    sent.push(await sendTo(socket, other, `message ${index}`));
  }
  for (const [socket, other] of [[johns.at(-1), jane], [janes[0], john]]) {
    const messages = await history(socket, other);
    assert.deepEqual(messages.map(({ id, content }) => [id, content]), sent.map((id, index) => [id, `message ${index}`]));
    for (const [index, message] of messages.entries()) {
      const [from, to] = index % 2 === 0 ? [john, jane] : [jane, john];
      assert.deepEqual(
        [message.senderId, message.senderName, message.receiverId, message.receiverName],
        [from.id, from.name, to.id, to.name],
      );
    }
  }
  assert.equal(heard(janes.at(-1), 'messages_list').length, 0, 'nobody else is told');
  assert.deepEqual(heard(johns[0], 'receive_message').map((message) => message.id), sent, 'what was received live is the same');
});

test('get_messages is paged by `before` where a limit is given', limit, async (t) => {
  const [john, jane] = await Promise.all([register('john'), register('jane')]);
  const [sender, reader] = await Promise.all([client(t, 'direct', john), client(t, 'direct', jane, { gateway: 1 })]);
  const sent = [];
  for (let index = 0; index < 25; index += 1) sent.push(await sendTo(sender, jane, `page me ${index}`));
  const pages = [];
  for (let before; pages.flat().length < sent.length; before = pages[0][0]) {
    const page = (await history(reader, john, { limit: 10, before })).map(({ id }) => id);
    assert.ok(page.length > 0 && page.length <= 10, `${page.length} of a page of 10`);
    pages.unshift(page);
  }
  assert.deepEqual(pages.map((page) => page.length), [5, 10, 10]);
  assert.deepEqual(pages.flat(), sent, 'nothing twice, nothing left out');
  assert.deepEqual(await history(reader, john, { limit: 10, before: sent[0] }), []);
});

test('what cannot be sent is refused with an error, to the sender alone', limit, async (t) => {
  const { ann, ben } = await cast();
  const [a, b] = await Promise.all([client(t, 'direct', ann), client(t, 'direct', ben, { gateway: 1 })]);
  const content = unique('refused');
  await refuses(a, 'direct', 'VALIDATION_FAILED', 'send_message', { receiverId: ann.id, content });
  await refuses(a, 'direct', 'NOT_FOUND', 'send_message', { receiverId: nobody(), content });
  for (const payload of [
    undefined, null, 'text', 7, [], {}, { content }, { receiverId: ben.id }, { receiverId: 'user-uuid', content }, { receiverId: 7, content },
    { receiverId: ben.id, content: '' }, { receiverId: ben.id, content: ' \n\t ' }, { receiverId: ben.id, content: 7 },
    { receiverId: ben.id, content: 'x'.repeat(4_001) }, { receiverId: ben.id, content: 'nul\u0000' },
  ]) {
    await refuses(a, 'direct', 'VALIDATION_FAILED', 'send_message', ...(payload === undefined ? [] : [payload]));
  }
  for (const payload of [{}, { otherUserId: 'user-uuid' }, { otherUserId: 7 }, { otherUserId: ben.id, limit: 0 }, { otherUserId: ben.id, before: 'x' }]) {
    await refuses(a, 'direct', 'VALIDATION_FAILED', 'get_messages', payload);
  }
  await refuses(a, 'direct', 'VALIDATION_FAILED', 'joinRoom', { conversationId: nobody() });
  const last = unique('fine');
  await sendTo(a, ben, last);
  await once(b, 'receive_message', saying(last));
  assert.equal(heard(b, 'receive_message', saying(content)).length, 0);
  assert.equal(heard(b, 'error').length, 0);
});

test('an error is told without being asked for an acknowledgement', limit, async (t) => {
  const { ann } = await cast();
  const a = await client(t, 'direct', ann);
  a.emit('send_message', { receiverId: 'recipient-user-id', content: 'Hello!' });
  const error = await complaint(a, 'direct', 'VALIDATION_FAILED');
  assert.equal(typeof error.message, 'string');
});

test('the client of "Usage Examples"', limit, async (t) => {
  const [user, other] = await Promise.all([register('user'), register('other')]);
  const [token, recipientUserId, otherUserId] = [user.token, other.id, other.id];
  const [io, console] = [documentedIo(t), quietConsole()];
  const theirs = await client(t, 'direct', other, { gateway: 1 });

  // Connect with authentication
  const socket = io('http://localhost:3000', {
    auth: {
      token
    }
  });

  // Connection event
  socket.on('connect', () => {
    console.log('Connected to chat server');
  });

  // Send a message
  socket.emit('send_message', {
    receiverId: recipientUserId,
    content: 'Hello!'
  });

  // Listen for incoming messages
  socket.on('receive_message', (message) => {
    console.log('New message:', message);
  });

  // Get conversation history
  socket.emit('get_messages', {
    otherUserId
  });

  socket.on('messages_list', (messages) => {
    console.log('Conversation history:', messages);
  });

  // Handle errors
  socket.on('error', (error) => {
    console.error('Error:', error.message);
  });

  // Disconnect
  socket.on('disconnect', () => {
    console.log('Disconnected from chat server');
  });

  const said = (title) => console.said.filter(([first]) => first === title).map(([, payload]) => payload);
  await until(() => said('New message:').length > 0 && said('Conversation history:').length > 0, 'the message and the history');
  const [message] = said('New message:');
  directMessage(message);
  assert.deepEqual([message.content, message.senderId, message.receiverId], ['Hello!', user.id, other.id]);
  assert.equal((await once(theirs, 'receive_message')).id, message.id);
  // Asked for right behind the message, without waiting: whether it is in already is nobody's promise.
  for (const entry of said('Conversation history:')[0]) assert.deepEqual(entry, message);
  assert.deepEqual(said('Error:'), []);
  socket.disconnect();
  await until(() => said('Disconnected from chat server').length === 1, 'the disconnect');
  assert.equal(said('Connected to chat server').length, 1);
});

test('the React component: history, then what is sent and received, and another conversation', limit, async (t) => {
  const [user, other, third] = await Promise.all([register('user'), register('other'), register('third')]);
  const theirs = await client(t, 'direct', other, { gateway: 1 });
  await sendTo(theirs, user, 'from before');

  const io = documentedIo(t);
  const ChatComponent = chatComponent({ io });
  const view = mount(t, h(ChatComponent, { token: user.token, otherUserId: other.id }));
  const line = (sender, content) => `${sender.name}: ${content}`;
  const shows = (...lines) => until(() => view.text() === `${lines.join('')}Send`, `${JSON.stringify(lines)}, at last ${JSON.stringify(view.text())}`);
  await shows(line(other, 'from before'));

  const write = async (content, send) => {
    view.find('input').props.onChange({ target: { value: content } });
    await view.settle();
    assert.equal(view.find('input').props.value, content);
    send();
    await view.settle();
    assert.equal(view.find('input').props.value, '', 'the input is empty again');
  };
  await write('with the button', () => view.find('button').props.onClick());
  await shows(line(other, 'from before'), line(user, 'with the button'));
  assert.equal((await once(theirs, 'receive_message', saying('with the button'))).senderId, user.id);

  await sendTo(theirs, user, 'an answer');
  await shows(line(other, 'from before'), line(user, 'with the button'), line(other, 'an answer'));
  await write('with the key', () => view.find('input').props.onKeyPress({ key: 'Enter' }));
  await shows(line(other, 'from before'), line(user, 'with the button'), line(other, 'an answer'), line(user, 'with the key'));

  view.find('input').props.onChange({ target: { value: '   ' } });
  await view.settle();
  view.find('button').props.onClick();
  view.unmount();
  assert.equal(io.sockets[0].connected, false, 'the component closes its socket');

  const again = mount(t, h(ChatComponent, { token: user.token, otherUserId: third.id }));
  await until(() => io.sockets[1].connected, 'the second connection');
  await until(() => heard(io.sockets[1], 'messages_list').length > 0, 'the second history');
  assert.equal(again.text(), 'Send', 'nothing was said to the third one');
});

test('who was away and comes back has missed nothing, on any gateway', limit, recoverably(async (t) => {
  const { john, jane, johns } = await strangers(t);
  const b = await client(t, 'direct', jane, stays);
  const sent = [await sendTo(johns[0], jane, 'before')];
  await once(b, 'receive_message');
  for (const gateway of [1, 0]) {
    const { id } = b;
    await cut(b);
    for (let index = 0; index < 5; index += 1) sent.push(await sendTo(johns[index % 2], jane, `missed ${gateway} ${index}`));
    await recovers(b, id, undefined, 'a client of source 002');
    sent.push(await sendTo(johns[gateway], jane, 'after'));
    await until(() => heard(b, 'receive_message').some((message) => message.id === sent.at(-1)), 'the last message');
    assert.deepEqual(heard(b, 'receive_message').map((message) => message.id), sent, 'each once, in order');
  }
  assert.deepEqual((await history(b, john)).map((message) => message.id), sent);
}));

test('a first message that came while one was away is among what was missed', limit, recoverably(async (t) => {
  const [john, jane] = await Promise.all([register('john'), register('jane')]);
  const { ann } = await cast();
  const [a, sender] = await Promise.all([client(t, 'direct', ann), client(t, 'direct', john)]);
  const b = await client(t, 'direct', jane, { ...stays, gateway: 1 });
  await sendTo(a, jane, 'so that there is something to come back to');
  await once(b, 'receive_message');
  const { id } = b;
  await cut(b);
  const missed = await sendTo(sender, jane, 'we have not met');
  await recovers(b, id);
  await until(() => heard(b, 'receive_message').some((message) => message.id === missed), 'the first message');
  assert.equal(heard(b, 'receive_message', (message) => message.id === missed).length, 1);
}));

test('who is cut off right after a first contact hears it once', limit, recoverably(async (t) => {
  const [john, ...receivers] = await Promise.all(Array.from({ length: 11 }, (_, index) => register(index === 0 ? 'john' : 'jane')));
  const [sender] = await Promise.all(state.gateways.map((_, gateway) => client(t, 'direct', john, { gateway, direct: true })));
  for (const [index, jane] of receivers.entries()) {
    // The others are told as well: whose message comes first to a gateway, and by which way, is a matter of chance.
    await Promise.all(state.gateways.map((_, gateway) => client(t, 'direct', jane, { gateway, direct: true })));
    const b = await client(t, 'direct', jane, { gateway: index % 2, ...stays });
    const { id } = b;
    const sent = [await sendTo(sender, jane, 'first contact')];
    await once(b, 'receive_message');
    await cut(b);
    sent.push(await sendTo(sender, jane, 'missed'));
    await recovers(b, id);
    sent.push(await sendTo(sender, jane, 'after'));
    await once(b, 'receive_message', saying('after'));
    assert.deepEqual(heard(b, 'receive_message').map((message) => message.id), sent, JSON.stringify(received(b)));
  }
}));

test('a `direct` client may come to /chat as well, if it says so or speaks first', limit, async (t) => {
  const { ann, ben } = await cast();
  const named = await opened(dial(t, { auth: { token: ben.token, dialect: 'direct' }, gateway: 1 }));
  const first = await connect(t, ann);
  const content = unique();
  const answer = await succeed(first, 'send_message', { receiverId: ben.id, content });
  assert.equal((await once(named, 'receive_message', saying(content))).id, answer.messageId);
  assert.equal((await once(first, 'receive_message', saying(content))).id, answer.messageId);
});
