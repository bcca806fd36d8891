// Who is present in a public room, when gateways die and Redis forgets; and conversations that are followed without joining.

import assert from 'node:assert/strict';
import test from 'node:test';
import { comeBack, cut, next, recoverable, recoverably, recovers, returns, stays, until } from './support/away.js';
import { entryUrl } from './support/cluster.js';
import { client, sendTo } from './support/dialects.js';
import { kill, restart } from './support/gateways.js';
import { attempts } from './support/patience.js';
import { people, slug, unique } from './support/people.js';
import { flushAll } from './support/redis.js';
import { as, ok } from './support/rest.js';
import { heard, once, quiet, succeed } from './support/socket.js';
import { stalls } from './support/stalls.js';

const cast = people('ann', 'ben', 'cat');
/** Who is back by then has been there all the time, unless Redis or a gateway stood still before that was noted. */
const SOON_MS = 1_000;
const limit = { timeout: 480_000 };

const enter = (socket, roomId) => succeed(socket, 'chat.addUser', { roomId });
const told = (socket, type, username) => heard(socket, 'userStatus', (status) => status.type === type && status.username === username).length;
const present = async (user, room) => ok(await as(user, 'GET', `/api/rooms/${room}/users`), 200).map(({ username }) => username).sort();

test('who was on a gateway that is killed has left, unless it is back elsewhere', limit, recoverably((t) => attempts(3, 'ben was soon back', async () => {
  const { ann, ben, cat } = await cast();
  const roomId = slug();
  const still = stalls(t);
  const a = await client(t, 'rooms', ann, { gateway: 0, direct: true });
  // ben comes back by another way; cat does not.
  const b = await client(t, 'rooms', ben, { ...returns, gateway: 1, direct: true });
  const c = await client(t, 'rooms', cat, { ...stays, gateway: 1, direct: true });
  b.io.uri = entryUrl();
  for (const socket of [a, b, c]) await enter(socket, roomId);
  await until(() => told(a, 'JOIN', cat.username) === 1, 'everybody is there');
  const back = next(b, 'connect');
  const killed = Date.now();
  kill(1);
  try {
    await back;
    const wasSoon = Date.now() - killed < SOON_MS;
    assert.equal(b.recovered, true);
    await until(() => told(a, 'LEAVE', cat.username) === 1, 'who is gone has left');
    if (told(a, 'LEAVE', ben.username) > 0 && (!wasSoon || (await still.since(killed)))) return false;
    assert.deepEqual(await present(ann, roomId), [ann.username, ben.username].sort());
    assert.deepEqual([told(a, 'LEAVE', ben.username), told(a, 'JOIN', ben.username)], [0, 1], 'who is back was never away');
    // What it called the room still holds.
    await succeed(b, 'chat.sendMessage', { roomId, content: 'still here' });
    const { roomId: name } = await once(b, 'message', ({ content }) => content === 'still here');
    assert.equal(name, roomId);
    return true;
  } finally {
    await restart(1);
  }
})));

test('a rolling restart shows nobody as gone', limit, (t) => attempts(3, 'ben was soon back', async () => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const a = await client(t, 'rooms', ann, { gateway: 0, direct: true });
  const b = await client(t, 'rooms', ben, { ...returns, gateway: 2, direct: true });
  b.io.uri = entryUrl();
  for (const socket of [a, b]) await enter(socket, roomId);
  await until(() => told(a, 'JOIN', ben.username) === 1, 'both are there');
  const [still, begun] = [stalls(t), Date.now()];
  const absence = next(b, 'disconnect').then(async () => {
    const gone = Date.now();
    await next(b, 'connect');
    return Date.now() - gone;
  });
  await Promise.all([restart(2), absence]);
  await quiet(7_000);
  if (told(a, 'LEAVE', ben.username) > 0 && ((await absence) >= SOON_MS || (await still.since(begun)))) return false;
  assert.deepEqual([told(a, 'LEAVE', ben.username), told(a, 'JOIN', ben.username)], [0, 1]);
  assert.deepEqual(await present(ann, roomId), [ann.username, ben.username].sort());
  return true;
}));

test('a Redis that forgot who is present is told again, and nobody hears of it', limit, (t) => attempts(5, 'it was told in time', async () => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const still = stalls(t);
  const a = await client(t, 'rooms', ann, { gateway: 0 });
  const b = await client(t, 'rooms', ben, { gateway: 1 });
  for (const socket of [a, b]) await enter(socket, roomId);
  await until(() => told(a, 'JOIN', ben.username) === 1, 'both are there');
  const emptied = Date.now();
  await flushAll();
  await until(async () => (await present(ann, roomId)).length === 2, 'both are there again');
  // While its memory is young nobody is announced; a gateway that stands still as long comes too late for that.
  if (told(a, 'LEAVE', ben.username) + told(a, 'JOIN', ben.username) > 1 && (await still.since(emptied))) return false;
  assert.deepEqual([told(a, 'LEAVE', ben.username), told(a, 'JOIN', ben.username)], [0, 1]);
  await succeed(b, 'chat.removeUser', { roomId });
  await until(() => told(a, 'LEAVE', ben.username) === 1, 'and leaving is said as ever');
  return true;
}));

test('direct messages reach a client that comes back after its gateway was killed, also from somebody new', limit, recoverably(async (t) => {
  const { ann, ben, cat } = await cast();
  const a = await client(t, 'direct', ann, { gateway: 0, direct: true });
  const c = await client(t, 'direct', cat, { gateway: 0, direct: true });
  const b = await client(t, 'direct', ben, { ...stays, gateway: 1, direct: true });
  const contents = [unique('before'), unique('away'), unique('stranger'), unique('after')];
  await sendTo(a, ben, contents[0]);
  await once(b, 'receive_message', ({ content }) => content === contents[0]);
  await recoverable(b);
  b.io.uri = entryUrl();
  const gone = next(b, 'disconnect');
  kill(1);
  await gone;
  try {
    await sendTo(a, ben, contents[1]);
    await sendTo(c, ben, contents[2]);
    assert.equal(await comeBack(b), true);
    await sendTo(a, ben, contents[3]);
    await once(b, 'receive_message', ({ content }) => content === contents[3]);
    assert.deepEqual(heard(b, 'receive_message').map(({ content }) => content), contents, 'each once, in order');
  } finally {
    await restart(1);
  }
}));

test('who was away when a room ended is told so, with what was said before', limit, recoverably(async (t) => {
  const { ann, ben } = await cast();
  const room = ok(await as(ann, 'POST', '/api/rooms', { name: unique('short lived') }), 201);
  const [a, b] = await Promise.all([client(t, 'rooms', ann), client(t, 'rooms', ben, { ...stays, gateway: 1 })]);
  for (const socket of [a, b]) await enter(socket, room.slug);
  await succeed(a, 'chat.sendMessage', { roomId: room.slug, content: 'seen' });
  await once(b, 'message', ({ content }) => content === 'seen');
  const { id } = b;
  await cut(b);
  await succeed(a, 'chat.sendMessage', { roomId: room.slug, content: 'missed' });
  ok(await as(ann, 'DELETE', `/api/rooms/${room.id}`), 204);
  await recovers(b, id);
  await once(b, 'chat.roomDeleted');
  assert.deepEqual(heard(b, 'message').map(({ content }) => content), ['seen', 'missed']);
  const answer = await b.emitWithAck('chat.sendMessage', { roomId: room.slug, content: 'too late' });
  assert.equal(answer.success, false, JSON.stringify(answer));
}));
