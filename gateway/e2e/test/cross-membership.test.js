// Coming, going and ending, across dialects: whoever is in a conversation hears all of it, whoever is not hears nothing.

import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from './support/away.js';
import { client, guest } from './support/dialects.js';
import { people, slug, unique } from './support/people.js';
import { as, failed, ok } from './support/rest.js';
import { emitAck, heard, quiet, received, succeed } from './support/socket.js';
import { voice } from './support/voices.js';

const limit = { timeout: 360_000 };
const cast = people('ann', 'ben', 'cat', 'dan', 'eve');

/** What a socket of each dialect sends to `thread`. */
const SENDING = {
  rooms: (roomId) => ['chat.sendMessage', { roomId, content: unique() }],
  namespaced: (roomId) => ['chat:message', { roomId, content: unique() }],
};

async function group(owner, others) {
  const body = { participantIds: others.map(({ id }) => id), type: 'group', name: unique('group') };
  return ok(await as(owner, 'POST', '/conversations', body), 201).id;
}

/** ann's group with a client of each dialect: ben speaks `rooms`, cat `namespaced`, dan `direct`; they have entered unless told not to. */
async function scene(t, { members = ['ben', 'cat', 'dan'], entered = true } = {}) {
  const users = await cast();
  const id = await group(users.ann, members.map((name) => users[name]));
  const thread = { id, called: id };
  const ann = voice('conversations', await client(t, 'conversations', users.ann), users.ann, thread);
  await ann.enter();
  const others = [];
  for (const [index, [name, dialect]] of [['ben', 'rooms'], ['cat', 'namespaced'], ['dan', 'direct']].entries()) {
    const one = voice(dialect, await client(t, dialect, users[name], { gateway: index % 2 }), users[name], thread);
    if (entered) await one.enter();
    others.push(one);
  }
  return { ann, others, id, thread };
}

/** Events that `socket` received since there were `count` of them, and that name `id`. */
const since = (socket, count, id) => received(socket).slice(count).filter((entry) => JSON.stringify(entry).includes(id));

test('who is removed is told, and hears nothing more, in any dialect', limit, async (t) => {
  const { ann, others, id } = await scene(t);
  const before = unique('before');
  await ann.say(before);
  await Promise.all(others.map((one) => one.hears(before)));
  for (const [index, one] of others.entries()) {
    const remaining = others.slice(index + 1);
    const count = received(one.socket).length;
    ok(await as(ann.user, 'DELETE', `/chats/conversations/${id}/participants/${one.user.id}`, undefined, { gateway: index % 2 }), 204);
    await until(() => since(one.socket, count, one.user.id).length > 0, `${one.dialect} is told of the removal`);
    for (const other of remaining) await until(() => since(other.socket, 0, one.user.id).length > 0, `${other.dialect} is told of another’s removal`);
    const told = received(one.socket).length;
    const after = unique('after');
    await ann.say(after);
    await Promise.all(remaining.map((other) => other.hears(after)));
    await quiet(500);
    assert.deepEqual(since(one.socket, told, after), [], `${one.dialect} after its removal`);
    if (one.dialect in SENDING) {
      const { error } = await emitAck(one.socket, ...SENDING[one.dialect](id));
      assert.ok(['NOT_FOUND', 'FORBIDDEN'].includes(error?.code), `${one.dialect}: ${JSON.stringify(error)}`);
    }
  }
});

test('who is added hears what comes after; `direct` without entering anything', limit, async (t) => {
  const { ann, others, id } = await scene(t, { members: ['eve'], entered: false });
  const before = unique('before');
  await ann.say(before);
  const counts = others.map(({ socket }) => received(socket).length);
  ok(await as(ann.user, 'POST', `/chats/conversations/${id}/participants`, { userIds: others.map(({ user }) => user.id) }, { gateway: 1 }), 200);
  for (const [index, one] of others.entries()) {
    if (one.dialect === 'direct') await until(() => since(one.socket, counts[index], '').length > 0, 'direct is told');
    await one.enter();
  }
  const after = unique('after');
  await ann.say(after);
  await Promise.all(others.map((one) => one.hears(after)));
  for (const one of others) assert.deepEqual([one.times(before), one.times(after)], [0, 1], `${one.dialect} hears what comes after, not what was before`);
});

