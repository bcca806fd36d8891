// What clients send that nobody asked for. Every bad payload gets its code, twice said, and the socket lives on.

import assert from 'node:assert/strict';
import test from 'node:test';
import { direct, group, join, say } from './support/chat.js';
import { nobody, people, unique } from './support/people.js';
import * as shapes from './support/shapes.js';
import { connect, emitAck, heard, once, rejected, succeed } from './support/socket.js';
import { storedMessages } from './support/truth.js';

const cast = people('ann', 'ben', 'eve');
const limit = { timeout: 480_000 };

/** Values that are no id, whatever kind of id is wanted; undefined leaves the field out. */
const NO_ID = [undefined, null, true, {}, [], '', ' ', 'nope', '../../etc', '1.5', 'x'.repeat(5000), '\u0000', '\ud800'];
const NO_UUID = [...NO_ID, 7, '12', '0192f5b8-7d3a-7c3e-9a1b', 'g192f5b8-7d3a-7c3e-9a1b-000000000000'];
const NO_TEXT = [undefined, null, 7, true, {}, ['text'], '', '  \n', '\u0000', 'a\u0000', '\udc00', 'x'.repeat(4001), Buffer.from('text')];
const NO_PEOPLE = [undefined, null, 7, 'nope', {}, [7], [null], [''], ['nope'], [[]], [{}]];

/** For every event a good payload and what may be wrong with each field. */
function grammar({ conversationId, messageId, ben }) {
  return {
    createConversation: {
      good: { participantIds: [ben.id], type: 'group', name: 'a name' },
      bad: {
        participantIds: NO_PEOPLE,
        type: [7, {}, '', 'party', 'room', 'GROUP'],
        name: [7, {}, ['a'], 'x'.repeat(101), 'a\u0000b', '\ud800'],
      },
    },
    joinRoom: { good: { conversationId }, bad: { conversationId: NO_UUID } },
    leaveRoom: { good: { conversationId }, bad: { conversationId: NO_UUID } },
    sendMessage: {
      good: { conversationId, content: 'text', type: 'text', tempId: 'temp', replyTo: messageId },
      bad: {
        conversationId: NO_UUID,
        content: NO_TEXT,
        type: [7, {}, [], 'a\u0000', '\ud800', 'x'.repeat(500)],
        tempId: [{}, [], true, 'x'.repeat(129)],
        replyTo: NO_ID.filter((value) => value !== undefined && value !== null),
      },
    },
    editMessage: { good: { conversationId, messageId, content: 'text' }, bad: { conversationId: NO_UUID, messageId: NO_ID, content: NO_TEXT } },
    deleteMessage: { good: { conversationId, messageId }, bad: { conversationId: NO_UUID, messageId: NO_ID } },
    markAsRead: { good: { conversationId, messageId }, bad: { conversationId: NO_UUID, messageId: NO_ID } },
    markConversationAsRead: { good: { conversationId }, bad: { conversationId: NO_UUID } },
  };
}

const EVENTS = Object.keys(grammar({ conversationId: '', messageId: '', ben: {} }));

async function scene(t, gateway) {
  const { ann, ben, eve } = await cast();
  const socket = await connect(t, ann, { gateway });
  const conversationId = await group(ann, [ben]);
  await join(conversationId, socket);
  const messageId = await say(socket, conversationId);
  return { ann, ben, eve, socket, conversationId, messageId };
}

/** The same socket still sends and hears. */
async function livesOn(socket, conversationId) {
  const content = unique();
  await say(socket, conversationId, content);
  await once(socket, 'newMessage', ({ message }) => message.content === content);
}

for (const [index, event] of EVENTS.entries()) {
  test(`${event}: every malformed payload is VALIDATION_FAILED, and the socket lives on`, limit, async (t) => {
    const { socket, conversationId, messageId, ben } = await scene(t, index % 2);
    const socketId = socket.id;
    const { good, bad } = grammar({ conversationId, messageId, ben })[event];
    await rejected(socket, 'VALIDATION_FAILED', event);
    // A list of the right values in the right order is still a list.
    const notObjects = [null, 7, true, 'text', [], Object.values(good), JSON.stringify(good), Buffer.from('{}')];
    for (const payload of notObjects) await rejected(socket, 'VALIDATION_FAILED', event, payload);
    for (const [field, values] of Object.entries(bad)) {
      for (const value of values) await rejected(socket, 'VALIDATION_FAILED', event, { ...good, [field]: value });
    }
    assert.equal(socket.id, socketId);
    const before = (await storedMessages(conversationId)).length;
    assert.equal(before, 1, 'nothing of it was stored');
    await livesOn(socket, conversationId);
  });
}

test('a message id that no number can hold is refused, not a fault', limit, async (t) => {
  const { socket, conversationId } = await scene(t, 1);
  for (const messageId of ['99999999999999999999999999', '-1', '0', '9223372036854775807']) {
    for (const event of ['editMessage', 'deleteMessage', 'markAsRead']) {
      await rejected(socket, ['VALIDATION_FAILED', 'NOT_FOUND'], event, { conversationId, messageId, content: 'text' });
    }
  }
  await livesOn(socket, conversationId);
});

