// The log: what its lines say of requests, connections and sessions, and how it is changed while programs run.

import assert from 'node:assert/strict';
import test from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { until } from './support/away.js';
import { group, join, say } from './support/chat.js';
import { gatewayUrl, state } from './support/cluster.js';
import { mortalGateway } from './support/gateways.js';
import { eventually } from './support/otlp.js';
import { people, unique } from './support/people.js';
import { connect } from './support/socket.js';
import { session } from './support/stomp.js';

const cast = people('ann', 'ben');
const limit = { timeout: 240_000 };

const ask = async (base, method, { query = '', body } = {}) => {
  const answer = await fetch(`${base}/log${query}`, { method, body });
  const text = await answer.text();
  return { status: answer.status, text, json: answer.ok ? JSON.parse(text) : undefined };
};

for (const [what, programs] of [['a gateway', state.gateways], ['a worker', state.workers]]) {
  test(`${what} is told at run time what to log, for a while`, limit, async () => {
    const base = programs[0].internal;
    const { json: before } = await ask(base, 'GET');
    assert.equal(before.filter, before.configured);
    const { json: now } = await ask(base, 'PUT', { query: '?for=10m', body: 'info,confab_gateway=debug\n' });
    assert.deepEqual(now, { filter: 'info,confab_gateway=debug', configured: before.configured, returns_in_seconds: 600 });
    for (const [options, part] of [
      [{ body: 'info,debgu' }, '"debgu"'],
      [{ body: '' }, 'missing'],
      [{ body: 'debug', query: '?for=ever' }, 'ever'],
      [{ body: 'debug', query: '?until=noon' }, 'until=noon'],
      [{ body: 'x'.repeat(10_000) }, '4096'],
    ]) {
      const { status, text } = await ask(base, 'PUT', options);
      assert.equal(status, 400);
      assert.ok(text.includes(part), text);
    }
    assert.equal((await ask(base, 'POST', { body: 'debug' })).status, 405);
    assert.equal((await ask(base, 'GET')).json.filter, now.filter, 'what is refused changes nothing');
    assert.equal((await ask(base, 'PUT', { query: '?for=1s', body: 'debug' })).json.returns_in_seconds, 1);
    await until(async () => isDeepStrictEqual((await ask(base, 'GET')).json, before), 'it has come back by itself');
    await ask(base, 'PUT', { body: 'warn' });
    assert.deepEqual((await ask(base, 'DELETE')).json, before);
  });
}

test('clients cannot change it', limit, async () => {
  for (const method of ['GET', 'PUT', 'DELETE']) assert.equal((await ask(gatewayUrl(0), method)).status, 404);
});

test('lines say which request, connection, session and user they are about, and nothing that is secret', limit, async (t) => {
  const { url, child } = await mortalGateway(t, { CONFAB_LOG__FORMAT: 'json', CONFAB_LOG__FILTER: 'debug', RUST_LOG: undefined });
  let said = '';
  child.stderr.on('data', (chunk) => { said += chunk; });
  const lines = () => said.split('\n').slice(0, -1).map((line) => JSON.parse(line));
  const named = (line, name) => (line.spans ?? []).filter((span) => span.name === name);
  const { ann, ben } = await cast();
  const secret = unique('secret');
  const a = await connect(t, ann, { url });
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a);
  await say(a, conversationId, secret);
  const sid = a.io.engine.id;
  a.disconnect();
  const b = await session(t, ben, { url });
  await b.leave();
  const answer = await fetch(`${url}/conversations`, { headers: { authorization: `Bearer ${ann.token}`, 'x-request-id': 'asked-for-by-a-test' } });
  assert.equal(answer.status, 200);

  const line = (about, user) => eventually(() => lines().find((line) => line.message === about && named(line, 'session').some((span) => span.user === user)), () => `${about}: ${said.slice(-3_000)}`);
  for (const about of ['socket disconnected', 'session closed']) {
    const [own] = named(await line(about, ann.id), 'session');
    assert.match(own.session, /^[0-9a-f]{8}$/);
    assert.ok(own.connection > 0);
  }
  await line('STOMP session disconnected', ben.id);
  const answered = await eventually(() => lines().find((line) => line.message === 'request answered' && named(line, 'request').some(({ id }) => id === 'asked-for-by-a-test')), 'the request’s line');
  assert.equal(named(answered, 'request').length, 1);
  assert.match(answered.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
  assert.equal(answered.level, 'DEBUG');
  assert.equal(answered.target, 'confab_gateway::rest::request');
  for (const hidden of [secret, ann.token, ben.token, sid, 'confab-demo']) assert.ok(!said.includes(hidden), `${hidden} is in no line`);
  assert.ok(!said.includes('\x1b'), 'no colours');
});
