// Steps that most tests begin with, and the barrier that ends them.

import { as, ok } from './rest.js';
import { emitAck, once, succeed } from './socket.js';
import { unique } from './people.js';

/** A group of `owner` with `others`, made over REST; its id. */
export async function group(owner, others, { name = unique('group'), gateway } = {}) {
  const body = { participantIds: others.map((user) => user.id), type: 'group', name };
  return ok(await as(owner, 'POST', '/chats/conversations', body, { gateway }), 201)._id;
}

/** The direct conversation of two users, made over REST; its id. */
export async function direct(user, other, { gateway } = {}) {
  const body = { participantIds: [other.id], type: 'direct' };
  return ok(await as(user, 'POST', '/chats/conversations', body, { gateway }), 200, 201)._id;
}

/** Each of `sockets` joins the conversation's room. */
export function join(conversationId, ...sockets) {
  return Promise.all(sockets.map((socket) => succeed(socket, 'joinRoom', { conversationId })));
}

/** Sends a message and hands back its id. */
export async function say(socket, conversationId, content = unique(), more = {}) {
  return (await succeed(socket, 'sendMessage', { conversationId, content, ...more })).messageId;
}

/**
 * Sends a last message and waits until all `sockets`, which must have joined, have it. As there is one order, whatever
 * was to be sent before it has arrived then: no need to wait for silence.
 */
export async function barrier(conversationId, speaker, ...sockets) {
  const messageId = await say(speaker, conversationId, unique('barrier'));
  await Promise.all(
    sockets.map((socket) => once(socket, 'newMessage', ({ message }) => message._id === messageId)),
  );
  return messageId;
}

/** Sends all of `payloads` with at most `window` unanswered at a time, in order; the acknowledgements, in order. */
export async function stream(socket, payloads, window = 32) {
  const answers = new Array(payloads.length);
  const inFlight = new Set();
  for (const [index, payload] of payloads.entries()) {
    if (inFlight.size >= window) await Promise.race(inFlight);
    const sent = emitAck(socket, 'sendMessage', payload).then((answer) => {
      answers[index] = answer;
      inFlight.delete(sent);
    });
    inFlight.add(sent);
  }
  await Promise.all(inFlight);
  return answers;
}