test('without an acknowledgement the error event says it alone', limit, async (t) => {
  const { socket, conversationId } = await scene(t, 0);
  for (const event of EVENTS) {
    socket.emit(event, { conversationId: 'nope' });
    const error = await once(socket, 'error', (told) => told.event === event);
    shapes.keys(error, ['code', 'message', 'event']);
    assert.equal(error.code, 'VALIDATION_FAILED');
  }
  await livesOn(socket, conversationId);
});

test('an event that the dialect does not know is VALIDATION_FAILED', limit, async (t) => {
  const { socket, conversationId } = await scene(t, 1);
  for (const event of ['noSuchEvent', 'newMessage', 'SendMessage', 'error', '', '__proto__', 'constructor', 'é'.repeat(30)]) {
    await rejected(socket, 'VALIDATION_FAILED', event, { conversationId, content: 'text' });
    await rejected(socket, 'VALIDATION_FAILED', event);
  }
  await livesOn(socket, conversationId);
});

test('fields that nobody asked for are ignored', limit, async (t) => {
  const { socket, ben, conversationId } = await scene(t, 0);
  const content = unique();
  const noise = { senderId: ben.id, sender: { _id: ben.id }, seq: 1, createdAt: '1970-01-01T00:00:00Z', isDeleted: true, $where: '1' };
  const messageId = await say(socket, conversationId, content, noise);
  const { message } = await once(socket, 'newMessage', (event) => event.message._id === messageId);
  assert.notEqual(message.sender._id, ben.id, 'the sender is who the socket is');
  assert.equal(message.isDeleted, false);
  assert.ok(message.seq > 1);
});

test('a message of nearly a megabyte is refused like any other too long one', limit, async (t) => {
  const { socket, conversationId } = await scene(t, 1);
  await rejected(socket, ['VALIDATION_FAILED', 'PAYLOAD_TOO_LARGE'], 'sendMessage', { conversationId, content: 'x'.repeat(900_000) });
  await livesOn(socket, conversationId);
});

/** Everything one can ask of a conversation. */
function requests(conversationId, messageId) {
  return [
    ['joinRoom', { conversationId }],
    ['leaveRoom', { conversationId }],
    ['sendMessage', { conversationId, content: 'hello?' }],
    ['editMessage', { conversationId, messageId, content: 'changed' }],
    ['deleteMessage', { conversationId, messageId }],
    ['markAsRead', { conversationId, messageId }],
    ['markConversationAsRead', { conversationId }],
  ];
}

test('to a stranger a conversation is NOT_FOUND, whatever is asked of it', limit, async (t) => {
  const { ann, ben, eve, socket, conversationId, messageId } = await scene(t, 0);
  const stranger = await connect(t, eve, { gateway: 1 });
  const theirs = await direct(ann, ben);
  for (const id of [conversationId, theirs]) {
    for (const [event, payload] of requests(id, messageId)) await rejected(stranger, 'NOT_FOUND', event, payload);
  }
  const [stored] = await storedMessages(conversationId);
  assert.equal(stored.deleted, false);
  assert.notEqual(stored.content, 'changed');
  await livesOn(socket, conversationId);
  assert.equal(heard(stranger, 'newMessage').length, 0);
  const own = await group(eve, [ben]);
  await join(own, stranger);
  await livesOn(stranger, own);
});

const withoutIds = (text) => text.replaceAll(/[0-9a-f-]{36}|\d+/g, '…');

test('a conversation that does not exist is told apart from a stranger’s in no way', limit, async (t) => {
  const { eve, conversationId, messageId } = await scene(t, 0);
  const stranger = await connect(t, eve, { gateway: 0 });
  const unknown = requests(nobody(), messageId);
  const foreign = requests(conversationId, messageId);
  for (const [index, [event, payload]] of unknown.entries()) {
    const ofNobody = await rejected(stranger, 'NOT_FOUND', event, payload);
    const ofOthers = await rejected(stranger, 'NOT_FOUND', ...foreign[index]);
    assert.equal(withoutIds(ofOthers.message), withoutIds(ofNobody.message));
  }
});

test('a message is found in its own conversation only', limit, async (t) => {
  const { ann, ben, eve, socket, conversationId, messageId } = await scene(t, 1);
  const other = await group(ann, [ben, eve]);
  for (const [event, payload] of requests(other, messageId).filter(([, { messageId: id }]) => id !== undefined)) {
    await rejected(socket, 'NOT_FOUND', event, payload);
  }
  const [stored] = await storedMessages(conversationId);
  assert.equal(stored.deleted, false);
  assert.notEqual(stored.content, 'changed');
});

test('an acknowledgement comes for every event of a burst, good and bad', limit, async (t) => {
  const { socket, conversationId } = await scene(t, 0);
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, index) =>
      index % 2 === 0 ? emitAck(socket, 'sendMessage', { conversationId, content: `${index}` }) : emitAck(socket, 'sendMessage', index),
    ),
  );
  answers.forEach((answer, index) => assert.equal(answer.success, index % 2 === 0, `${index}: ${JSON.stringify(answer)}`));
  assert.equal((await storedMessages(conversationId)).length, 101);
  await succeed(socket, 'markConversationAsRead', { conversationId });
});