test('who is added at the very moment of its first word stays connected, and hears', limit, async (t) => {
  const { ann, ben, cat } = await cast();
  for (let round = 0; round < 12; round += 1) {
    const id = await group(ann, [cat]);
    const thread = { id, called: id };
    const owner = voice('conversations', await client(t, 'conversations', ann), ann, thread);
    await owner.enter();
    // Until it says something it speaks `direct`, which is shown whatever its user comes into.
    const socket = await client(t, 'rooms', ben, { gateway: round % 2 });
    const adding = as(ann, 'POST', `/chats/conversations/${id}/participants`, { userIds: [ben.id] }, { gateway: 1 });
    await quiet(round * 4);
    await succeed(socket, 'chat.addUser', { roomId: 'public' });
    ok(await adding, 200);
    const added = voice('rooms', socket, ben, thread);
    await added.enter();
    const after = unique('after');
    await owner.say(after);
    await added.hears(after);
    assert.equal(added.times(after), 1);
    socket.disconnect();
  }
});

test('who leaves over REST is out in every dialect, with all of its sockets', limit, async (t) => {
  const { ann, others: [rooms, namespaced], id, thread } = await scene(t);
  const second = voice('namespaced', await client(t, 'namespaced', rooms.user, { gateway: 1 }), rooms.user, thread);
  await second.enter();
  ok(await as(rooms.user, 'POST', `/chats/conversations/${id}/leave`, undefined, { gateway: 1 }), 204);
  const after = unique('after');
  await ann.say(after);
  await namespaced.hears(after);
  await quiet(500);
  for (const one of [rooms, second]) {
    assert.deepEqual(since(one.socket, 0, after), [], one.dialect);
    const { error } = await emitAck(one.socket, ...SENDING[one.dialect](id));
    assert.ok(['NOT_FOUND', 'FORBIDDEN'].includes(error?.code), `${one.dialect}: ${JSON.stringify(error)}`);
  }
  failed(await as(rooms.user, 'GET', `/conversations/${id}`), 404, 'NOT_FOUND');
});

test('a room that ends is over for everybody in it', limit, async (t) => {
  const { ann, ben, cat } = await cast();
  const made = ok(await as(ann, 'POST', '/api/rooms', { name: unique('room') }), 201);
  const thread = { id: made.id, called: made.id };
  const voices = [
    voice('conversations', await client(t, 'conversations', ann), ann, thread),
    voice('rooms', await client(t, 'rooms', ben, { gateway: 1 }), ben, thread),
    voice('namespaced', await client(t, 'namespaced', cat), cat, thread),
  ];
  for (const one of voices) await one.enter();
  const before = unique('before');
  await voices[0].say(before);
  await Promise.all(voices.slice(1).map((one) => one.hears(before)));
  const counts = voices.map(({ socket }) => received(socket).length);
  ok(await as(ann, 'DELETE', `/api/rooms/${made.id}`, undefined, { gateway: 1 }), 204);
  for (const [index, one] of voices.entries()) {
    await until(() => since(one.socket, counts[index], made.id).length > 0, `${one.dialect} is told that the room is over`);
    const sending = SENDING[one.dialect]?.(made.id) ?? ['sendMessage', { conversationId: made.id, content: unique() }];
    const { error } = await emitAck(one.socket, ...sending);
    assert.ok(['NOT_FOUND', 'FORBIDDEN'].includes(error?.code), `${one.dialect}: ${JSON.stringify(error)}`);
  }
  failed(await as(ann, 'GET', `/api/rooms/${made.id}`), 404, 'NOT_FOUND');
});

test('guests and accounts meet in a public room, whatever they speak', limit, async (t) => {
  const { ann } = await cast();
  const made = ok(await as(ann, 'POST', '/api/rooms', { name: unique('room') }), 201);
  const thread = { id: made.id, called: made.slug };
  const host = voice('namespaced', await client(t, 'namespaced', ann), ann, thread);
  await host.enter();
  const visitor = voice('rooms', await guest(t, 'rooms', { gateway: 1 }), undefined, thread);
  const username = slug('guest');
  await succeed(visitor.socket, 'chat.addUser', { roomId: made.slug, username });
  const greeting = unique('greeting');
  await host.say(greeting);
  assert.equal((await visitor.hears(greeting)).sender, ann.username);
  const answer = unique('answer');
  await visitor.say(answer);
  const { sender } = await host.hears(answer);
  assert.equal(sender.userName, username);
  assert.notEqual(sender.role, 'admin');
  assert.equal(heard(visitor.socket, 'error').length, 0);
});
