// What is somebody's own over STOMP: direct messages, unread counts, refusals.

import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { until } from './support/away.js';
import { group, paced } from './support/chat.js';
import { client, sendTo } from './support/dialects.js';
import { nobody, people, register, slug, unique } from './support/people.js';
import { as, ok } from './support/rest.js';
import { once, quiet } from './support/socket.js';
import { dial, refuses, saying, session, WAYS } from './support/stomp.js';
import { badgeBody, barrier, privateBody } from './support/stomp-bodies.js';
import { storedMessages, unreadIs } from './support/truth.js';

const limit = { timeout: 240_000 };
const cast = people('ann', 'ben');

const write = (speaker, receiver, content = unique()) => speaker.send('/app/chat.private', { receiverId: receiver.id, content }).then(() => content);

describe('what is one’s own', { concurrency: true, ...limit }, () => {
  test('direct messages', { concurrency: true, ...limit }, async (t) => {
    const tests = [];
    const check = (title, body) => tests.push(t.test(title, limit, body));

    for (const [index, way] of WAYS.entries()) {
      check(`to both sides, on all of their devices, from the first word on, over ${way}`, async (t) => {
        const [ann, ben, cat] = await Promise.all([register('ann'), register('ben'), register('cat')]);
        const a = await Promise.all([0, 1].map((gateway) => session(t, ann, { way, gateway, direct: true })));
        const b = await Promise.all([0, 1].map((gateway) => session(t, ben, { way: WAYS[(index + 1 + gateway) % WAYS.length], gateway })));
        const stranger = await session(t, cat, { way });
        const inboxes = await Promise.all([...a, ...b].map((one) => one.listen('/user/queue/messages')));
        const strangers = await stranger.listen('/user/queue/messages');
        const first = await write(a[0], ben);
        for (const inbox of inboxes) privateBody(await inbox.next(saying(first)), { sender: ann, receiver: ben, content: first });
        const reply = await write(b[1], ann);
        for (const inbox of inboxes) privateBody(await inbox.next(saying(reply)), { sender: ben, receiver: ann, content: reply });
        const [conversation] = ok(await as(ann, 'GET', '/conversations'), 200);
        const ids = inboxes.map((inbox) => inbox.heard().map(({ id }) => id));
        const stored = await storedMessages(conversation.id);
        for (const known of ids) assert.deepEqual(known, stored.map(({ id }) => id), 'each once, in order');
        assert.deepEqual(stored.map(({ content }) => content), [first, reply]);
        assert.deepEqual(strangers.heard(), []);
      });
    }

    check('a hundred of each to the other at the same time, over all transports', async (t) => {
      const [ann, ben] = await Promise.all([register('ann'), register('ben')]);
      const sessions = await Promise.all(WAYS.map((way, index) => session(t, index % 2 ? ann : ben, { way, gateway: index % 2 })));
      const inboxes = await Promise.all(sessions.map((one) => one.listen('/user/queue/messages')));
      await paced(Array.from({ length: 200 }, (_, index) => () => {
        const speaker = sessions[index % sessions.length];
        return write(speaker, speaker.user === ann ? ben : ann, `number ${index}`);
      }));
      const [{ id }] = ok(await as(ann, 'GET', '/conversations'), 200);
      const stored = (await storedMessages(id)).map((message) => message.id);
      assert.equal(stored.length, 200);
      for (const [index, inbox] of inboxes.entries()) {
        await until(() => inbox.entries.length >= 200, `all of it over ${WAYS[index]}`);
        assert.deepEqual(inbox.heard().map((body) => body.id), stored, 'the same order everywhere');
      }
    });

    check('who subscribes at the moment of the first word misses nothing that was confirmed after it listened', async (t) => {
      for (let round = 0; round < 6; round += 1) {
        const [ann, ben] = await Promise.all([register('ann'), register('ben')]);
        const [a, b] = await Promise.all([session(t, ann), session(t, ben, { way: WAYS[round % WAYS.length], gateway: 1 })]);
        const early = write(a, ben, 'early');
        await quiet(round * 5);
        const inbox = await b.listen('/user/queue/messages');
        const late = await write(a, ben, 'late');
        await early;
        await inbox.next(saying(late));
        assert.ok(inbox.heard(saying('early')).length <= 1);
      }
    });

    check('clients that speak Socket.IO write to those that speak STOMP, and hear from them', async (t) => {
      const { ann, ben } = await cast();
      const [a, b] = await Promise.all([session(t, ann, { way: 'eventsource' }), client(t, 'direct', ben, { gateway: 1 })]);
      const inbox = await a.listen('/user/queue/messages');
      const id = await sendTo(b, ann, 'from a socket');
      assert.equal((await inbox.next(saying('from a socket'))).id, String(id));
      const content = await write(a, ben);
      const heard = await once(b, 'receive_message', saying(content));
      assert.deepEqual([heard.senderId, heard.receiverId], [ann.id, ben.id]);
      assert.equal(String(heard.id), (await inbox.next(saying(content))).id);
    });

    check('what was put in other words or taken back is shown as such', async (t) => {
      const [ann, ben] = await Promise.all([register('ann'), register('ben')]);
      const [a, b] = await Promise.all([session(t, ann), session(t, ben, { way: 'xhr-polling', gateway: 1 })]);
      const inboxes = await Promise.all([a, b].map((one) => one.listen('/user/queue/messages')));
      const content = await write(a, ben);
      const { id } = await inboxes[0].next(saying(content));
      ok(await as(ann, 'PUT', `/messages/${id}`, { content: 'other words' }), 200);
      for (const inbox of inboxes) assert.equal((await inbox.next(({ type }) => type === 'EDIT')).content, 'other words');
      ok(await as(ann, 'DELETE', `/messages/${id}`, undefined, { gateway: 1 }), 200);
      for (const inbox of inboxes) assert.equal((await inbox.next(({ type }) => type === 'DELETE')).id, id);
    });

    check('a group is not among them', async (t) => {
      const [ann, ben] = await Promise.all([register('ann'), register('ben')]);
      const b = await session(t, ben);
      const inbox = await b.listen('/user/queue/messages');
      const id = await group(ann, [ben]);
      ok(await as(ann, 'POST', '/messages', { conversationId: id, content: 'to the group' }), 201);
      const a = await session(t, ann);
      await write(a, ben, 'to ben');
      await inbox.next(saying('to ben'));
      assert.deepEqual(inbox.heard(saying('to the group')), []);
    });

    await Promise.all(tests);
  });

  test('notifications: what one has not read, wherever it is', limit, async (t) => {
    const [ann, ben] = await Promise.all([register('ann'), register('ben')]);
    const id = await group(ann, [ben]);
    const a = await session(t, ann);
    const b = await Promise.all(WAYS.map((way, gateway) => session(t, ben, { way, gateway: gateway % 2 })));
    const inboxes = await Promise.all(b.map((one) => one.listen('/user/queue/notifications')));
    const of = (roomId) => (body) => body.roomId === roomId;
    const shows = (inbox, roomId, count) => until(() => inbox.heard(of(roomId)).at(-1)?.unreadCount === count, `${count} unread`);
    for (let count = 1; count <= 3; count += 1) {
      await a.send(`/app/chat/${id}/sendMessage`, { content: unique() });
      await Promise.all(inboxes.map((inbox) => shows(inbox, id, count)));
    }
    for (const inbox of inboxes) inbox.heard(({ type }) => type === 'UNREAD').forEach(badgeBody);
    await unreadIs('three messages over STOMP', id, [ben, 3], [ann, 0]);
    // Who looks at the room is not told that there is something in it.
    const topic = await b[0].listen(`/topic/${id}`);
    await barrier(a, id, topic);
    await Promise.all(inboxes.slice(1).map((inbox) => shows(inbox, id, 4)));
    await quiet(1_500);
    assert.equal(inboxes[0].heard(of(id)).at(-1).unreadCount, 3, 'it is subscribed to the room');
    ok(await as(ben, 'PUT', '/messages/mark-as-read', { conversationId: id }), 200);
    await Promise.all(inboxes.slice(1).map((inbox) => shows(inbox, id, 0)));
    // A direct conversation that did not exist.
    const cat = await register('cat');
    const c = await session(t, cat, { way: 'xhr-streaming' });
    await write(c, ben, 'hello');
    const [made] = ok(await as(cat, 'GET', '/conversations'), 200);
    await Promise.all(inboxes.map((inbox) => shows(inbox, made.id, 1)));
  });

  test('what is refused is said on the errors queue, and the session lives', { concurrency: true, ...limit }, async (t) => {
    const { ann, ben } = await cast();
    const hidden = await group(ben, [await register('cat')]);
    await Promise.all(WAYS.map((way) => t.test(way, limit, async (t) => {
      const a = await session(t, ann, { way });
      const errors = await a.listen('/user/queue/errors');
      const roomId = slug();
      const inbox = await a.listen(`/topic/${roomId}`);
      await a.send('/app/chat.addUser', { roomId });
      for (const [destination, body, ...codes] of [
        ['/app/chat.sendMessage', 'not JSON', 'VALIDATION_FAILED'],
        ['/app/chat.sendMessage', '', 'VALIDATION_FAILED'],
        ['/app/chat.sendMessage', [1], 'VALIDATION_FAILED'],
        ['/app/chat.sendMessage', { roomId }, 'VALIDATION_FAILED'],
        ['/app/chat.sendMessage', { roomId, content: '   ' }, 'VALIDATION_FAILED'],
        ['/app/chat.sendMessage', { roomId, content: 'x'.repeat(4_001) }, 'VALIDATION_FAILED', 'PAYLOAD_TOO_LARGE'],
        ['/app/chat.sendMessage', { roomId, content: 'a\u0000b' }, 'VALIDATION_FAILED'],
        ['/app/chat.sendMessage', { roomId, content: 7 }, 'VALIDATION_FAILED'],
        ['/app/chat.sendMessage', { roomId: 'No Such Room!', content: 'x' }, 'VALIDATION_FAILED', 'NOT_FOUND'],
        ['/app/chat.sendMessage', { roomId: hidden, content: 'let me in' }, 'NOT_FOUND', 'FORBIDDEN'],
        [`/app/chat/${hidden}/sendMessage`, { content: 'let me in' }, 'NOT_FOUND', 'FORBIDDEN'],
        [`/app/chat/${hidden}/addUser`, {}, 'NOT_FOUND', 'FORBIDDEN'],
        [`/app/chat/${nobody()}/sendMessage`, { content: 'anybody?' }, 'NOT_FOUND', 'FORBIDDEN'],
        ['/app/chat.private', { receiverId: ann.id, content: 'to myself' }, 'VALIDATION_FAILED'],
        ['/app/chat.private', { receiverId: nobody(), content: 'anybody?' }, 'NOT_FOUND'],
        ['/app/chat.private', { receiverId: 'ben', content: 'hello' }, 'VALIDATION_FAILED', 'NOT_FOUND'],
        ['/app/chat.private', { content: 'to whom?' }, 'VALIDATION_FAILED'],
        ['/app/no.such.thing', { content: 'x' }, 'VALIDATION_FAILED', 'NOT_FOUND'],
        ['/elsewhere', { content: 'x' }, 'VALIDATION_FAILED', 'NOT_FOUND'],
        ['/topic/public', { content: 'past the application' }, 'VALIDATION_FAILED', 'NOT_FOUND', 'FORBIDDEN'],
      ]) {
        await refuses(a, errors, codes, destination, body);
      }
      for (const topic of [hidden, nobody(), 'No Such Room!', 'a/b/c']) {
        const known = errors.entries.length;
        a.client.subscribe(`/topic/${topic}`, () => assert.fail('nothing is shown'));
        await until(() => errors.entries.length > known, `/topic/${topic} is refused`);
        assert.ok(['NOT_FOUND', 'FORBIDDEN', 'VALIDATION_FAILED'].includes((await errors.next()).code));
      }
      await barrier(a, roomId, inbox);
      assert.deepEqual([a.connects, a.errors.length, a.closes.length], [1, 0, 0]);
    })));
  });

  test('without an errors queue a refusal is an ERROR, and the end', { concurrency: true, ...limit }, async (t) => {
    const { ann, ben } = await cast();
    const hidden = await group(ben, [await register('cat')]);
    await Promise.all(WAYS.map((way) => t.test(way, limit, async (t) => {
      for (const act of [
        (a) => a.tell('/app/chat.sendMessage', 'not JSON'),
        (a) => a.tell(`/app/chat/${hidden}/sendMessage`, { content: 'let me in' }),
        (a) => a.client.subscribe(`/topic/${hidden}`, () => assert.fail('nothing is shown')),
        (a) => a.tell('/app/no.such.thing', {}),
      ]) {
        const a = await session(t, ann, { way });
        act(a);
        const { headers } = await a.failed();
        assert.ok(headers.message, 'an ERROR says why');
      }
      // Nor does one that was unsubscribed from help.
      const a = await session(t, ann, { way });
      await a.unlisten(await a.listen('/user/queue/errors'));
      a.tell('/app/chat.sendMessage', 'not JSON');
      await a.failed();
    })));
  });

  test('guests have no queues but that of errors', limit, async (t) => {
    for (const queue of ['messages', 'notifications']) {
      const g = await dial(t, { way: 'xhr-polling' }).open();
      const errors = await g.listen('/user/queue/errors');
      g.client.subscribe(`/user/queue/${queue}`, () => assert.fail('nothing is shown'));
      assert.ok(['UNAUTHORIZED', 'FORBIDDEN'].includes((await errors.next()).code));
    }
  });
});
