// Who types and how much is unread, when a gateway is killed or Redis loses its memory.

import assert from 'node:assert/strict';
import test from 'node:test';
import { comeBack, next, recoverably, stays } from './support/away.js';
import { group, join, say } from './support/chat.js';
import { gatewayUrl } from './support/cluster.js';
import { kill, restart } from './support/gateways.js';
import { register } from './support/people.js';
import { flushAll } from './support/redis.js';
import { connect, heard, once, quiet, received, succeed } from './support/socket.js';
import { unreadTruth } from './support/truth.js';

/** How long nobody is typing without a further word of it, and how much later a busy machine may say so. */
const LASTS_MS = 5_000;
const LATE_MS = 15_000;
const limit = { timeout: 480_000 };
const of = (conversationId, count) => (badge) => badge.conversationId === conversationId && badge.unreadCount === count;

test('a gateway is killed: who typed there types no more, who is back from there is told what is unread', limit, recoverably(async (t) => {
  const [ann, ben, cat] = await Promise.all(['ann', 'ben', 'cat'].map((name) => register(name)));
  const a = await connect(t, ann, { gateway: 0, direct: true });
  const [b, c] = await Promise.all([ben, cat].map((user) => connect(t, user, { gateway: 1, direct: true, ...stays })));
  const conversationId = await group(ann, [ben, cat]);
  await Promise.all([b, c].map((socket) => once(socket, 'conversationCreated', ({ _id }) => _id === conversationId)));
  await join(conversationId, a, c);
  await say(a, conversationId);
  await once(b, 'unreadCount', of(conversationId, 1));
  await succeed(c, 'typing', { conversationId });
  await once(a, 'userTyping');
  const gone = next(b, 'disconnect');
  kill(1);
  try {
    await gone;
    for (let index = 0; index < 2; index += 1) await say(a, conversationId);
    assert.equal(await comeBack(b, `${gatewayUrl(0)}/chat`), true, 'recovered');
    await once(b, 'unreadCount', of(conversationId, 3));
    assert.equal(await unreadTruth(conversationId, ben.id), 3);
    await once(a, 'userStoppedTyping');
    const [begun, ended] = ['userTyping', 'userStoppedTyping'].map((word) => received(a).find(({ event }) => event === word).at);
    assert.ok(ended - begun <= LASTS_MS + LATE_MS, `typing for ${ended - begun} ms`);
  } finally {
    await restart(1);
  }
}));

test('Redis loses its memory: the last count is right', limit, async (t) => {
  const [ann, ben] = await Promise.all(['ann', 'ben'].map((name) => register(name)));
  const a = await connect(t, ann, { gateway: 0, direct: true });
  const b = await connect(t, ben, { gateway: 1, direct: true });
  const conversationId = await group(ann, [ben]);
  await once(b, 'conversationCreated', ({ _id }) => _id === conversationId);
  await join(conversationId, a);
  for (let index = 1; index <= 60; index += 1) {
    await say(a, conversationId);
    if (index === 20) await flushAll();
    await quiet(30);
  }
  await once(b, 'unreadCount', of(conversationId, 60));
  assert.equal(await unreadTruth(conversationId, ben.id), 60);
  assert.equal(heard(a, 'unreadCount').length, 0);
});
