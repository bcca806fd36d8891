// Unread badges: exact, to who has not joined the room, at most one a second; and how far a message has come.

import assert from 'node:assert/strict';
import test from 'node:test';
import { cut, recovers, stays, until } from './support/away.js';
import { direct, group, join, say, stream } from './support/chat.js';
import { client, sendTo } from './support/dialects.js';
import { attempts } from './support/patience.js';
import { people, register, unique } from './support/people.js';
import { shown } from './support/presence.js';
import { as, ok } from './support/rest.js';
import { keys, message as messageShape } from './support/shapes.js';
import { connect, heard, once, quiet, received, succeed } from './support/socket.js';
import { stalls } from './support/stalls.js';
import { unreadIs } from './support/truth.js';

const cast = people('ann', 'ben', 'cat', 'dan');
/** Badges of one conversation come at most once in this time, after the first. */
const EVERY_MS = 1_000;
/** The first one does not wait for that: it comes before this, once its message is confirmed. */
const AT_ONCE_MS = 800;
/** What has not been told by then is not told. */
const SILENCE_MS = 2_500;

/** The badges of a conversation that `socket` was told, each checked: `{unreadCount, lastMessage, at}`. */
function badges(socket, conversationId) {
  return received(socket).flatMap(({ event, args, at }) => {
    if (event !== 'unreadCount' || args[0].conversationId !== conversationId) return [];
    assert.equal(args.length, 1, 'no offset');
    const [badge] = args;
    keys(badge, ['conversationId', 'unreadCount', 'lastMessage'], [], '(unreadCount)');
    assert.ok(Number.isSafeInteger(badge.unreadCount) && badge.unreadCount >= 0, `unreadCount ${badge.unreadCount}`);
    if (badge.lastMessage !== null) messageShape(badge.lastMessage);
    return [{ ...badge, at }];
  });
}

const count = (socket, id) => badges(socket, id).at(-1)?.unreadCount;

/** Waits until the last badge says `expected`. */
async function shows(socket, conversationId, expected, what = '') {
  await until(() => count(socket, conversationId) === expected, what).catch(() => {});
  assert.equal(count(socket, conversationId), expected, `the badge ${what}, of ${badges(socket, conversationId).map(({ unreadCount }) => unreadCount)}`);
}

/** ann with gateway 0 and ben with gateway 1, ben’s phone with gateway 0; nobody has joined the new group, which has cat as well. */
async function scene(t, options = {}) {
  const users = await cast();
  const conversationId = await group(users.ann, [users.ben, users.cat]);
  const [a, b, phone] = await Promise.all([
    connect(t, users.ann, { gateway: 0 }), connect(t, users.ben, { gateway: 1, ...options }), connect(t, users.ben, { gateway: 0 }),
  ]);
  return { ...users, a, b, phone, conversationId };
}

