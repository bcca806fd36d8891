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

/** Makes all of `calls`, in order, with at most `window` unanswered at a time; the answers, in order. */
export async function paced(calls, window = 32) {
  const answers = new Array(calls.length);
  const inFlight = new Set();
  for (const [index, call] of calls.entries()) {
    if (inFlight.size >= window) await Promise.race(inFlight);
    const made = call().then((answer) => {
      answers[index] = answer;
      inFlight.delete(made);
    });
    inFlight.add(made);
  }
  await Promise.all(inFlight);
  return answers;
}

/** Sends all of `payloads` with at most `window` unanswered at a time, in order; the acknowledgements, in order. */
export function stream(socket, payloads, window) {
  return paced(payloads.map((payload) => () => emitAck(socket, 'sendMessage', payload)), window);
}
