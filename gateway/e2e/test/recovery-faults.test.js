// Recovery when it matters: gateways drained, gateways killed, Redis emptied.

import assert from 'node:assert/strict';
import test from 'node:test';
import { beginsAnew, comeBack, cut, heardAll, next, recoverably, recovers, returns, stays, unsettled, until } from './support/away.js';
import { barrier, group, join, say, stream } from './support/chat.js';
import { entryUrl, state } from './support/cluster.js';
import { kill, restart } from './support/gateways.js';
import { attempts, lateness, STALLS_MS } from './support/patience.js';
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
/** Somebody who was away for so long may be recovered no more (`recovery.window_seconds`), give or take a stall. */
const WINDOW_MS = 110_000;
/** How soon others know of a dead gateway's sessions, and what stalls may add to it. */
const WITHIN_MS = 5_000 + STALLS_MS;
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
  test(`a gateway’s clients are recovered elsewhere after a ${what}, in the middle of messages`, limit, recoverably(async (t) => {
    const { a, b, id, conversationId } = await pair(t);
    const stop = talking(a, conversationId);
    await quiet(200);
    const gone = next(b, 'disconnect');
    const back = next(b, 'connect');
    const injured = injure();
    try {
      await gone;
      await back;
      assert.equal(b.recovered, true);
      assert.equal(b.id, id);
      await quiet(200);
      await stop();
      await heardAll(b, conversationId, await say(a, conversationId));
    } finally {
      await stop();
      await injured;
      await mend();
    }
  }));
}

test('a gateway killed and back before its client: recovered by its successor', limit, recoverably(async (t) => {
  const { a, b, id, conversationId } = await pair(t, { options: stays });
  const gone = next(b, 'disconnect');
  kill(1);
  try {
    await gone;
    await stream(a, Array.from({ length: 30 }, () => ({ conversationId, content: unique() })));
  } finally {
    await restart(1);
  }
  await recovers(b, id, state.gateways[1].url);
  await heardAll(b, conversationId, await say(a, conversationId));
}));

test('every gateway replaced while a client is away: it is recovered', { timeout: 960_000 }, (t) => attempts(3, 'all were replaced while there was time to come back', async () => {
  // ann comes back as well meanwhile, to gateways that are replaced in their turn.
  const unsure = unsettled();
  await unsure();
  const { a, b, id, conversationId } = await pair(t, { options: stays });
  const gone = Date.now();
  await cut(b);
  const stop = talking(a, conversationId);
  try {
    for (const index of state.gateways.keys()) {
      if (index === 0) a.io.uri = entryUrl();
      await unsure();
      await restart(index);
    }
  } finally {
    await stop();
  }
  const isRecovered = await comeBack(b);
  if (!isRecovered && Date.now() - gone > WINDOW_MS) return false;
  if ((await unsure()) > 0) return false;
  assert.deepEqual([isRecovered, b.id], [true, id]);
  const last = await say(a, conversationId);
  await heardAll(b, conversationId, last);
  await heardAll(a, conversationId, last);
  return true;
}));

test('a dead owner is told at once: its session is unknown to the others', limit, async (t) => {
  const link = await poller(t, 1);
  /** What gateway `index` says at last: while Redis says nothing it cannot tell whose session it is. */
  const told = async (index, first = ask(index, 'GET', link.query)) => {
    for (let asked = first; ; asked = ask(index, 'GET', link.query)) {
      const { status, text } = await asked.answer;
      if (status !== 503) return [status, text];
      await quiet(100);
    }
  };
  const waiting = ask(0, 'GET', link.query);
  await quiet(200);
  kill(1);
  try {
    const [begun, late] = [Date.now(), lateness()];
    assert.equal((await told(0, waiting))[0], 400, 'the waiting poll');
    for (const index of [0, 2].filter((each) => each < state.gateways.length)) {
      const [status, text] = await told(index);
      assert.deepEqual([status, JSON.parse(text)], [400, { code: 1, message: 'Session ID unknown' }]);
    }
    const took = Date.now() - begun;
    assert.ok(took < WITHIN_MS + late(), `${took} ms`);
  } finally {
    await restart(1);
  }
  assert.equal((await told(1))[0], 400, 'nor does its successor know it');
});

test('after FLUSHALL nothing is recovered in part: a new session, which works', limit, async (t) => {
  const { a, b, id, conversationId } = await pair(t, { options: stays });
  await say(a, conversationId);
  await cut(b);
  await emitAck(a, 'sendMessage', { conversationId, content: 'missed' });
  await flushAll();
  // For a moment gateways do not find each other either: it may take the client more than one attempt, as it does by itself.
  await beginsAnew(b, id);
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
