// What is not recovered: then the client is somebody new, gets a fresh id and no part of any history.

import assert from 'node:assert/strict';
import test from 'node:test';
import { beginsAnew, cut, heardAll, recoverably, recovers, stays } from './support/away.js';
import { barrier, group, join, say } from './support/chat.js';
import { people } from './support/people.js';
import { connect, emitAck, heard, refused } from './support/socket.js';
import { session } from './support/wire.js';

const cast = people('ann', 'ben', 'eve');
const limit = { timeout: 240_000 };

/** ben, away since one message; what he missed is one more. */
async function absent(t) {
  const { ann, ben, eve } = await cast();
  const [a, b] = await Promise.all([connect(t, ann), connect(t, ben, stays)]);
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, b);
  const known = await barrier(conversationId, a, b);
  const { id } = b;
  await cut(b);
  const missed = await say(a, conversationId);
  return { ann, ben, eve, a, b, id, conversationId, known, missed };
}

/** The socket is new: it heard nothing of what it missed, and works once it has joined again. */
async function anew(socket, was, { a, conversationId, missed }, where) {
  await beginsAnew(socket, was, undefined, where);
  await join(conversationId, socket);
  await barrier(conversationId, a, socket);
  assert.equal(heard(socket, 'newMessage', ({ message }) => message._id === missed).length, 0, `no partial replay ${where}`);
}

for (const [what, change] of Object.entries({
  'an offset that is garbage': (socket) => { socket._lastOffset = 'garbage'; },
  'an offset that is empty': (socket) => { socket._lastOffset = ''; },
  'an offset with something behind it': (socket) => { socket._lastOffset += 'x'; },
  'an offset cut short': (socket) => { socket._lastOffset = socket._lastOffset.split('-')[0]; },
  'an offset spelt otherwise': (socket) => { socket._lastOffset = `0${socket._lastOffset}`; },
  'a very long offset': (socket) => { socket._lastOffset = 'x'.repeat(10_000); },
  'an offset from the future': (socket) => { socket._lastOffset = socket._lastOffset.replace(/^\d/, '9'); },
  'a number for an offset': (socket) => { socket._lastOffset = 7; },
  'an object for an offset': (socket) => { socket._lastOffset = { $gt: '' }; },
  'a pid that is garbage': (socket) => { socket._pid = 'garbage'; },
  'a pid with one character changed': (socket) => { socket._pid = (socket._pid[0] === 'A' ? 'B' : 'A') + socket._pid.slice(1); },
  'a pid that is too long': (socket) => { socket._pid += 'A'; },
  'a very long pid': (socket) => { socket._pid = 'x'.repeat(10_000); },
  'a pid with what keys are made of in it': (socket) => { socket._pid = 'a:b{c}\n*\r\u0000'; },
  'a number for a pid': (socket) => { socket._pid = 7; },
})) {
  test(`${what} means a new session`, limit, async (t) => {
    const scene = await absent(t);
    change(scene.b);
    await anew(scene.b, scene.id, scene, what);
  });
}

test('another session’s pid is of no use with one’s own token, and does its owner no harm', limit, recoverably(async (t) => {
  const scene = await absent(t);
  const thief = await connect(t, scene.eve, stays);
  const own = thief.id;
  await cut(thief);
  const ownPid = thief._pid;
  thief._pid = scene.b._pid;
  thief._lastOffset = scene.b._lastOffset;
  await beginsAnew(thief, scene.id, undefined, 'as somebody else');
  assert.notEqual(thief.id, own);
  assert.notEqual(thief._pid, ownPid);
  const answer = await emitAck(thief, 'joinRoom', { conversationId: scene.conversationId });
  assert.equal(answer.error.code, 'NOT_FOUND', 'it is who its token says');
  assert.equal(heard(thief, 'newMessage').length, 0);

  await recovers(scene.b, scene.id, undefined, 'the owner, after the attempt');
  await heardAll(scene.b, scene.conversationId, await say(scene.a, scene.conversationId));
}));

