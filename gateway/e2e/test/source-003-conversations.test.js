// Source 003, conversations on /chat: its socket context, its hook and its component run as they stand, its events and its script.

import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from './support/away.js';
import { barrier, group, join, say } from './support/chat.js';
import { client } from './support/dialects.js';
import { documentedIo, quietConsole } from './support/documented.js';
import { chatRoom } from './support/documents/chat-room.js';
import { socketContext } from './support/documents/socket-context.js';
import { chatHook } from './support/documents/use-chat.js';
import { people, register, unique } from './support/people.js';
import { createElement as h, mount, useState } from './support/react.js';
import { keys, conversation, message as messageShape, time } from './support/shapes.js';
import { connect, heard, once, received, succeed } from './support/socket.js';

const cast = people('ann', 'ben', 'cat');
const limit = { timeout: 360_000 };

/** A browser in which `user` is logged in and looks at `conversationId`: what the page shows, and what its hook gave last. */
function browser(t, user, conversationId) {
  const io = documentedIo(t);
  const console = quietConsole();
  const localStorage = { getItem: (key) => (key === 'token' ? user?.token ?? null : null) };
  const { useSocket, SocketProvider } = socketContext({ io, localStorage, console });
  const useChat = chatHook({ useSocket });
  const page = { io, console };
  const ChatRoom = chatRoom({
    useChat: (id) => {
      page.chat = useChat(id);
      return page.chat;
    },
  });
  const App = () => {
    const [shown, show] = useState(conversationId);
    page.turn = show;
    return h(ChatRoom, { conversationId: shown, currentUserId: user?.id });
  };
  const view = mount(t, h(SocketProvider, null, h(App)));
  return Object.assign(page, view, {
    /** What a person does: types, and presses Enter. */
    async write(content) {
      view.find('input').props.onChange({ target: { value: content } });
      await view.settle();
      assert.equal(view.find('button').props.disabled, false, 'the button may be pressed');
      view.find('form').props.onSubmit({ preventDefault() {} });
      await view.settle();
      assert.equal(view.find('input').props.value, '');
    },
    contents: () => page.chat.messages.map(({ content }) => content),
    joined: () => until(() => page.chat.isConnected, 'the page is connected'),
  });
}

/** ann and ben in a conversation, ann at a browser, ben with a plain socket that has joined. */
async function scene(t) {
  const { ann, ben, cat } = await cast();
  const conversationId = await group(ann, [ben, cat]);
  const b = await connect(t, ben, { gateway: 1 });
  await join(conversationId, b);
  const page = browser(t, ann, conversationId);
  await page.joined();
  return { ann, ben, cat, b, page, conversationId };
}

test('the page connects with the token of localStorage, and not without one', limit, async (t) => {
  const { page } = await scene(t);
  assert.ok(page.text().includes('Connected'), page.text());
  const [[title, id]] = page.console.said;
  assert.deepEqual([title, id], ['Socket connected:', page.io.sockets[0].id]);
  const anonymous = browser(t, undefined, 'test-conv-id');
  assert.equal(anonymous.io.sockets.length, 0);
  assert.ok(anonymous.text().includes('Disconnected'));
  page.unmount();
  assert.equal(page.io.sockets[0].connected, false, 'taken down with the page');
});

test('a page with a token that is none is told so', limit, async (t) => {
  const page = browser(t, { id: 'x', token: 'your-jwt-token' }, 'test-conv-id');
  await until(() => page.console.said.length > 0, 'an error');
  const [[title, error]] = page.console.said;
  assert.equal(title, 'Socket connection error:');
  assert.equal(error.message, 'Unauthorized');
  assert.ok(page.text().includes('Disconnected'));
});

test('two pages write to each other; each sees every message once, in one order', limit, async (t) => {
  const { ann, ben } = await cast();
  const conversationId = await group(ann, [ben]);
  const pages = [browser(t, ann, conversationId), browser(t, ben, conversationId)];
  await Promise.all(pages.map((page) => page.joined()));
  // The hook joins without waiting for an answer; a page's own message comes back to it only once it has joined.
  for (const [index, page] of pages.entries()) {
    await page.write(`hello from ${index}`);
    await until(() => page.contents().includes(`hello from ${index}`), 'its own message');
  }
  await Promise.all([0, 1, 2, 3].map((index) => pages[index % 2].chat.sendMessage(`  at once ${index} `)));
  // The second page may have joined before the first one said hello, or after.
  const hears = (page, index) => page.contents().some((content) => content.includes(`at once ${index}`));
  const all = () => pages.every((page) => [0, 1, 2, 3].every((index) => hears(page, index)));
  await until(all, 'all messages');
  assert.deepEqual(pages[0].contents().slice(-5), pages[1].contents().slice(-5));
  assert.equal(new Set(pages[0].contents()).size, 6);
  for (const page of pages) {
    page.chat.messages.forEach((message) => messageShape(message, { tempId: message.tempId !== undefined }));
    const me = page === pages[0] ? ann : ben;
    for (const { sender } of page.chat.messages) assert.equal(sender.name, sender._id === me.id ? me.name : [ann, ben].find((user) => user !== me).name);
    assert.ok(page.text().includes('at once 3'), page.text());
  }
});