test('badges', { concurrency: 16, timeout: 480_000 }, async (t) => {
  const limit = { timeout: 360_000 };
  const tests = [];
  const still = stalls(t);
  const check = (name, body) => tests.push(t.test(name, limit, still.unless(body)));
  await cast();

  check('who has not joined is told what is unread, with the last message; who has joined is not', async (t) => {
    const { cat, dan } = await cast();
    const [c, d] = await Promise.all([connect(t, cat), connect(t, dan, { gateway: 1 })]);
    const { ben, b, conversationId } = await attempts(5, 'the first badge comes at once', async () => {
      const { ann, ben, a, b, phone, conversationId } = await scene(t);
      await join(conversationId, a, c);
      const content = unique();
      const messageId = await say(a, conversationId, content);
      const begun = Date.now();
      let took = 0;
      for (const socket of [b, phone]) {
        await shows(socket, conversationId, 1, 'after one message');
        const { lastMessage, at } = badges(socket, conversationId).at(-1);
        assert.deepEqual([lastMessage._id, lastMessage.content, lastMessage.sender._id, lastMessage.conversationId], [messageId, content, ann.id, conversationId]);
        took = Math.max(took, at - begun);
      }
      return took < AT_ONCE_MS && { ben, b, conversationId };
    });
    await unreadIs('one message', conversationId, [ben, 1], [cat, 1]);
    await quiet(SILENCE_MS);
    assert.deepEqual(badges(c, conversationId), [], 'cat has joined');
    assert.deepEqual(badges(d, conversationId), [], 'dan is no member');
    assert.deepEqual(heard(b, 'newMessage'), [], 'ben has not joined');
  });

  check('joining with one device leaves the badges to the others; who leaves the room gets them again', async (t) => {
    const { ben, a, b, phone, conversationId } = await scene(t);
    await join(conversationId, b);
    const first = await say(a, conversationId);
    await once(b, 'newMessage', ({ message }) => message._id === first);
    await shows(phone, conversationId, 1, 'on the device that has not joined');
    assert.deepEqual(badges(b, conversationId), []);
    await succeed(b, 'leaveRoom', { conversationId });
    await say(a, conversationId);
    for (const socket of [b, phone]) await shows(socket, conversationId, 2, 'after leaveRoom');
    await join(conversationId, phone);
    const known = badges(phone, conversationId).length;
    const last = await say(a, conversationId);
    await once(phone, 'newMessage', ({ message }) => message._id === last);
    await shows(b, conversationId, 3, 'on the other device');
    await quiet(SILENCE_MS);
    assert.equal(badges(phone, conversationId).length, known, 'no more on the one that has joined');
    await unreadIs('three messages', conversationId, [ben, 3]);
  });

  check('a burst from several senders on two gateways: exact in the end, and at most one a second', async (t) => {
    const { ann, ben, cat, a, b, phone, conversationId } = await scene(t);
    const [c, second] = await Promise.all([connect(t, cat, { gateway: 1 }), connect(t, ann, { gateway: 1 })]);
    const begun = Date.now();
    const talk = async (socket) => {
      for (let round = 0; round < 7; round += 1) {
        await stream(socket, Array.from({ length: 8 }, () => ({ conversationId, content: unique() })));
        await quiet(400);
      }
    };
    await Promise.all([a, c, second].map(talk));
    const messages = 3 * 7 * 8;
    for (const socket of [b, phone]) {
      await shows(socket, conversationId, messages, 'after the burst');
      // However they were held up on their way, there are no more of them than seconds.
      const [told, took] = [badges(socket, conversationId).length, Date.now() - begun];
      assert.ok(told >= 2 && told <= 2 + Math.floor(took / EVERY_MS), `${told} badges in ${took} ms`);
      const counts = badges(socket, conversationId).map(({ unreadCount }) => unreadCount);
      assert.deepEqual(counts, [...counts].sort((one, other) => one - other), 'it only grows');
    }
    await unreadIs('the burst', conversationId, [ben, messages]);
    const { messages: [latest] } = ok(await as(ben, 'GET', `/chats/conversations/${conversationId}/messages?limit=1`), 200);
    assert.equal(badges(b, conversationId).at(-1).lastMessage._id, latest._id);
    await quiet(SILENCE_MS);
    assert.equal(count(b, conversationId), messages, 'and nothing comes after it');
  });

  check('reading on another device, by event and over REST', async (t) => {
    const { ben, a, b, phone, conversationId } = await scene(t);
    const sent = [];
    for (let index = 0; index < 5; index += 1) sent.push(await say(a, conversationId));
    for (const socket of [b, phone]) await shows(socket, conversationId, 5);
    await succeed(b, 'markAsRead', { conversationId, messageId: sent[1] });
    for (const socket of [b, phone]) await shows(socket, conversationId, 3, 'after reading up to the second');
    ok(await as(ben, 'PUT', '/messages/mark-as-read', { conversationId, messageIds: [sent[2]] }, { gateway: 0 }), 200);
    for (const socket of [b, phone]) await shows(socket, conversationId, 2, 'after PUT /messages/mark-as-read');
    await succeed(phone, 'markConversationAsRead', { conversationId });
    for (const socket of [b, phone]) await shows(socket, conversationId, 0, 'after markConversationAsRead');
    await say(a, conversationId);
    for (const socket of [b, phone]) await shows(socket, conversationId, 1, 'and on from there');
    ok(await as(ben, 'POST', `/chats/conversations/${conversationId}/read`, undefined, { gateway: 1 }), 200, 201);
    for (const socket of [b, phone]) await shows(socket, conversationId, 0, 'after POST …/read');
    await unreadIs('all read', conversationId, [ben, 0]);
  });

  check('one’s own message reads everything, also from a device that has joined, and over REST', async (t) => {
    const { ben, a, b, phone, conversationId } = await scene(t);
    await join(conversationId, b);
    for (const [how, send] of [
      ['sendMessage', () => say(b, conversationId)],
      ['POST /messages', () => as(ben, 'POST', '/messages', { conversationId, content: unique() }, { gateway: 1 })],
    ]) {
      await say(a, conversationId);
      await say(a, conversationId);
      await shows(phone, conversationId, 2);
      await send();
      await shows(phone, conversationId, 0, `after ${how}`);
      assert.equal(badges(phone, conversationId).at(-1).lastMessage.sender._id, ben.id);
      await unreadIs(how, conversationId, [ben, 0]);
    }
  });

  check('deletions and edits', async (t) => {
    const { ann, ben, a, b, conversationId } = await scene(t);
    const sent = [];
    for (let index = 0; index < 4; index += 1) sent.push(await say(a, conversationId));
    await succeed(b, 'markAsRead', { conversationId, messageId: sent[0] });
    await shows(b, conversationId, 3);
    await succeed(a, 'deleteMessage', { conversationId, messageId: sent[2] });
    await shows(b, conversationId, 2, 'after an unread message was deleted');
    ok(await as(ann, 'DELETE', `/messages/${sent[0]}`, undefined, { gateway: 1 }), 200);
    await succeed(a, 'deleteMessage', { conversationId, messageId: sent[2] });
    await succeed(a, 'editMessage', { conversationId, messageId: sent[1], content: 'an edit is nothing new' });
    await quiet(SILENCE_MS);
    assert.deepEqual(badges(b, conversationId).at(-1).lastMessage._id, sent[3]);
    await succeed(a, 'editMessage', { conversationId, messageId: sent[3], content: 'other words' });
    await until(() => badges(b, conversationId).at(-1).lastMessage.content === 'other words', 'the last message is shown as it is now');
    assert.equal(badges(b, conversationId).at(-1).lastMessage.isEdited, true);
    assert.equal(count(b, conversationId), 2, 'what was read or deleted before, and an edit, change nothing');
    await unreadIs('deletions and an edit', conversationId, [ben, 2]);
    await succeed(a, 'deleteMessage', { conversationId, messageId: sent[3] });
    await shows(b, conversationId, 1, 'after the last message was deleted');
    const { lastMessage } = badges(b, conversationId).at(-1);
    assert.deepEqual([lastMessage._id, lastMessage.isDeleted, lastMessage.content], [sent[3], true, ''], 'a tombstone');
    await say(a, conversationId);
    await shows(b, conversationId, 2, 'and on from there');
    await unreadIs('one more', conversationId, [ben, 2]);
  });

  check('who is added gets badges, who is removed or has left gets none', async (t) => {
    const { ann, ben, cat, dan, a, b, conversationId } = await scene(t);
    const [c, d] = await Promise.all([connect(t, cat), connect(t, dan, { gateway: 1 })]);
    await say(a, conversationId);
    await shows(b, conversationId, 1);
    ok(await as(ann, 'POST', `/chats/conversations/${conversationId}/participants`, { userIds: [dan.id] }, { gateway: 1 }), 200);
    await once(d, 'conversationCreated', ({ _id }) => _id === conversationId);
    await say(a, conversationId);
    await shows(b, conversationId, 2);
    const conversations = ok(await as(dan, 'GET', '/chats/conversations?limit=100'), 200);
    await shows(d, conversationId, conversations.find(({ _id }) => _id === conversationId).unreadCount, 'of a new member');
    await shows(c, conversationId, 2);
    ok(await as(ann, 'DELETE', `/chats/conversations/${conversationId}/participants/${dan.id}`, undefined, { gateway: 1 }), 204);
    ok(await as(cat, 'POST', `/chats/conversations/${conversationId}/leave`), 204);
    const known = [c, d].map((socket) => badges(socket, conversationId).length);
    await say(a, conversationId);
    await shows(b, conversationId, 3);
    await quiet(SILENCE_MS);
    assert.deepEqual([c, d].map((socket) => badges(socket, conversationId).length), known, 'nothing more');
    ok(await as(ann, 'POST', `/chats/conversations/${conversationId}/participants`, { userIds: [dan.id] }), 200);
    await say(a, conversationId);
    await shows(b, conversationId, 4);
    const again = ok(await as(dan, 'GET', '/chats/conversations?limit=100'), 200).find(({ _id }) => _id === conversationId);
    await shows(d, conversationId, again.unreadCount, 'of who came back');
    await unreadIs('in the end', conversationId, [ben, 4], [dan, undefined]);
  });

  check('a conversation that a message to somebody begins, in another dialect', async (t) => {
    const [eve, fay] = await Promise.all([register('eve'), register('fay')]);
    const f = await connect(t, fay, { gateway: 1 });
    const e = await client(t, 'direct', eve);
    const last = [await sendTo(e, fay, 'first'), await sendTo(e, fay, 'second')].at(-1);
    const [{ id }] = ok(await as(fay, 'GET', '/conversations'), 200);
    await shows(f, id, 2, 'of a new direct conversation');
    assert.equal(badges(f, id).at(-1).lastMessage._id, String(last));
    await unreadIs('two messages', id, [fay, 2], [eve, 0]);
  });

  check('many conversations are told apart', async (t) => {
    const { ann, ben, a, b, phone, conversationId } = await scene(t);
    const ids = [conversationId];
    while (ids.length < 8) ids.push(await group(ann, [ben]));
    await Promise.all(ids.flatMap((id, index) => Array.from({ length: index + 1 }, () => say(a, id))));
    for (const socket of [b, phone]) {
      for (const [index, id] of ids.entries()) await shows(socket, id, index + 1, `of conversation ${index}`);
    }
  });

  check('public rooms have none, and dialects without a word for it hear none', async (t) => {
    // A user of its own: a socket speaks what its namespace speaks until it has said something.
    const [{ ann }, eve] = await Promise.all([cast(), register('eve')]);
    const others = [await client(t, 'namespaced', eve), await client(t, 'rooms', eve, { gateway: 1 }), await client(t, 'direct', eve)];
    await succeed(others[0], 'chat:room:join', 'public');
    await succeed(others[1], 'chat.addUser', { roomId: 'public' });
    await sendTo(others[2], ann, 'so that it speaks its dialect');
    const conversationId = await group(ann, [eve]);
    const [a, e] = await Promise.all([connect(t, ann), connect(t, eve, { gateway: 1 })]);
    const room = ok(await as(eve, 'POST', '/api/rooms', { name: unique('public') }), 201);
    await join(room.id, a, e);
    await succeed(e, 'leaveRoom', { conversationId: room.id });
    await say(a, room.id);
    await say(a, conversationId);
    await shows(e, conversationId, 1);
    await quiet(SILENCE_MS);
    assert.deepEqual(badges(e, room.id), []);
    for (const socket of others) assert.deepEqual(heard(socket, 'unreadCount'), []);
  });

  check('who comes back is told what it has not read meanwhile', async (t) => {
    const { ben, a, b, phone, conversationId } = await scene(t, stays);
    await say(a, conversationId);
    await shows(b, conversationId, 1);
    // Recovery needs an offset: an event that has one.
    const other = await group((await cast()).ann, [ben]);
    await once(b, 'conversationCreated', ({ _id }) => _id === other);
    const { id } = b;
    await cut(b);
    for (let index = 0; index < 2; index += 1) await say(a, conversationId);
    await shows(phone, conversationId, 3);
    await recovers(b, id);
    await say(a, conversationId);
    for (const socket of [b, phone]) await shows(socket, conversationId, 4, 'after coming back');
    await cut(b);
    await succeed(phone, 'markConversationAsRead', { conversationId });
    await say(a, conversationId);
    await shows(phone, conversationId, 1);
    await recovers(b, id);
    await shows(b, conversationId, 1, 'without a further message');
  });

  check('status: sent until it reached somebody else, then delivered, then read', async (t) => {
    const [eve, fay] = await Promise.all([register('eve'), register('fay')]);
    const conversationId = await direct(eve, fay);
    const [e, second] = await Promise.all([connect(t, eve), connect(t, eve, { gateway: 1 })]);
    await join(conversationId, e, second);
    const statuses = async (user, gateway) =>
      ok(await as(user, 'GET', `/chats/conversations/${conversationId}/messages`, undefined, { gateway }), 200).messages.map(({ status }) => status).reverse();
    const become = (...expected) =>
      until(async () => {
        for (const gateway of [0, 1]) if ((await statuses(eve, gateway)).join() !== expected.join()) return quiet(100);
        return true;
      }, expected.join());

    const first = await say(e, conversationId);
    assert.equal((await once(second, 'newMessage', ({ message }) => message._id === first)).message.status, 'sent');
    await quiet(SILENCE_MS);
    assert.deepEqual(await statuses(eve, 0), ['sent'], 'one’s own devices are nobody else');

    const f = await connect(t, fay, { gateway: 1 });
    await join(conversationId, f);
    const next = await say(e, conversationId);
    await once(f, 'newMessage', ({ message }) => message._id === next);
    await become('delivered', 'delivered');
    await succeed(f, 'markAsRead', { conversationId, messageId: first });
    await become('read', 'delivered');
    await succeed(f, 'markConversationAsRead', { conversationId });
    await become('read', 'read');
    const [overview] = ok(await as(eve, 'GET', '/chats/conversations'), 200);
    assert.equal(overview.lastMessage.status, 'read');
    f.disconnect();
    await shown(eve, false, [fay]);
    await say(e, conversationId);
    await quiet(SILENCE_MS);
    assert.deepEqual(await statuses(eve, 1), ['read', 'read', 'sent']);
    const d = await client(t, 'direct', fay);
    const there = await sendTo(await client(t, 'direct', eve, { gateway: 1 }), fay, 'to another dialect');
    await once(d, 'receive_message', ({ id }) => id === there);
    await become('read', 'read', 'delivered', 'delivered');
  });

  await Promise.all(tests);
});