test('a pid without a token, or with a bad one, opens nothing', limit, async (t) => {
  const { b, id, a, conversationId } = await absent(t);
  const { auth } = b;
  b.auth = { token: 'garbage' };
  assert.deepEqual((await refused(b)).data, { code: 'UNAUTHORIZED' });
  b.disconnect();
  b.auth = {};
  await beginsAnew(b, id, undefined, 'without a token');
  const answer = await emitAck(b, 'joinRoom', { conversationId });
  assert.equal(answer.error.code, 'NOT_FOUND', 'it is a guest, who may see public rooms only');
  b.disconnect();
  b.auth = auth;
  await beginsAnew(b, id);
  await join(conversationId, b);
  await barrier(conversationId, a, b);
});

test('a pid of one namespace is none in another', limit, async (t) => {
  const { ben, b, id } = await absent(t);
  const link = await session(t);
  link.send(`40${JSON.stringify({ token: ben.token, pid: b._pid, offset: b._lastOffset })}`);
  const answer = await link.next();
  assert.equal(answer.slice(0, 2), '40');
  const { sid, pid } = JSON.parse(answer.slice(2));
  assert.notEqual(sid, id);
  assert.notEqual(pid, b._pid);
});

test('pids cannot be guessed from socket ids, nor from each other', limit, async (t) => {
  const { ann } = await cast();
  const seen = [];
  for (let count = 0; count < 5; count += 1) {
    const socket = await connect(t, ann);
    assert.equal(typeof socket._pid, 'string');
    assert.ok(!socket._pid.includes(socket.id) && !socket.id.includes(socket._pid));
    assert.ok(socket._pid.length >= 16, socket._pid);
    seen.push(socket._pid);
  }
  assert.equal(new Set(seen).size, seen.length);
});

test('by hand: the answer to CONNECT has sid and pid and nothing else; the older of two connections is closed', limit, async (t) => {
  const { ann, ben } = await cast();
  const a = await connect(t, ann);
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a);
  const connectBy = async (link, auth) => {
    link.send(`40/chat,${JSON.stringify({ token: ben.token, ...auth })}`);
    const answer = await link.next();
    assert.ok(answer.startsWith('40/chat,'), answer);
    return JSON.parse(answer.slice('40/chat,'.length));
  };
  const offsets = [];
  /** Reads until the message arrives, remembering offsets; what it read. */
  const readUntil = async (link, messageId) => {
    for (;;) {
      const frame = await link.next();
      if (frame === '2') {
        link.send('3');
        continue;
      }
      assert.ok(!frame.startsWith('43') || typeof JSON.parse(frame.slice(frame.indexOf('['))).at(-1) !== 'string', 'no offset in an acknowledgement');
      if (!frame.startsWith('42/chat,')) continue;
      const args = JSON.parse(frame.slice('42/chat,'.length));
      if (typeof args.at(-1) === 'string' && args.length > 1) offsets.push(args.at(-1));
      if (args[0] === 'newMessage' && args[1].message._id === messageId) return;
    }
  };
  const first = await session(t, 0);
  const was = await connectBy(first);
  assert.deepEqual(Object.keys(was), ['sid', 'pid']);
  first.send(`42/chat,1${JSON.stringify(['joinRoom', { conversationId }])}`);
  for (let frame = ''; !frame.startsWith('43/chat,1['); ) frame = await first.next();
  await readUntil(first, await say(a, conversationId, 'one'));
  const kept = offsets.at(-1);
  await readUntil(first, await say(a, conversationId, 'two'));

  const second = await session(t, 1);
  const is = await connectBy(second, { pid: was.pid, offset: kept });
  assert.deepEqual(is, was, 'recovered: the same sid and pid');
  await first.over();
  assert.ok(second.isOpen());
  await readUntil(second, await say(a, conversationId, 'three'));
});
