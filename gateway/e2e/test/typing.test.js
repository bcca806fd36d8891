// Who is typing: straight to the others in the room, never kept, and never for longer than it is true.

import assert from 'node:assert/strict';
import test from 'node:test';
import { cut, recovers, stays, until } from './support/away.js';
import { barrier, direct, group, join, say } from './support/chat.js';
import { client, refuses, sendTo } from './support/dialects.js';
import { mortalGateway, privateGateway } from './support/gateways.js';
import { come, enter, logIn, publicRoom } from './support/namespaced.js';
import { attempts, lateness } from './support/patience.js';
import { nobody, people, register, unique } from './support/people.js';
import { as, ok } from './support/rest.js';
import { connect, emitAck, heard, once, quiet, received, rejected, succeed } from './support/socket.js';
import { stalls } from './support/stalls.js';
import { counters } from './support/truth.js';

const cast = people('ann', 'ben', 'cat', 'eve');
/** How long nobody is typing without a further word of it; what a clock may find too early, and a busy machine too late. */
const LASTS_MS = 5_000;
const EARLY_MS = 1_000;
const LATE_MS = 15_000;
/** How often a word of it is passed on. */
const INTERVAL_MS = 2_000;
/** For gateways on which nobody's typing ends within a test unless it is said to have ended. */
const LASTING = { CONFAB_HUB__TYPING_TIMEOUT_MS: '600000' };

const WORDS = ['userTyping', 'userStoppedTyping'];

/** What `socket` was told of `user`'s typing in a conversation, each checked: `[isTyping, when]`. */
function told(socket, user, conversationId) {
  return received(socket).flatMap(({ event, args, at }) => {
    if (!WORDS.includes(event) || args[0].conversationId !== conversationId || args[0].userId !== user.id) return [];
    const expected = event === 'userTyping' ? { userId: user.id, conversationId, username: user.username } : { userId: user.id, conversationId };
    assert.deepEqual(args, [expected], `${event}, without an offset`);
    return [[event === 'userTyping', at]];
  });
}

const course = (...args) => told(...args).map(([isTyping]) => isTyping);
const begins = (socket, user, id) => until(() => course(socket, user, id).at(-1) === true, `${user.username} is typing`);
const ends = (socket, user, id) => until(() => course(socket, user, id).at(-1) === false, `${user.username} is typing no more`);

/** Where clients of the cluster's own gateways go. */
const COMMON = [{ gateway: 0 }, { gateway: 1 }];

/** ann and cat with one gateway, ben with another one, all in a new group's room. */
async function trio(t, places = COMMON, options = {}) {
  const users = await cast();
  const conversationId = await group(users.ann, [users.ben, users.cat]);
  const [a, b, c] = await Promise.all([
    connect(t, users.ann, { ...places[0], ...options }), connect(t, users.ben, { ...places[1], ...options }), connect(t, users.cat, { ...places[0], ...options }),
  ]);
  await join(conversationId, a, b, c);
  return { ...users, a, b, c, conversationId };
}

