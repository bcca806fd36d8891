// A gateway that is told to go: its clients lose the transport, not the namespace, and come back by themselves.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { group, join, say, stream } from './support/chat.js';
import { state } from './support/cluster.js';
import { people, unique } from './support/people.js';
import { connect, once } from './support/socket.js';
import { storedMessages } from './support/truth.js';

test('the clients of a restarted gateway come back', { timeout: 60_000 }, async (t) => {
  const { ann, ben } = await people('ann', 'ben')();
  const [a, b] = await Promise.all([
    connect(t, ann, { gateway: 0 }),
    connect(t, ben, { gateway: 1, reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 500 }),
  ]);
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, b);

  const gone = new Promise((resolve) => b.once('disconnect', resolve));
  const back = gone.then(() => new Promise((resolve) => b.once('connect', resolve)));
  await stream(b, Array.from({ length: 50 }, () => ({ conversationId, content: unique(), tempId: unique() })));
  const [command, ...args] = state.gateways[1].restart;
  await promisify(execFile)(command, args, { timeout: 50_000 });
  assert.equal(await gone, 'transport close', 'not "io server disconnect", after which clients stay away');
  await back;

  assert.equal((await storedMessages(conversationId)).length, 50);
  await join(conversationId, b);
  const content = unique();
  await say(a, conversationId, content);
  await once(b, 'newMessage', ({ message }) => message.content === content);
});
