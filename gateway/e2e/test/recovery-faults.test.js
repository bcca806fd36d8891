// Recovery when it matters: gateways drained, gateways killed, Redis emptied.

import assert from 'node:assert/strict';
import test from 'node:test';
import { comeBack, cut, heardAll, next, recovers, returns, stays, until } from './support/away.js';
import { barrier, group, join, say, stream } from './support/chat.js';
import { entryUrl, state } from './support/cluster.js';
import { kill, restart } from './support/gateways.js';
import { people, unique } from './support/people.js';
import { flushAll } from './support/redis.js';
import { connect, emitAck, quiet } from './support/socket.js';
import { ask, poller } from './support/wire.js';

const cast = people('ann', 'ben');
const limit = { timeout: 480_000 };

/** ben with gateway 1 alone, coming back through the common door; ann speaks from gateway 0. */
async function pair(t, { options = returns, speaker = 0 } = {}) {
  const { ann, ben } = await cast();
  const a = await connect(t, ann, { ...returns, gateway: speaker, direct: true });
  const b = await connect(t, ben, { ...options, gateway: 1, direct: true });
  b.io.uri = entryUrl();
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, b);
  await barrier(conversationId, a, b);
  return { a, b, id: b.id, conversationId };
}

/** So many messages are said at most while somebody is away: half of what a gateway makes up for (`recovery.max_events`). */
const MOST_MISSED = 1_000;
/** How long somebody goes on trying to say something. */
const INSIST_MS = 60_000;

/** Talks until told to stop: messages, all confirmed, sent again under their tempId if the speaker's connection broke. */
function talking(socket, conversationId) {
  let wanted = true;
  const done = (async () => {
    for (let said = 0; wanted && said < MOST_MISSED; said += 1) {
      const tempId = unique('temp');
      const deadline = Date.now() + INSIST_MS;
      for (;;) {
        const answer = await socket.timeout(3_000).emitWithAck('sendMessage', { conversationId, content: tempId, tempId }).catch(() => undefined);
        if (answer?.success) break;
        assert.ok(Date.now() < deadline, `confirmed at last: ${JSON.stringify(answer)}`);
        await quiet(50);
      }
      // So that it goes on for as long as a slow machine needs to replace its gateways.
      await quiet(10);
    }
  })();
  return () => {
    wanted = false;
    return done;
  };
}

for (const [what, injure, mend] of [
  ['kill -9', () => kill(1), () => restart(1)],
  ['drain', () => restart(1), () => {}],
]) {
  test(`a gateway’s clients are recovered elsewhere after a ${what}, in the middle of messages`, limit, async (t) => {
    const { a, b, id, conversationId } = await pair(t);
    const stop = talking(a, conversationId);
    await quiet(200);
    const gone = next(b, 'disconnect');
    const back = next(b, 'connect', 60_000);
    const injured = injure();
    await gone;
    await back;
    assert.equal(b.recovered, true);
    assert.equal(b.id, id);
    await quiet(200);
    await stop();
    await heardAll(b, conversationId, await say(a, conversationId));
    await injured;
    await mend();
  });
}

test('a gateway killed and back before its client: recovered by its successor', limit, async (t) => {
  const { a, b, id, conversationId } = await pair(t, { options: stays });
  const gone = next(b, 'disconnect');
  kill(1);
  await gone;
  await stream(a, Array.from({ length: 30 }, () => ({ conversationId, content: unique() })));
  await restart(1);
  await recovers(b, id, state.gateways[1].url);
  await heardAll(b, conversationId, await say(a, conversationId));
});

test('every gateway replaced while a client is away: it is recovered', limit, async (t) => {
  const { a, b, id, conversationId } = await pair(t, { options: stays });
  await cut(b);
  const stop = talking(a, conversationId);
  for (const index of state.gateways.keys()) {
    if (index === 0) a.io.uri = entryUrl();
    await restart(index);
  }
  await stop();
  await recovers(b, id);
  const last = await say(a, conversationId);
  await heardAll(b, conversationId, last);
  await heardAll(a, conversationId, last);
});

test('a dead owner is told at once: its session is unknown to the others', limit, async (t) => {
  const link = await poller(t, 1);
  const waiting = ask(0, 'GET', link.query);
  await quiet(200);
  kill(1);
  const begun = Date.now();
  const answer = await waiting.answer;
  assert.equal(answer.status, 400, 'the waiting poll');
  for (const index of [0, 2].filter((each) => each < state.gateways.length)) {
    const { status, text } = await ask(index, 'GET', link.query).answer;
    assert.deepEqual([status, JSON.parse(text)], [400, { code: 1, message: 'Session ID unknown' }]);
  }
  assert.ok(Date.now() - begun < 20_000, `${Date.now() - begun} ms`);
  await restart(1);
  assert.equal((await ask(1, 'GET', link.query).answer).status, 400, 'nor does its successor know it');
});

test('after FLUSHALL nothing is recovered in part: a new session, which works', limit, async (t) => {
  const { a, b, id, conversationId } = await pair(t, { options: stays });
  await say(a, conversationId);
  await cut(b);
  await emitAck(a, 'sendMessage', { conversationId, content: 'missed' });
  await flushAll();
  // For a moment gateways do not find each other either: it may take the client more than one attempt, as it does by itself.
  b.io.reconnection(true);
  b.io.reconnectionDelay(100);
  const back = next(b, 'connect', 60_000);
  b.connect();
  await back;
  assert.notEqual(b.recovered, true, 'not recovered');
  assert.notEqual(b.id, id, 'a fresh socket id');
  b.io.reconnection(false);
  await join(conversationId, b);
  await barrier(conversationId, a, b);
  // And a new session is recovered like any other, once the gateways have found out and compared what they know.
  await until(async () => {
    const fresh = b.id;
    await cut(b);
    await say(a, conversationId);
    if (await comeBack(b)) return b.id === fresh;
    await join(conversationId, b);
    await barrier(conversationId, a, b);
    return false;
  }, 'sessions are recovered again');
  await barrier(conversationId, a, b);
});

test('FLUSHALL under a living connection costs it nothing', limit, async (t) => {
  const { a, b, conversationId } = await pair(t);
  const stop = talking(a, conversationId);
  await quiet(100);
  await flushAll();
  await quiet(1_500);
  await stop();
  await heardAll(b, conversationId, await say(a, conversationId));
});