test('typing', { concurrency: 16, timeout: 480_000 }, async (t) => {
  const limit = { timeout: 240_000 };
  const tests = [];
  const still = stalls(t);
  const check = (name, body) => tests.push(t.test(name, limit, still.unless(body)));
  await cast();
  // Where only a stop that was said ends anybody's typing, however slow the machine is.
  const lasting = (await Promise.all([0, 1].map(() => privateGateway(t, LASTING)))).map((url) => ({ url }));

  check('the others in the room are told, on every gateway; not the typist’s own devices, and not who has not joined', async (t) => {
    const { ann, ben, a, b, c, conversationId } = await trio(t, lasting);
    const [second, outside] = await Promise.all([connect(t, ann, lasting[1]), connect(t, ben, lasting[0])]);
    await join(conversationId, second);
    await succeed(a, 'typing', { conversationId });
    for (const socket of [b, c]) await begins(socket, ann, conversationId);
    await succeed(b, 'typing', { conversationId });
    for (const socket of [a, second, c]) await begins(socket, ben, conversationId);
    await succeed(a, 'stopTyping', { conversationId });
    for (const socket of [b, c]) await ends(socket, ann, conversationId);
    assert.deepEqual(course(c, ben, conversationId), [true], 'ben is still typing');
    await succeed(b, 'stopTyping', { conversationId });
    for (const socket of [a, second, c]) await ends(socket, ben, conversationId);
    for (const socket of [b, c]) assert.deepEqual(course(socket, ann, conversationId), [true, false]);
    for (const socket of [a, second]) assert.deepEqual(told(socket, ann, conversationId), [], 'not to herself');
    assert.deepEqual(told(b, ben, conversationId), [], 'not to himself');
    for (const word of WORDS) assert.deepEqual(heard(outside, word), [], 'he has not joined with this socket');
  });

  check('it needs no acknowledgement, and stops by itself after five seconds', async (t) => {
    const { ann, a, b, c, conversationId } = await trio(t);
    const begun = Date.now();
    a.emit('typing', { conversationId });
    for (const socket of [b, c]) await ends(socket, ann, conversationId);
    for (const socket of [b, c]) {
      const [[, from], [, to], ...more] = told(socket, ann, conversationId);
      assert.ok(to - begun >= LASTS_MS - EARLY_MS && to - from <= LASTS_MS + LATE_MS, `typing for ${to - from} ms, ${to - begun} ms after the key`);
      assert.deepEqual(more, []);
    }
  });

  check('who goes on typing is typing until the last key and five seconds', async (t) => {
    await attempts(5, 'the machine let her type for long enough', async () => {
      const { ann, a, b, c, conversationId } = await trio(t);
      const [begun, late] = [Date.now(), lateness()];
      let last = begun;
      while (Date.now() - begun < LASTS_MS + 3_000) {
        last = Date.now();
        a.emit('typing', { conversationId });
        await quiet(250);
      }
      const most = 3 + Math.floor((Date.now() - begun) / INTERVAL_MS);
      for (const socket of [b, c]) {
        const shown = course(socket, ann, conversationId);
        // A word passes every two seconds and lasts for five: whoever is held up on the way has stopped, as far as anybody can tell.
        if (!shown.every(Boolean) && (late() > EARLY_MS || (await still.since(begun)))) return false;
        assert.ok(shown.length <= most && shown.every(Boolean), `of some thirty keys: ${shown}`);
      }
      for (const socket of [b, c]) {
        await ends(socket, ann, conversationId);
        const [, at] = told(socket, ann, conversationId).at(-1);
        // Keys are throttled, so the others may have heard of one that was earlier.
        assert.ok(at - last >= LASTS_MS - INTERVAL_MS - EARLY_MS && at - last <= LASTS_MS + LATE_MS, `${at - last} ms after the last key`);
      }
      return true;
    });
  });

  check('many keys are few words', async (t) => {
    const { ann, a, b, c, conversationId } = await trio(t, lasting);
    const begun = Date.now();
    const answers = await Promise.all(Array.from({ length: 20 }, () => emitAck(a, 'typing', { conversationId })));
    assert.ok(answers.every(({ success }) => success === true), JSON.stringify(answers.find(({ success }) => !success)));
    await begins(b, ann, conversationId);
    await barrier(conversationId, b, b, c);
    const most = 3 + Math.floor((Date.now() - begun) / INTERVAL_MS);
    for (const socket of [b, c]) assert.ok(course(socket, ann, conversationId).length <= most, `${course(socket, ann, conversationId)}`);
  });

  for (const [how, speak] of [
    ['from the same device, as source 003’s component does', async ({ a, conversationId }) => {
      const content = unique();
      a.emit('sendMessage', { conversationId, content, type: 'text', tempId: unique() });
      a.emit('stopTyping', { conversationId });
      return content;
    }],
    ['over REST', async ({ ann, conversationId }) => {
      const content = unique();
      ok(await as(ann, 'POST', '/messages', { conversationId, content }, { gateway: 1 }), 201);
      return content;
    }],
  ]) {
    check(`who sends ${how} has stopped, and that is said before the message`, async (t) => {
      const scene = await trio(t);
      const { ann, a, b, c, conversationId } = scene;
      a.emit('typing', { conversationId });
      for (const socket of [b, c]) await begins(socket, ann, conversationId);
      const content = await speak(scene);
      for (const socket of [b, c]) {
        await once(socket, 'newMessage', ({ message }) => message.content === content);
        const order = received(socket).filter(({ event }) => [...WORDS, 'newMessage'].includes(event)).map(({ event }) => event);
        assert.deepEqual(order, ['userTyping', 'userStoppedTyping', 'newMessage']);
      }
      await quiet(LASTS_MS + EARLY_MS);
      for (const socket of [b, c]) assert.deepEqual(course(socket, ann, conversationId), [true, false], 'and that was all');
      // And then she types again.
      a.emit('typing', { conversationId });
      for (const socket of [b, c]) await begins(socket, ann, conversationId);
    });
  }

  check('a message that is refused ends nothing: who stops then has to be believed', async (t) => {
    const { ann, a, b, c, conversationId } = await trio(t, lasting);
    await succeed(a, 'typing', { conversationId });
    for (const socket of [b, c]) await begins(socket, ann, conversationId);
    await rejected(a, 'NOT_FOUND', 'sendMessage', { conversationId, content: unique(), replyTo: '4611686018427387904' });
    assert.deepEqual(course(b, ann, conversationId), [true]);
    await succeed(a, 'stopTyping', { conversationId });
    for (const socket of [b, c]) await ends(socket, ann, conversationId);
  });

  check('somebody else’s message ends nobody’s typing', async (t) => {
    const { ann, a, b, c, conversationId } = await trio(t, lasting);
    a.emit('typing', { conversationId });
    await begins(c, ann, conversationId);
    await barrier(conversationId, b, b, c);
    assert.deepEqual(course(c, ann, conversationId), [true]);
  });

  for (const [how, go] of [
    ['disconnects', (a) => a.disconnect()],
    ['loses its connection', (a) => cut(a)],
  ]) {
    check(`who ${how} has stopped`, async (t) => {
      const { ann, a, b, c, conversationId } = await trio(t, lasting, stays);
      a.emit('typing', { conversationId });
      for (const socket of [b, c]) await begins(socket, ann, conversationId);
      await go(a);
      for (const socket of [b, c]) await ends(socket, ann, conversationId);
    });
  }

  check('of two devices that type the last one counts; leaving the room ends it as well', async (t) => {
    const { ann, a, b, c, conversationId } = await trio(t, lasting);
    const second = await connect(t, ann, lasting[1]);
    for (const socket of [a, second]) await succeed(socket, 'typing', { conversationId });
    for (const socket of [b, c]) await begins(socket, ann, conversationId);
    await quiet(300);
    a.disconnect();
    await quiet(1_000);
    for (const socket of [b, c]) assert.deepEqual(course(socket, ann, conversationId), [true], 'the other device still types');
    second.disconnect();
    for (const socket of [b, c]) await ends(socket, ann, conversationId);
    const { cat } = await cast();
    await succeed(c, 'typing', { conversationId });
    await begins(b, cat, conversationId);
    await succeed(c, 'leaveRoom', { conversationId });
    await ends(b, cat, conversationId);
  });

  check('who joins while somebody types is told so', async (t) => {
    const { ann, ben, a, b, conversationId } = await trio(t, lasting);
    const keys = setInterval(() => a.emit('typing', { conversationId }), 500);
    t.after(() => clearInterval(keys));
    await begins(b, ann, conversationId);
    const late = await connect(t, ben, lasting[1]);
    await join(conversationId, late);
    await begins(late, ann, conversationId);
    clearInterval(keys);
    await succeed(a, 'stopTyping', { conversationId });
    await ends(late, ann, conversationId);
  });

  check('in a public room one has to be there', async (t) => {
    const { ann, ben, eve } = await cast();
    const [a, b, outside] = await Promise.all([come(t, ann, lasting[0]), come(t, ben, lasting[1]), connect(t, eve, lasting[1])]);
    const { id } = await publicRoom(a);
    for (const socket of [a, b]) await enter(socket, id);
    await rejected(outside, 'FORBIDDEN', 'typing', { conversationId: id });
    await succeed(a, 'status:typing', { roomId: id, isTyping: true });
    await once(b, 'status:typing', ({ userId, isTyping }) => userId === ann.id && isTyping);
    await succeed(a, 'chat:room:leave', id);
    await once(b, 'status:typing', ({ userId, isTyping }) => userId === ann.id && !isTyping);
  });

  check('whose gateway is killed does not type for ever', async (t) => {
    const { ann, ben } = await cast();
    const { url, kill } = await mortalGateway(t);
    const conversationId = await direct(ann, ben);
    const [a, b] = await Promise.all([connect(t, ann, { url }), connect(t, ben, { gateway: 1 })]);
    await join(conversationId, a, b);
    a.emit('typing', { conversationId });
    await begins(b, ann, conversationId);
    kill();
    await ends(b, ann, conversationId);
    assert.deepEqual(course(b, ann, conversationId), [true, false]);
  });

  check('strangers are refused, and so is what is malformed', async (t) => {
    const { ann, eve, b, conversationId } = await trio(t);
    const e = await connect(t, eve, { gateway: 1 });
    for (const event of ['typing', 'stopTyping']) {
      await rejected(e, 'NOT_FOUND', event, { conversationId });
      await rejected(e, 'NOT_FOUND', event, { conversationId: nobody() });
      for (const payload of [null, {}, 'text', 7, [], { conversationId: 7 }, { conversationId: 'nope' }, { conversationId: null }]) {
        await rejected(e, 'VALIDATION_FAILED', event, payload);
      }
    }
    await barrier(conversationId, b, b);
    assert.deepEqual(heard(b, 'userTyping'), []);
    const next = await group(ann, [eve]);
    await once(e, 'conversationCreated', ({ _id }) => _id === next);
    await join(next, e);
    ok(await as(ann, 'DELETE', `/chats/conversations/${next}/participants/${eve.id}`), 204);
    await once(e, 'participantRemoved');
    await rejected(e, 'NOT_FOUND', 'typing', { conversationId: next });
  });

  check('a member need not have joined to be seen typing', async (t) => {
    const { ann, b, conversationId } = await trio(t, lasting);
    const outside = await connect(t, ann, lasting[1]);
    await succeed(outside, 'typing', { conversationId });
    await begins(b, ann, conversationId);
    await succeed(outside, 'stopTyping', { conversationId });
    await ends(b, ann, conversationId);
  });

  check('nothing of it is kept: not in the history, not for who comes back', async (t) => {
    const { ann, ben, a, b, conversationId } = await trio(t, COMMON, stays);
    const before = await say(a, conversationId);
    await once(b, 'newMessage', ({ message }) => message._id === before);
    const was = await counters(conversationId);
    const { id } = b;
    await cut(b);
    const known = received(b).length;
    for (const event of ['typing', 'stopTyping', 'typing', 'stopTyping']) await succeed(a, event, { conversationId });
    assert.deepEqual(await counters(conversationId), was);
    const after = await say(a, conversationId);
    await recovers(b, id);
    await once(b, 'newMessage', ({ message }) => message._id === after);
    await barrier(conversationId, a, b);
    assert.deepEqual(received(b).slice(known).filter(({ event }) => WORDS.includes(event)), []);
    const { messages } = ok(await as(ben, 'GET', `/chats/conversations/${conversationId}/messages`), 200);
    assert.deepEqual(messages.slice(1).map(({ _id }) => _id), [after, before]);
    assert.equal(messages[1].seq, messages[2].seq + 1, 'no seq was used');
  });

  check('status:typing, in a group and in a public room', async (t) => {
    const { ann, ben } = await cast();
    const [a, second, b] = await Promise.all([come(t, ann), come(t, ann, { gateway: 1 }), come(t, ben, { gateway: 1 })]);
    await Promise.all([logIn(a, ann), logIn(second, ann), logIn(b, ben)]);
    const rooms = [await group(ann, [ben]), (await publicRoom(a)).id];
    for (const roomId of rooms) {
      for (const socket of [a, second, b]) await enter(socket, roomId);
      for (const isTyping of [true, false]) {
        await succeed(a, 'status:typing', { roomId, isTyping });
        const seen = await once(b, 'status:typing', (event) => event.roomId === roomId);
        assert.deepEqual(seen, { userId: ann.id, roomId, isTyping });
      }
      for (const socket of [a, second]) assert.deepEqual(heard(socket, 'status:typing', (event) => event.roomId === roomId), []);
      // Keys that follow at once may be throttled; a client tells of each.
      await until(() => {
        a.emit('status:typing', { roomId, isTyping: true });
        return heard(b, 'status:typing', (event) => event.roomId === roomId).length > 2 || quiet(250);
      }, 'typing again');
      for (const isTyping of [true, false]) await once(b, 'status:typing', (event) => event.roomId === roomId && event.isTyping === isTyping);
    }
    for (const { args } of received(b).filter(({ event }) => event === 'status:typing')) assert.equal(args.length, 1, 'no offset');
    for (const payload of [null, {}, 7, { roomId: rooms[0] }, { isTyping: true }, { roomId: rooms[0], isTyping: 'yes' }, { roomId: 7, isTyping: true }, { roomId: '', isTyping: true }]) {
      await refuses(a, 'namespaced', 'VALIDATION_FAILED', 'status:typing', payload);
    }
    const stranger = await come(t, (await cast()).eve, { gateway: 1 });
    for (const roomId of [rooms[0], nobody()]) await refuses(stranger, 'namespaced', 'NOT_FOUND', 'status:typing', { roomId, isTyping: true });
  });

  check('each dialect sees the others type in its own words', async (t) => {
    const [ann, ben, cat, dan] = await Promise.all(['ann', 'ben', 'cat', 'dan'].map((name) => register(name)));
    const conversationId = await group(ann, [ben, cat, dan]);
    const a = await client(t, 'conversations', ann, lasting[0]);
    const b = await client(t, 'namespaced', ben, lasting[1]);
    const c = await client(t, 'rooms', cat, lasting[0]);
    const d = await client(t, 'direct', dan, lasting[1]);
    await join(conversationId, a);
    await enter(b, conversationId);
    await succeed(c, 'chat.addUser', { roomId: conversationId });
    await sendTo(d, ann, 'so that it speaks its dialect');
    await succeed(a, 'typing', { conversationId });
    assert.deepEqual(await once(b, 'status:typing'), { userId: ann.id, roomId: conversationId, isTyping: true });
    assert.deepEqual(await once(d, 'user_typing'), { userId: ann.id, conversationId, isTyping: true }, 'an addition to source 002');
    await succeed(b, 'status:typing', { roomId: conversationId, isTyping: true });
    await begins(a, ben, conversationId);
    await succeed(a, 'stopTyping', { conversationId });
    assert.deepEqual(await once(b, 'status:typing'), { userId: ann.id, roomId: conversationId, isTyping: false });
    ok(await as(ben, 'POST', '/messages', { conversationId, content: unique() }), 201);
    await once(a, 'newMessage', ({ message }) => message.sender._id === ben.id);
    assert.deepEqual(course(a, ben, conversationId), [true, false]);
    for (const socket of [b, c, d]) for (const word of WORDS) assert.deepEqual(heard(socket, word), [], `${word} in another dialect`);
    for (const socket of [a, c, d]) assert.deepEqual(heard(socket, 'status:typing'), [], 'status:typing in another dialect');
  });

  await Promise.all(tests);
});
