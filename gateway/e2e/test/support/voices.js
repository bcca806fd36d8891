// One conversation in four vocabularies: how each dialect enters it and speaks in it, and what it heard, as lines that can be compared.

import assert from 'node:assert/strict';
import { directMessage, namespacedMessage, roomsMessage } from './dialects.js';
import { unique } from './people.js';
import { message as conversationsMessage } from './shapes.js';
import { heard, once, received, succeed } from './socket.js';

/** Who has read, under whatever name: the contract leaves it to each dialect how to say what its source has no word for. */
function reader(payload) {
  const named = payload.readBy ?? payload.readerId ?? payload.userId ?? payload.reader ?? payload.sender;
  return typeof named === 'object' ? named.userId ?? named.id ?? named._id : named;
}

const sent = (id, content, by) => ['sent', String(id), content, by];
const updated = (id, content) => ['updated', String(id), content];
const deleted = (id) => ['deleted', String(id)];
const read = (payload) => ['read', reader(payload)];

/**
 * Per dialect: `enter(socket, thread)`, `say(socket, thread, content)`, `own` (the event that brings one's own message back, and
 * what it says), and `reads`: what its events mean. A thread is `{id, called, partner}`: its id, what rooms are called by, and for a
 * direct one whom `direct` writes to.
 */
const VOICES = {
  conversations: {
    enter: (socket, { id }) => succeed(socket, 'joinRoom', { conversationId: id }),
    say: (socket, { id }, content) => succeed(socket, 'sendMessage', { conversationId: id, content }),
    own: ['newMessage', ({ message }) => message.content],
    reads: {
      newMessage({ message }) {
        conversationsMessage(message, { tempId: message.tempId !== undefined });
        return sent(message._id, message.content, message.sender._id);
      },
      messageUpdated: ({ message }) => updated(message._id, message.content),
      messageDeleted: ({ messageId }) => deleted(messageId),
      messageRead: read,
      conversationRead: read,
    },
  },
  direct: {
    enter: () => undefined,
    say: (socket, { partner }, content) => succeed(socket, 'send_message', { receiverId: partner.id, content }),
    own: ['receive_message', ({ content }) => content],
    reads: {
      receive_message(message) {
        directMessage(message);
        return sent(message.id, message.content, message.senderId);
      },
      message_updated: ({ id, content }) => updated(id, content),
      message_deleted: ({ id, messageId }) => deleted(id ?? messageId),
      messages_read: read,
    },
  },
  rooms: {
    enter: (socket, { called }) => succeed(socket, 'chat.addUser', { roomId: called }),
    say: (socket, { called }, content) => succeed(socket, 'chat.sendMessage', { roomId: called, content }),
    own: ['message', ({ content }) => content],
    reads: {
      message(message) {
        roomsMessage(message);
        return sent(message.id, message.content, message.senderId);
      },
      'chat.messageUpdated': ({ id, content }) => updated(id, content),
      'chat.messageDeleted': ({ id, messageId }) => deleted(id ?? messageId),
      'chat.messagesRead': read,
    },
  },
  namespaced: {
    enter: (socket, { called }) => succeed(socket, 'chat:room:join', called),
    say: (socket, { called }, content) => succeed(socket, 'chat:message', { content, roomId: called }),
    own: ['chat:message', ({ content }) => content],
    reads: {
      'chat:message'(message) {
        namespacedMessage(message);
        return sent(message.id, message.content, message.sender.userId);
      },
      'chat:message:updated': ({ id, content }) => updated(id, content),
      'chat:message:deleted': ({ id, messageId }) => deleted(id ?? messageId),
      'chat:message:read': read,
    },
  },
};

/** Names of all events that any dialect hears about a conversation's messages: no socket may hear another dialect's. */
const WORDS = Object.fromEntries(Object.entries(VOICES).map(([dialect, { reads }]) => [dialect, Object.keys(reads)]));

/** `socket` of `user`, which speaks `dialect`, in `thread`. */
export function voice(dialect, socket, user, thread) {
  const { enter, say, own: [event, contentOf], reads } = VOICES[dialect];
  const heardContent = (content) => once(socket, event, (payload) => contentOf(payload) === content);
  return {
    dialect,
    user,
    socket,
    enter: () => enter(socket, thread),
    /** Says `content`, waits until it comes back in its own words, and hands back the message's id. */
    async say(content = unique(dialect)) {
      await say(socket, thread, content);
      const [, id] = reads[event](await heardContent(content));
      return id;
    },
    hears: heardContent,
    /** How often it heard `content` as a message. */
    times: (content) => heard(socket, event, (payload) => contentOf(payload) === content).length,
    /** All that was heard of `ids` and of reading, in order, as one line each. */
    log(ids) {
      return received(socket)
        .filter(({ event: name }) => name in reads)
        .map(({ event: name, args: [payload] }) => reads[name](payload))
        .filter(([kind, id]) => kind === 'read' || ids.has(id))
        .map((line) => line.join(' '));
    },
    /** Asserts that nothing arrived in another dialect's words. */
    keepsToItself() {
      const names = new Set(received(socket).map(({ event: name }) => name));
      for (const [other, words] of Object.entries(WORDS)) {
        if (other === dialect) continue;
        for (const word of words) assert.ok(!names.has(word), `${word} on a socket that speaks ${dialect}`);
      }
    },
  };
}
