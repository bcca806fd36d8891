// How each dialect says what a load needs: enter a room, send to it, hear of messages. Knows no connection.

/** What a socket of source 003's clients says. */
const conversations = {
  namespace: '/chat',
  auth: (token) => ({ token, dialect: 'conversations' }),
  enter: (room) => ['joinRoom', { conversationId: room }],
  send: (room, content, tempId) => ['sendMessage', { conversationId: room, content, tempId }],
  heard: 'newMessage',
  read: ({ message, conversationId }) => ({ room: conversationId, content: message.content, seq: message.seq }),
};

/** What a socket of source 000's clients says; its messages have no `seq`. */
const rooms = {
  namespace: '/',
  auth: (token) => ({ token, dialect: 'rooms' }),
  enter: (room) => ['chat.addUser', { roomId: room }],
  send: (room, content, tempId) => ['chat.sendMessage', { roomId: room, content, tempId }],
  heard: 'message',
  read: (message) => ({ room: message.roomId, content: message.content, seq: undefined }),
};

/** The dialects by name. */
export const DIALECTS = { conversations, rooms };

/** Refusals after which a message is surely not stored. The others (TIMEOUT, INTERNAL) leave it open. */
const SURE = new Set(['RATE_LIMITED', 'OVERLOADED', 'VALIDATION_FAILED', 'PAYLOAD_TOO_LARGE', 'FORBIDDEN', 'NOT_FOUND', 'UNAUTHORIZED', 'CONFLICT']);

/**
 * What an acknowledgement's or a request's answer means: `confirmed`, `refused` (and not stored), or `open`, with its code. A refused
 * repetition leaves open what became of the attempts before it.
 */
export function verdict({ outcome, reply }, repeated = 0) {
  if (outcome !== 'answered') return { verdict: 'open', code: outcome };
  if (reply && reply.success === true) return { verdict: 'confirmed', code: undefined };
  const code = (reply && reply.error && reply.error.code) || 'UNREADABLE';
  return { verdict: SURE.has(code) && repeated === 0 ? 'refused' : 'open', code };
}
