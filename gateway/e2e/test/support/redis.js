// Redis, as an operator's mistake finds it.

import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { state } from './cluster.js';

/** Empties it, without breaking a connection. */
export async function flushAll() {
  assert.equal(state.redis.servers.length, 1, 'only a Redis of one server is emptied here');
  const { hostname, port } = new URL(state.redis.url);
  const link = createConnection({ host: hostname, port: Number(port) });
  const answer = new Promise((resolve, reject) => link.once('data', resolve).once('error', reject));
  link.write('FLUSHALL\r\n');
  assert.equal(String(await answer), '+OK\r\n');
  link.destroy();
}
