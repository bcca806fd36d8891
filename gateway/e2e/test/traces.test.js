// Traces: what a client asks for is one trace, from the gateway that it asked through the stream and the worker to every gateway that
// shows what came of it. On gateways and a worker of the test's own, with a collector of its own.

import assert from 'node:assert/strict';
import { once as happens } from 'node:events';
import path from 'node:path';
import test from 'node:test';
import { until } from './support/away.js';
import { barrier, group, join, say } from './support/chat.js';
import { state } from './support/cluster.js';
import { onPorts, privateGateway, runProgram } from './support/gateways.js';
import { scrape } from './support/metrics.js';
import { collector, eventually, KIND } from './support/otlp.js';
import { people, unique } from './support/people.js';
import { command } from './support/redis.js';
import { connect, once, quiet } from './support/socket.js';
import { session } from './support/stomp.js';

const cast = people('ann', 'ben');
const limit = { timeout: 480_000 };
/** The worker of the test's own has its share of the partitions: among so many conversations are some of its own. */
const CONVERSATIONS = 24;

const settings = (url, ratio, trusts = false) => ({
  CONFAB_TRACES__ENDPOINT: url,
  CONFAB_TRACES__SAMPLE_RATIO: String(ratio),
  CONFAB_TRACES__TRUST_PARENT: String(trusts),
  CONFAB_TRACES__INTERVAL_MS: '100',
});

