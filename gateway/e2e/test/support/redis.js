// Redis, as operators see it, and as their mistakes find it.

import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { state } from './cluster.js';

/** Sends one command; its answer: a string, a number, null, or a list of these. */
export async function command(...words) {
  const { hostname, port, password } = new URL(state.redis.url);
  assert.equal(password, '', 'a Redis without a password');
  const link = createConnection({ host: hostname, port: Number(port) });
  try {
    link.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`);
    let bytes = Buffer.alloc(0);
    for await (const chunk of link) {
      bytes = Buffer.concat([bytes, chunk]);
      const read = value(bytes, 0);
      if (read) return read[0];
    }
    throw new Error(`Redis says nothing to ${words[0]}`);
  } finally {
    link.destroy();
  }
}

/** The value at `start` and where it ends; nothing if it is not all there. */
function value(bytes, start) {
  const end = bytes.indexOf('\r\n', start);
  if (end < 0) return undefined;
  const [kind, line] = [String.fromCharCode(bytes[start]), bytes.toString('utf8', start + 1, end)];
  let at = end + 2;
  if (kind === '-') throw new Error(line);
  if (kind === ':') return [Number(line), at];
  if (kind === '+') return [line, at];
  const length = Number(line);
  if (length < 0) return [null, at];
  if (kind === '$') return bytes.length < at + length + 2 ? undefined : [bytes.toString('utf8', at, at + length), at + length + 2];
  const list = [];
  for (let count = 0; count < length; count += 1) {
    const read = value(bytes, at);
    if (!read) return undefined;
    list.push(read[0]);
    [, at] = read;
  }
  return [list, at];
}

/** Empties it, without breaking a connection. */
export async function flushAll() {
  assert.equal(state.redis.servers.length, 1, 'only a Redis of one server is emptied here');
  assert.equal(await command('FLUSHALL'), 'OK');
}
