// Recovery on gateways of the test's own: switched off, with a short window, with a quick heartbeat.

import assert from 'node:assert/strict';
import test from 'node:test';
import { beginsAnew, comeBack, cut, heardAll, next, recoverably, recovers, stays } from './support/away.js';
import { barrier, group, join, say } from './support/chat.js';
import { gatewayUrl, state } from './support/cluster.js';
import { mortalGateway } from './support/gateways.js';
import { attempts } from './support/patience.js';
import { people } from './support/people.js';
import { connect, heard, quiet } from './support/socket.js';

const cast = people('ann', 'ben');
/** A short window of recovery, in which a client comes back at once, and does not when it waits for it to pass. */
const WINDOW_MS = 4_000;
const KINDS = [['polling'], ['polling', 'websocket'], ['websocket']];

async function pair(t, url, transports) {
  const { ann, ben } = await cast();
  const [a, b] = await Promise.all([connect(t, ann), connect(t, ben, { ...stays, url, transports })]);
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, b);
  await barrier(conversationId, a, b);
  return { a, b, id: b.id, conversationId };
}

test('gateways with other settings', { concurrency: 3, timeout: 480_000 }, async (t) => {
  const limit = { timeout: 400_000 };
  await cast();
  const tests = [];
  const others = [];
  const other = async (t, settings) => {
    others.push(await mortalGateway(t, settings));
    return others.at(-1).url;
  };
  const check = (name, body) => tests.push(t.test(name, limit, recoverably(body, () => [...state.gateways, ...others])));

  check('switched off: CONNECT answers the id alone, and nothing is recovered', async (t) => {
    const url = await other(t, { CONFAB_RECOVERY__ENABLED: 'false' });
    for (const transports of KINDS) {
      const { a, b, id, conversationId } = await pair(t, url, transports);
      assert.equal(b._pid, undefined);
      assert.equal(b._lastOffset, undefined, 'no event ends in a string');
      await cut(b);
      const missed = await say(a, conversationId);
      await beginsAnew(b, id);
      await join(conversationId, b);
      await barrier(conversationId, a, b);
      assert.equal(heard(b, 'newMessage', ({ message }) => message._id === missed).length, 0);
    }
  });

  check('switched off on one gateway: a pid from another is not honoured there', async (t) => {
    const url = await other(t, { CONFAB_RECOVERY__ENABLED: 'false' });
    const { b, id } = await pair(t, gatewayUrl(0), ['websocket']);
    await cut(b);
    await beginsAnew(b, id, url);
  });

  check('the window passed: a new session, without a part of what was missed', async (t) => {
    const url = await other(t, { CONFAB_RECOVERY__WINDOW_SECONDS: String(WINDOW_MS / 1_000) });
    await Promise.all(KINDS.map((transports) => attempts(5, `a client over ${transports} was back within the window`, async () => {
      const { a, b, id, conversationId } = await pair(t, url, transports);
      const gone = Date.now();
      await cut(b);
      const isRecovered = await comeBack(b);
      if (!isRecovered && Date.now() - gone > WINDOW_MS - 1_000) return false;
      assert.deepEqual([isRecovered, b.id], [true, id], 'within the window');
      await cut(b);
      const missed = await say(a, conversationId);
      await quiet(2 * WINDOW_MS);
      await beginsAnew(b, id, undefined, 'after it');
      await join(conversationId, b);
      await barrier(conversationId, a, b);
      assert.equal(heard(b, 'newMessage', ({ message }) => message._id === missed).length, 0);
      return true;
    })));
  });

  check('who missed more than is made up for begins anew, without a part of it', async (t) => {
    const url = await other(t, { CONFAB_RECOVERY__MAX_EVENTS: '20' });
    const { a, b, id, conversationId } = await pair(t, url, ['websocket']);
    await cut(b);
    for (let count = 0; count < 15; count += 1) await say(a, conversationId);
    await recovers(b, id);
    await heardAll(b, conversationId, await say(a, conversationId));
    await cut(b);
    const missed = [];
    for (let count = 0; count < 30; count += 1) missed.push(await say(a, conversationId));
    await beginsAnew(b, id);
    await join(conversationId, b);
    await barrier(conversationId, a, b);
    assert.equal(heard(b, 'newMessage', ({ message }) => missed.includes(message._id)).length, 0);
  });

  check('a client that heard nothing for many heartbeats is recovered as well', async (t) => {
    const settings = { CONFAB_ENGINE__PING_INTERVAL_MS: '300', CONFAB_ENGINE__PING_TIMEOUT_MS: '20000' };
    const url = await other(t, settings);
    for (const transports of KINDS) {
      const { a, b, id, conversationId } = await pair(t, url, transports);
      await quiet(2_000);
      await cut(b);
      await say(a, conversationId);
      await recovers(b, id, undefined, transports.join());
      await heardAll(b, conversationId, await say(a, conversationId)).catch((error) => { throw new Error(`over ${transports}`, { cause: error }); });
      assert.equal(b.connected, true);
    }
  });

  check('a client that was given up for want of a pong is recovered when it comes back', async (t) => {
    const url = await other(t, { CONFAB_ENGINE__PING_INTERVAL_MS: '300', CONFAB_ENGINE__PING_TIMEOUT_MS: '10000' });
    const { a, b, id, conversationId } = await pair(t, url, ['websocket']);
    // From now on the client hears nothing and answers nothing, and both sides give the session up.
    const gone = next(b, 'disconnect');
    b.io.engine.transport.ws._socket.pause();
    await say(a, conversationId);
    await gone;
    await quiet(1_500);
    assert.equal(await comeBack(b), true);
    assert.equal(b.id, id);
    await heardAll(b, conversationId, await say(a, conversationId));
  });

  await Promise.all(tests);
});
