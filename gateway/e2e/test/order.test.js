// One order: what several senders do at once on both gateways, every member sees in the same sequence.

import assert from 'node:assert/strict';
import test from 'node:test';
import { barrier, group, join, say, stream } from './support/chat.js';
import { people } from './support/people.js';
import { connect, heard, once, story, succeed } from './support/socket.js';
import { counters, storedMessages } from './support/truth.js';

const cast = people('ann', 'ben', 'cat', 'dan', 'eve', 'fay');
const SENDERS = 4;
const EACH = 250;

/** Six members, three on each gateway, all of them joined. */
async function hall(t) {
  const users = Object.values(await cast());
  const sockets = await Promise.all(users.map((user, index) => connect(t, user, { gateway: index % 2 })));
  const conversationId = await group(users[0], users.slice(1));
  await join(conversationId, ...sockets);
  return { users, sockets, conversationId };
}

test('1000 messages from four senders reach every member once, in one order, and PostgreSQL agrees', { timeout: 720_000 }, async (t) => {
  const { users, sockets, conversationId } = await hall(t);
  const { last_seq: start } = await counters(conversationId);
  const sent = await Promise.all(
    sockets.slice(0, SENDERS).map((socket, sender) =>
      stream(
        socket,
        Array.from({ length: EACH }, (_, index) => ({
          conversationId,
          content: `${sender}:${index}`,
          // Every other one with a tempId: both kinds of command keep their place.
          ...(index % 2 === 0 ? { tempId: `t${sender}-${index}` } : {}),
        })),
      ),
    ),
  );
  for (const answers of sent) for (const answer of answers) assert.equal(answer.success, true, JSON.stringify(answer));
  const last = await barrier(conversationId, sockets[5], ...sockets);

  const stored = await storedMessages(conversationId);
  assert.equal(stored.length, SENDERS * EACH + 1);
  assert.equal(stored.at(-1).id, last);
  stored.forEach((row, index) => {
    assert.equal(row.seq, start + 1 + index, 'seq has no gap: nothing but these messages changed the conversation');
    assert.equal(row.ordinal, index + 1, 'ordinal counts the messages');
  });
  assert.deepEqual(await counters(conversationId), { last_seq: stored.at(-1).seq, message_count: stored.length });

  for (let sender = 0; sender < SENDERS; sender += 1) {
    const rows = stored.filter((row) => row.sender_id === users[sender].id);
    assert.deepEqual(rows.map((row) => row.content), Array.from({ length: EACH }, (_, index) => `${sender}:${index}`), `sender ${sender}’s own order`);
    assert.deepEqual(rows.map((row) => row.id), sent[sender].map((answer) => answer.messageId), 'what was acknowledged is what is stored');
  }

  const truth = stored.map(({ id, seq, content }) => ({ id, seq, content }));
  sockets.forEach((socket, index) => {
    const seen = heard(socket, 'newMessage', (event) => event.conversationId === conversationId);
    assert.deepEqual(
      seen.map(({ message }) => ({ id: message._id, seq: message.seq, content: message.content })),
      truth,
      `what member ${index} on gateway ${index % 2} saw`,
    );
  });
});

test('edits, deletes and reads among the messages keep the one order too', { timeout: 480_000 }, async (t) => {
  const { sockets, conversationId } = await hall(t);
  const busy = async (socket, name) => {
    for (let round = 0; round < 15; round += 1) {
      const kept = await say(socket, conversationId, `${name} ${round}`);
      const [fleeting] = await Promise.all([
        say(socket, conversationId, `${name} ${round} in passing`),
        succeed(socket, 'editMessage', { conversationId, messageId: kept, content: `${name} ${round} improved` }),
      ]);
      await Promise.all([
        succeed(socket, 'deleteMessage', { conversationId, messageId: fleeting }),
        succeed(socket, 'markConversationAsRead', { conversationId }),
      ]);
    }
  };
  await Promise.all(sockets.slice(0, SENDERS).map((socket, index) => busy(socket, `s${index}`)));
  await barrier(conversationId, sockets[5], ...sockets);

  const durable = new Set(['newMessage', 'messageUpdated', 'messageDeleted', 'conversationRead', 'messageRead']);
  const told = (socket) =>
    story(socket, conversationId)
      .filter(([event]) => durable.has(event))
      .map(([event, payload]) => `${event} ${payload.message?._id ?? payload.messageId ?? payload.readBy} ${payload.message?.content ?? ''}`);
  const first = told(sockets[0]);
  const count = (event) => first.filter((line) => line.startsWith(`${event} `)).length;
  assert.deepEqual(
    [count('newMessage'), count('messageUpdated'), count('messageDeleted')],
    [SENDERS * 15 * 2 + 1, SENDERS * 15, SENDERS * 15],
  );
  sockets.slice(1).forEach((socket, index) => assert.deepEqual(told(socket), first, `member ${index + 1} against member 0`));
});

test('a sender sees its own messages in the order it sent them, without waiting for any', { timeout: 240_000 }, async (t) => {
  const { sockets, conversationId } = await hall(t);
  const contents = Array.from({ length: 100 }, (_, index) => `without acknowledgement ${index}`);
  for (const content of contents) sockets[1].emit('sendMessage', { conversationId, content });
  await once(sockets[0], 'newMessage', ({ message }) => message.content === contents.at(-1));
  assert.deepEqual(heard(sockets[0], 'newMessage').map(({ message }) => message.content), contents);
});
