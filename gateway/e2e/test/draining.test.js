// A gateway that is told to go: its clients lose the transport, not the namespace, and come back by themselves.

import assert from 'node:assert/strict';
import test from 'node:test';
import { heardAll, next, returns } from './support/away.js';
import { group, join, say, stream } from './support/chat.js';
import { entryUrl } from './support/cluster.js';
import { restart } from './support/gateways.js';
import { people, unique } from './support/people.js';
import { connect } from './support/socket.js';

test('the clients of a restarted gateway come back', { timeout: 360_000 }, async (t) => {
  const { ann, ben } = await people('ann', 'ben')();
  const a = await connect(t, ann, returns);
  const b = await connect(t, ben, { ...returns, gateway: 1, direct: true });
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, b);
  await stream(b, Array.from({ length: 50 }, () => ({ conversationId, content: unique(), tempId: unique() })));

  // It was with gateway 1 and comes back through the common door, while that gateway is away.
  b.io.uri = entryUrl(0);
  const gone = next(b, 'disconnect', 60_000);
  const back = gone.then(() => next(b, 'connect'));
  await restart(1);
  assert.match(await gone, /^transport (close|error)$/, 'not "io server disconnect", after which clients stay away');
  await back;

  await join(conversationId, b);
  await heardAll(b, conversationId, await say(a, conversationId));
});
