// A conversation in STOMP's words, as `voices.js` has it in those of the dialects.

import assert from 'node:assert/strict';
import { unique } from './people.js';
import { session } from './stomp.js';
import { chatBody, privateBody } from './stomp-bodies.js';
import { as, ok } from './rest.js';

/** What bodies mean, by their type; others say nothing of messages. */
const READS = {
  CHAT: ({ id, content, senderId }) => ['sent', id, content, senderId],
  EDIT: ({ id, content }) => ['updated', id, content],
  DELETE: ({ id }) => ['deleted', id],
  READ: ({ readBy }) => ['read', readBy],
};

/** Types that a MESSAGE may be of. */
const TYPES = /^[A-Z][A-Z_]+$/;

/**
 * `user` in `thread` over STOMP: subscribed to its topic, or, `privately`, to the user's direct messages. Of the same interface as the
 * voices of the dialects, `enter()` apart: it listens from the beginning.
 */
export async function stompVoice(t, user, thread, { privately = false, ...options } = {}) {
  const speaker = await session(t, user, options);
  const inbox = await speaker.listen(privately ? '/user/queue/messages' : `/topic/${thread.called}`);
  const dialect = `STOMP${privately ? ' in private' : ''} over ${speaker.way}`;
  const isSaid = (content) => (body) => body.type === 'CHAT' && body.content === content;
  return {
    dialect,
    user,
    speaker,
    inbox,
    /** Says `content`, waits until it comes back, and hands back the message's id. */
    async say(content = unique(dialect)) {
      if (privately) await speaker.send('/app/chat.private', { receiverId: thread.partner.id, content });
      else await speaker.send(`/app/chat/${thread.called}/sendMessage`, { content });
      const body = await inbox.next(isSaid(content));
      if (privately) privateBody(body, { sender: user, receiver: thread.partner, content });
      else chatBody(body, { type: 'CHAT', sender: user.username, roomId: thread.called });
      return body.id;
    },
    hears: (content) => inbox.next(isSaid(content)),
    times: (content) => inbox.heard(isSaid(content)).length,
    /** All that was heard of `ids` and of reading, in order, as one line each. */
    log(ids) {
      return inbox
        .heard(({ type }) => type in READS)
        .map((body) => READS[body.type](body))
        .filter(([kind, id]) => kind === 'read' || ids.has(id))
        .map((line) => line.join(' '));
    },
    keepsToItself() {
      for (const { type } of inbox.heard()) assert.match(type, TYPES);
    },
  };
}

/** A public room of `owner`: what voices call a thread, by its slug and by its id. */
export async function publicThreads(owner) {
  const made = ok(await as(owner, 'POST', '/api/rooms', { name: unique('public room') }), 201);
  return { bySlug: { id: made.id, called: made.slug }, byId: { id: made.id, called: made.id } };
}