/** A worker beside those of the cluster, with its share of the partitions, until `leave()`. */
async function worker(t, url) {
  const { child, internal } = await onPorts(1, (port) => startWorker(t, url, port));
  await until(async () => {
    const told = await scrape(internal);
    const share = Math.floor(told.value('confab_worker_partitions') / (state.workers.length + 1));
    return told.value('confab_worker_owned_partitions') >= Math.max(1, share);
  }, 'the worker has its share');
  return async () => {
    const ended = happens(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  };
}

async function startWorker(t, url, port) {
  const internal = `http://127.0.0.1:${port}`;
  const env = {
    PATH: process.env.PATH,
    CONFAB_ENVIRONMENT: 'development',
    CONFAB_HTTP__INTERNAL_LISTEN: `127.0.0.1:${port}`,
    DATABASE_URL: state.postgres.url,
    REDIS_URL: state.redis.url,
    // As OpenTelemetry's own tools are told.
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_SERVICE_NAME: 'the-worker',
  };
  const isReady = async () => (await fetch(`${internal}/readyz`, { signal: AbortSignal.timeout(2_000) })).ok;
  const child = await runProgram(t, path.join(state.programs, 'confab-worker'), ['run'], { env, isReady });
  return { child, internal };
}

const only = (list, what) => {
  assert.equal(list.length, 1, `${what}: ${JSON.stringify(list, (_, value) => (typeof value === 'bigint' ? String(value) : value))}`);
  return list[0];
};

/** The trace of something that our worker processed: a look into its spans by name. */
const processed = (all, trace) => {
  const own = all.filter((span) => span.trace === trace);
  return own.some(({ name }) => name.startsWith('process ') && name !== 'process room') && { own, named: (name) => own.filter((span) => span.name === name) };
};

test('a message is one trace, from the socket to every gateway that shows it', limit, async (t) => {
  const { url, spans, bodies, problems } = await collector(t);
  const [one, other] = await Promise.all([privateGateway(t, settings(url, 1)), privateGateway(t, settings(url, 1))]);
  const leave = await worker(t, url);
  const { ann, ben } = await cast();
  const [a, b] = await Promise.all([connect(t, ann, { url: one, transports: ['websocket'] }), connect(t, ben, { url: other, transports: ['websocket'] })]);
  const secret = unique('secret');
  const conversations = await Promise.all(Array.from({ length: CONVERSATIONS }, () => group(ann, [ben])));
  for (const conversation of conversations) {
    await join(conversation, a, b);
    await say(a, conversation, secret);
    await once(b, 'newMessage', ({ message }) => message.content === secret);
  }
  const { own, named } = await eventually(() => {
    const roots = spans.filter(({ name, attributes }) => name === 'sendMessage' && attributes['confab.command'] === 'send_message');
    const whole = roots.map(({ trace }) => processed(spans, trace)).filter(Boolean);
    return whole.find(({ own, named }) => own.length >= 7 && named('process room').length === 2 && named('process send_message').length === 1);
  }, () => `a whole trace; there are ${[...new Set(spans.map(({ name }) => name))]}`);
  // Its statements are another trace's, which may be sent later.
  const process = only(named('process send_message'), 'the worker’s');
  const batch = await eventually(() => spans.find(({ id }) => id === process.links[0]?.id), 'its batch');
  const statements = await eventually(() => {
    const found = spans.filter(({ parent }) => parent === batch.id);
    return found.length >= 3 && found;
  }, 'its statements');

  const root = only(own.filter(({ parent }) => parent === ''), 'the root');
  assert.equal(root.name, 'sendMessage');
  assert.equal(root.kind, KIND.server);
  assert.equal(root.attributes['confab.dialect'], 'conversations');
  assert.equal(root.attributes['user.id'], ann.id);
  const parts = [
    ['send ingress', KIND.producer, root, root.resource],
    ['process send_message', KIND.consumer, named('send ingress')[0]],
    ['send room', KIND.producer, process, process.resource],
    ['send reply', KIND.producer, process, process.resource],
  ];
  for (const [name, kind, parent, resource] of parts) {
    const span = only(named(name), name);
    assert.equal(span.kind, kind, name);
    assert.equal(span.parent, parent.id, name);
    assert.equal(span.attributes['messaging.system'], 'redis', name);
    if (resource) assert.deepEqual(span.resource, resource, name);
    assert.ok(span.begun >= root.begun && span.ended >= span.begun, name);
  }
  const shown = named('process room');
  assert.deepEqual(shown.map(({ parent, kind }) => [parent, kind]), Array(2).fill([named('send room')[0].id, KIND.consumer]));
  const instances = shown.map(({ resource }) => resource['service.instance.id']);
  assert.equal(new Set(instances).size, 2, 'one per gateway');
  assert.ok(instances.includes(root.resource['service.instance.id']));
  assert.equal(own.length, 7, 'and nothing else');

  assert.equal(root.resource['service.name'], 'confab-gateway');
  assert.equal(process.resource['service.name'], 'the-worker');
  assert.equal(batch.name, 'process batch');
  assert.notEqual(batch.trace, root.trace);
  assert.deepEqual(batch.links, [{ trace: process.trace, id: process.id }]);
  assert.deepEqual(statements.map(({ name }) => name).sort(), ['load batch', 'load details', 'store batch']);
  for (const statement of statements) {
    assert.equal(statement.kind, KIND.client);
    assert.equal(statement.attributes['db.system.name'], 'postgresql');
  }
  const stored = statements.find(({ name }) => name === 'store batch').ended;
  assert.ok(stored <= named('send room')[0].begun && stored <= root.ended, 'announced and confirmed after the commit');

  a.disconnect();
  b.disconnect();
  const before = bodies.length;
  await leave();
  assert.ok(bodies.length >= before);
  assert.deepEqual(problems, []);
  const everything = Buffer.concat(bodies).toString('latin1');
  for (const hidden of [secret, ann.token, ann.email]) assert.ok(!everything.includes(hidden), 'what people say, and their secrets, are in no span');
});

test('a traceparent of anybody’s decides nothing, and is a link', limit, async (t) => {
  const { url, spans } = await collector(t);
  const gateway = await privateGateway(t, settings(url, 1));
  const silent = await privateGateway(t, settings(url, 0));
  const parent = '00f067aa0ba902b7';
  const ask = async (base, trace, flags) => {
    const answer = await fetch(`${base}/health`, { headers: { traceparent: `00-${trace}-${parent}-${flags}` } });
    assert.equal(answer.status, 200);
  };
  const [asked, unasked, never] = ['a', 'b', 'c'].map((digit) => digit.repeat(32));
  await ask(silent, never, '01');
  await ask(gateway, asked, '01');
  await ask(gateway, unasked, '00');
  const requests = await eventually(() => {
    const found = spans.filter(({ name }) => name === 'GET /health');
    return found.length === 2 && found;
  }, () => `both requests’ spans: ${spans.map(({ name }) => name)}`);
  assert.ok(requests.every((request) => request.parent === '' && ![asked, unasked, never].includes(request.trace)));
  assert.deepEqual(requests.flatMap(({ links }) => links), [{ trace: asked, id: parent }]);
  await quiet(500);
  assert.equal(spans.length, 2, 'the other gateway traces nothing');
});

test('a traceparent that is trusted decides; a frame over STOMP begins a trace', limit, async (t) => {
  const { url, spans } = await collector(t);
  const gateway = await privateGateway(t, settings(url, 1, true));
  const silent = await privateGateway(t, settings(url, 0, true));
  const leave = await worker(t, url);
  const { ann, ben } = await cast();
  const conversations = await Promise.all(Array.from({ length: CONVERSATIONS }, () => group(ann, [ben])));
  const post = async (base, conversationId, traceparent) => {
    const headers = { authorization: `Bearer ${ann.token}`, 'content-type': 'application/json', ...(traceparent ? { traceparent } : {}) };
    const answer = await fetch(`${base}/messages`, { method: 'POST', headers, body: JSON.stringify({ conversationId, content: 'over REST' }) });
    assert.equal(answer.status, 201, await answer.text());
  };
  const id = (number) => number.toString(16).padStart(32, 'a');
  const parent = '00f067aa0ba902b7';
  for (const [number, conversation] of conversations.entries()) {
    await post(silent, conversation, `00-${id(number)}-${parent}-01`);
    await post(gateway, conversation, `00-${id(number + 100)}-${parent}-00`);
    await post(silent, conversation);
  }
  const { own, named } = await eventually(() => {
    const begun = conversations.map((_, number) => processed(spans, id(number))).filter(Boolean);
    return begun.find(({ named }) => ['POST /messages', 'send ingress', 'process send_message'].every((name) => named(name).length > 0));
  }, 'a trace that a client began');
  const request = only(own.filter(({ name }) => name === 'POST /messages'), 'the request');
  assert.equal(request.parent, parent);
  assert.equal(request.kind, KIND.server);
  assert.equal(request.attributes['http.response.status_code'], 201n);
  assert.equal(request.attributes['http.route'], '/messages');
  assert.equal(named('send ingress')[0].parent, request.id);
  assert.equal(named('process send_message')[0].parent, named('send ingress')[0].id);
  await quiet(500);
  assert.deepEqual(spans.filter(({ trace }) => conversations.some((_, number) => trace === id(number + 100))), [], 'not sampled by its client');
  const ours = new Set(spans.filter(({ name, resource }) => name.startsWith('POST /messages') && resource['service.name'] === 'confab-gateway').map(({ trace }) => trace));
  assert.deepEqual([...ours].filter((trace) => !trace.startsWith('aaaa')), [], 'with a ratio of 0 nothing begins');

  const speaker = await session(t, ann, { url: gateway });
  for (const conversationId of conversations) await speaker.send(`/app/chat/${conversationId}/sendMessage`, { content: 'over STOMP' });
  await eventually(() => spans.filter(({ name }) => name === 'STOMP SEND').map(({ trace }) => processed(spans, trace)).find(Boolean), () => `a frame’s trace: ${[...new Set(spans.map(({ name }) => name))]}`);
  await leave();
});

test('what is not traced carries nothing', limit, async (t) => {
  const { url, spans } = await collector(t);
  const gateway = await privateGateway(t, settings(url, 0));
  const { ann, ben } = await cast();
  const a = await connect(t, ann, { url: gateway, transports: ['websocket'] });
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a);
  await barrier(conversationId, a, a);
  const [key] = (await command('KEYS', `*history:${conversationId}`)) ?? [];
  assert.ok(key, 'the room has a history');
  const history = JSON.stringify(await command('XRANGE', key, '-', '+'));
  assert.ok(history.includes('message_stored'), history);
  assert.ok(!history.includes('trace'), history);
  await quiet(500);
  assert.deepEqual(spans, []);
});
