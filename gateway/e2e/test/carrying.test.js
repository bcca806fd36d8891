// What a transport must carry, whatever it is: many namespaces, large messages, long bursts, quick comings and goings.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Manager } from 'socket.io-client';
import { next, returns } from './support/away.js';
import { barrier, group, join, say, stream } from './support/chat.js';
import { entryUrl, transports } from './support/cluster.js';
import { people, unique } from './support/people.js';
import { connect, dial, emitAck, heard, opened, refused, succeed, watch } from './support/socket.js';

const cast = people('ann', 'ben');
const limit = { timeout: 240_000 };

test('the transport in use is the best of those asked for', limit, async (t) => {
  const { ann } = await cast();
  const socket = await connect(t, ann);
  const { engine } = socket.io;
  const best = transports.at(-1);
  if (engine.transport.name !== best) await next(engine, 'upgrade');
  assert.equal(engine.transport.name, best);
  await emitAck(socket, 'joinRoom', {});
});

test('a large message goes through, one over maxPayload ends the connection, and the next one is fine', limit, async (t) => {
  const { ann, ben } = await cast();
  const socket = await connect(t, ann, returns);
  const conversationId = await group(ann, [ben]);
  const answer = await emitAck(socket, 'sendMessage', { conversationId, content: 'x'.repeat(990_000) });
  assert.equal(answer.success, false, 'carried, read, and refused for what it says');
  const gone = next(socket, 'disconnect');
  socket.emit('sendMessage', { conversationId, content: 'x'.repeat(1_100_000) });
  await gone;
  await next(socket, 'connect');
  await succeed(socket, 'joinRoom', { conversationId });
});

test('thirty unknown namespaces around two known ones, over one connection', limit, async (t) => {
  const { ann, ben } = await cast();
  const manager = new Manager(entryUrl(), { transports, reconnection: false, autoConnect: false });
  const auth = { token: ann.token };
  const known = ['/', '/chat'].map((name) => watch(t, manager.socket(name, { auth })));
  const unknown = Array.from({ length: 30 }, (_, index) => watch(t, manager.socket(`/nowhere-${index}`, { auth })));
  const errors = Promise.all(unknown.map(refused));
  await Promise.all(known.map(opened));
  for (const error of await errors) assert.equal(error.message, 'Invalid namespace');
  const conversationId = await group(ann, [ben]);
  await join(conversationId, ...known);
  await barrier(conversationId, known[0], ...known);
});

test('acknowledgements of a burst come each to its own', limit, async (t) => {
  const { ann, ben } = await cast();
  const socket = await connect(t, ann);
  const conversationId = await group(ann, [ben]);
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, index) => emitAck(socket, 'sendMessage', { conversationId, content: `${index}`, tempId: `t${index}` })),
  );
  assert.deepEqual(answers.map(({ tempId }) => tempId), answers.map((_, index) => `t${index}`));
  assert.equal(new Set(answers.map(({ messageId }) => messageId)).size, 100);
});

test('a burst of large messages arrives whole and in order', limit, async (t) => {
  const { ann, ben } = await cast();
  const [a, b] = await Promise.all([connect(t, ann, { gateway: 0 }), connect(t, ben, { gateway: 1 })]);
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, b);
  const contents = Array.from({ length: 150 }, (_, index) => `${index} ${'漢'.repeat(3_900)}`);
  // Whoever is slow may be behind by one of three bursts: that fits into any queue.
  for (let from = 0; from < contents.length; from += 50) {
    await stream(a, contents.slice(from, from + 50).map((content) => ({ conversationId, content })));
    await barrier(conversationId, a, b);
  }
  const large = heard(b, 'newMessage').map(({ message }) => message.content).filter((content) => !content.startsWith('barrier'));
  assert.deepEqual(large, contents);
});

test('what is sent before the connection stands is sent when it does', limit, async (t) => {
  const { ann, ben } = await cast();
  const conversationId = await group(ann, [ben]);
  const socket = dial(t, { auth: { token: ann.token } });
  const answers = Promise.all(Array.from({ length: 20 }, (_, index) => emitAck(socket, 'sendMessage', { conversationId, content: `${index}`, tempId: unique() })));
  await opened(socket);
  for (const answer of await answers) assert.equal(answer.success, true, JSON.stringify(answer));
});

test('thirty clients come and go at once', limit, async (t) => {
  const { ann, ben } = await cast();
  const conversationId = await group(ann, [ben]);
  await Promise.all(
    Array.from({ length: 30 }, async (_, index) => {
      const socket = await connect(t, index % 2 === 0 ? ann : ben);
      await join(conversationId, socket);
      await say(socket, conversationId);
      socket.disconnect();
      await opened(socket);
      await succeed(socket, 'joinRoom', { conversationId });
    }),
  );
});
