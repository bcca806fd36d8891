// Source 002's "all messages", where they are more than anybody wants at once: the latest thousand, and the rest by `before`.

import assert from 'node:assert/strict';
import test from 'node:test';
import { client, directMessage } from './support/dialects.js';
import { direct, stream } from './support/chat.js';
import { register } from './support/people.js';
import { connect, once } from './support/socket.js';
import { storedMessages } from './support/truth.js';

const MOST = 1_000;

test('up to a thousand messages come at once, the others by `before`', { timeout: 720_000 }, async (t) => {
  const [john, jane] = await Promise.all([register('john'), register('jane')]);
  const conversationId = await direct(john, jane);
  const writer = await connect(t, john);
  const payloads = Array.from({ length: MOST + 30 }, (_, index) => ({ conversationId, content: `message ${index}` }));
  for (const answer of await stream(writer, payloads, 64)) assert.equal(answer.success, true, JSON.stringify(answer));
  const stored = (await storedMessages(conversationId)).map(({ id, content }) => [Number(id), content]);
  assert.equal(stored.length, payloads.length);

  const reader = await client(t, 'direct', jane, { gateway: 1 });
  const ask = async (more) => {
    reader.emit('get_messages', { otherUserId: john.id, ...more });
    const messages = await once(reader, 'messages_list');
    messages.forEach(directMessage);
    return messages.map(({ id, content }) => [id, content]);
  };
  const latest = await ask({});
  assert.deepEqual(latest, stored.slice(-MOST), 'the latest thousand, oldest first');
  assert.deepEqual(await ask({ before: latest[0][0] }), stored.slice(0, -MOST), 'and what was before them');
});