test('markAsRead: the other page shows two ticks', limit, async (t) => {
  const { ben, b, page, conversationId } = await scene(t);
  await page.write('have you seen this?');
  const { message } = await once(b, 'newMessage', (event) => event.message.content === 'have you seen this?');
  await until(() => page.contents().length === 1, 'the message');
  assert.ok(!page.text().includes('✓✓'), page.text());
  b.emit('markAsRead', { conversationId, messageId: message._id });
  await until(() => page.text().includes('✓✓'), 'the ticks');
  const [receipt] = heard(page.io.sockets[0], 'messageRead');
  keys(receipt, ['messageId', 'conversationId', 'readBy', 'readAt']);
  assert.deepEqual([receipt.messageId, receipt.conversationId, receipt.readBy], [message._id, conversationId, ben.id]);
  time(receipt.readAt, 'readAt');
});

test('the hook’s markAsRead is heard by the others', limit, async (t) => {
  const { ann, b, page, conversationId } = await scene(t);
  await page.write('first');
  await until(() => page.contents().length === 1, 'joined');
  const messageId = await say(b, conversationId, 'read me');
  await until(() => page.contents().includes('read me'), 'the message');
  page.chat.markAsRead(messageId);
  const receipt = await once(b, 'messageRead', ({ readBy }) => readBy === ann.id);
  assert.equal(receipt.messageId, messageId);
});

test('a page that turns to another conversation hears that one from then on', limit, async (t) => {
  const { ann, ben } = await cast();
  const [one, two] = [await group(ann, [ben]), await group(ann, [ben])];
  const b = await connect(t, ben, { gateway: 1 });
  await join(one, b);
  await join(two, b);
  const page = browser(t, ann, one);
  await page.joined();
  await page.write('in the first');
  await until(() => page.contents().length === 1, 'the first');
  page.turn(two);
  await page.settle();
  await page.write('in the second');
  await until(() => page.contents().length === 2, 'the second');
  const { conversationId } = await once(b, 'newMessage', ({ message }) => message.content === 'in the second');
  assert.equal(conversationId, two);
  await say(b, one, 'still in the first');
  await say(b, two, 'also in the second');
  await until(() => page.contents().includes('also in the second'), 'ben’s');
  assert.deepEqual(page.contents(), ['in the first', 'in the second', 'also in the second']);
});

test('the events of the table, as far as they need no presence', limit, async (t) => {
  const { ann, ben, cat } = await cast();
  const [a, b, c] = await Promise.all([connect(t, ann), connect(t, ben, { gateway: 1 }), connect(t, cat, { gateway: 1 })]);

  a.emit('createConversation', { participantIds: [ben.id, cat.id], type: 'group', name: 'the table' });
  const [created] = await Promise.all([a, b, c].map((socket) => once(socket, 'conversationCreated', ({ name }) => name === 'the table')));
  conversation(created);
  const conversationId = created._id;

  for (const socket of [a, b]) socket.emit('joinRoom', { conversationId });
  const tempId = Date.now().toString();
  a.emit('sendMessage', { conversationId, content: 'Hello World!', type: 'text', tempId });
  const sent = await once(a, 'messageSent', (event) => event.tempId === tempId);
  keys(sent, ['tempId', 'messageId', 'conversationId', 'createdAt']);
  const own = await once(a, 'newMessage', ({ message }) => message._id === sent.messageId);
  keys(own, ['message', 'conversationId']);
  messageShape(own.message, { tempId: true });

  await join(conversationId, b);
  const { messageId } = await succeed(a, 'sendMessage', { conversationId, content: 'Is anybody there?', type: 'text' });
  const { message } = await once(b, 'newMessage', (event) => event.message._id === messageId);
  messageShape(message);
  assert.deepEqual(message.sender, { _id: ann.id, name: ann.name, username: ann.username });
  assert.equal(heard(c, 'newMessage').length, 0, 'who has not joined the room hears nothing of it');

  b.emit('markAsRead', { conversationId, messageId });
  const read = await once(a, 'messageRead', (event) => event.readBy === ben.id);
  keys(read, ['messageId', 'conversationId', 'readBy', 'readAt']);
  c.emit('markConversationAsRead', { conversationId });
  const all = await once(a, 'conversationRead', (event) => event.readBy === cat.id);
  keys(all, ['conversationId', 'readBy', 'readAt']);
  time(all.readAt, 'readAt');
});

test('"test-socket.ts", with a conversation that is there', limit, async (t) => {
  const { ann, ben } = await cast();
  const conversationId = await group(ben, [ann]);
  const other = await connect(t, ben, { gateway: 1 });
  await join(conversationId, other);
  const [io, console] = [documentedIo(t), quietConsole()];
  const token = ann.token;

  const socket = io('http://localhost:3000/chat', {
    auth: { token },
  });

  socket.on('connect', () => {
    console.log('Connected:', socket.id);

    // Join a room
    socket.emit('joinRoom', { conversationId });

    // Send a message
    socket.emit('sendMessage', {
      conversationId,
      content: 'Hello World!',
      type: 'text',
    });
  });

  socket.on('newMessage', (data) => {
    console.log('New message:', data);
  });

  const said = (title) => console.said.filter(([first]) => first === title);
  await until(() => said('New message:').length > 0, 'its own message');
  assert.deepEqual(said('Connected:'), [['Connected:', socket.id]]);
  const [[, data]] = said('New message:');
  messageShape(data.message);
  assert.deepEqual([data.conversationId, data.message.content, data.message.sender._id], [conversationId, 'Hello World!', ann.id]);
  assert.deepEqual((await once(other, 'newMessage')).message, data.message);
});

test('"test-socket.ts" as it stands: its conversation is none, and it is told so', limit, async (t) => {
  const { ann } = await cast();
  const io = documentedIo(t);
  const socket = io('http://localhost:3000/chat', {
    auth: { token: ann.token },
  });
  socket.on('connect', () => {
    socket.emit('joinRoom', { conversationId: 'test-conv-id' });
    socket.emit('sendMessage', {
      conversationId: 'test-conv-id',
      content: 'Hello World!',
      type: 'text',
    });
  });
  for (const event of ['joinRoom', 'sendMessage']) {
    const error = await once(socket, 'error', (told) => told.event === event);
    keys(error, ['code', 'message', 'event']);
    assert.equal(error.code, 'VALIDATION_FAILED');
  }
});

test('typing indicators', limit, async (t) => {
  const { ann, ben, b, page, conversationId } = await scene(t);
  await page.write('so that I have joined');
  await until(() => page.contents().length === 1, 'joined');
  b.emit('typing', { conversationId });
  await until(() => page.text().includes(`${ben.username} is typing...`), 'ben is typing');
  b.emit('stopTyping', { conversationId });
  await until(() => !page.text().includes('typing...'), 'ben has stopped');

  // The first message was typed as well, and said to be over.
  const course = () => received(b).flatMap(({ event, args }) => (['userTyping', 'userStoppedTyping'].includes(event) ? [[event, args[0]]] : []));
  const typing = ['userTyping', { userId: ann.id, conversationId, username: ann.username }];
  const stopped = ['userStoppedTyping', { userId: ann.id, conversationId }];
  await until(() => course().length >= 2, 'the first message was typed');
  assert.deepEqual(course(), [typing, stopped]);
  let text = '';
  let isSaid = false;
  page.io.sockets[0].onAnyOutgoing((event) => { isSaid = event === 'stopTyping'; });
  await until(async () => {
    text += 'x';
    page.find('input').props.onChange({ target: { value: text } });
    await page.settle();
    return course().length >= 3;
  }, 'ann is typing again');
  await until(() => isSaid, 'the page says that she has stopped');
  await until(() => course().length >= 4 && course().at(-1)[0] === 'userStoppedTyping', 'ann has stopped');
  // A key may be told of more than once, and a page that is held up between two keys stops in between.
  const turns = course().filter(([event], index, all) => event !== all[index - 1]?.[0]);
  assert.deepEqual(turns, turns.map((_, index) => (index % 2 === 0 ? typing : stopped)));
});

test('who is online', limit, async (t) => {
  const { ann, ben, page } = await scene(t);
  const dan = await register('dan');
  await group(ann, [ben, dan]);
  const online = () => page.chat.onlineUsers;
  await until(() => online().includes(ben.id), 'ben is online');
  assert.ok(!online().includes(dan.id));
  const d = await client(t, 'conversations', dan, { gateway: 1 });
  await until(() => online().includes(dan.id), 'dan has come');
  d.emit('getOnlineUsers');
  const users = await once(d, 'onlineUsers', (ids) => ids.includes(ben.id));
  assert.ok(users.every((id) => typeof id === 'string'));
  d.disconnect();
  await until(() => !online().includes(dan.id), 'dan has gone');
  const told = heard(page.io.sockets[0], 'userStatusChanged', ({ userId }) => userId === dan.id);
  for (const event of told) {
    keys(event, ['userId', 'status', 'timestamp']);
    time(event.timestamp, 'timestamp');
  }
  assert.deepEqual(told.map(({ status }) => status), ['online', 'offline']);
});

test('whatever was typed on the way, the message is what was sent', limit, async (t) => {
  const { b, page, conversationId } = await scene(t);
  const content = unique('typed');
  for (const length of [1, 3, content.length]) page.find('input').props.onChange({ target: { value: content.slice(0, length) } });
  await page.settle();
  page.find('form').props.onSubmit({ preventDefault() {} });
  await once(b, 'newMessage', ({ message }) => message.content === content);
  await barrier(conversationId, b, b);
  assert.equal(page.io.sockets[0].connected, true);
});
