// What is counted is what happened: on a gateway of the test's own, where nobody else makes anything happen.

import assert from 'node:assert/strict';
import test from 'node:test';
import { comeBack, cut, stays, until } from './support/away.js';
import { barrier, group, join, say } from './support/chat.js';
import { state } from './support/cluster.js';
import { mortalGateway } from './support/gateways.js';
import { scrape } from './support/metrics.js';
import { attempts } from './support/patience.js';
import { people } from './support/people.js';
import { command } from './support/redis.js';
import { connect, dial, refused } from './support/socket.js';
import { stalled } from './support/truth.js';

const cast = people('ann', 'ben');
const limit = { timeout: 360_000 };

test('sessions, sockets and connections are counted while they are there, and why they went', limit, async (t) => {
  const { url, internal } = await mortalGateway(t);
  const { ann } = await cast();
  let [opened, closed] = [0, 0];
  for (const transports of [['polling'], ['polling', 'websocket'], ['websocket']]) {
    const [begun, carried] = [transports[0], transports.at(-1)].map((transport) => ({ protocol: 'engine_io', transport }));
    const before = await scrape(internal);
    const sockets = await Promise.all(Array.from({ length: 5 }, () => connect(t, ann, { url, transports })));
    opened += 5;
    // A socket is counted when its client may know already that it is connected.
    let here;
    await until(async () => {
      here = await scrape(internal);
      return here.value('confab_gateway_sessions', carried) === 5 && here.value('confab_gateway_sockets_connected_total') >= opened;
    }, `five sessions over ${carried.transport}`);
    assert.equal(here.sum('confab_gateway_sessions'), 5, 'counted in one place');
    assert.equal(here.value('confab_gateway_sessions_opened_total', begun) - before.value('confab_gateway_sessions_opened_total', begun), 5);
    assert.equal(here.sum('confab_gateway_sockets'), 5);
    assert.equal(here.value('confab_gateway_sockets_connected_total'), opened);
    // Between two polls there is none.
    const least = carried.transport === 'websocket' ? 5 : 1;
    await until(async () => (await scrape(internal)).value('confab_gateway_connections') >= least, `${least} connections`);
    for (const socket of sockets) socket.disconnect();
    closed += 5;
    await until(async () => (await scrape(internal)).sum('confab_gateway_sessions') === 0, 'no session');
    const gone = await scrape(internal);
    assert.equal(gone.sum('confab_gateway_sockets'), 0);
    assert.equal(gone.sum('confab_gateway_sessions_closed_total'), closed);
    const reasons = ['client_closed', 'transport_closed'].map((reason) => gone.value('confab_gateway_sessions_closed_total', { reason }));
    assert.equal(reasons[0] + reasons[1], closed);
  }
  // Requests' connections are kept for a while by those who made them.
  await until(async () => (await scrape(internal)).value('confab_gateway_connections') === 0, 'no connection', 30_000);
});

test('clients that come back are counted by what became of them', limit, (t) => attempts(3, 'nobody was kept waiting', async () => {
  const { url, internal } = await mortalGateway(t);
  const { ann } = await cast();
  const outcomes = async () => {
    const told = await scrape(internal);
    const all = ['recovered', 'unknown', 'forgotten', 'too_much', 'uncertain', 'unsettled', 'failed'].map((outcome) => [outcome, told.value('confab_gateway_resumes_total', { outcome })]);
    return Object.fromEntries(all.filter(([, count]) => count !== 0));
  };
  const socket = await connect(t, ann, { url, ...stays });
  assert.deepEqual(await outcomes(), {});
  // Without an event a client has no place to go on from.
  const conversationId = await group(ann, [(await cast()).ben]);
  await join(conversationId, socket);
  await barrier(conversationId, socket, socket);
  await cut(socket);
  const isRecovered = await comeBack(socket);
  const { failed, unsettled } = await outcomes();
  if (failed || unsettled) return false;
  assert.equal(isRecovered, true);
  assert.deepEqual(await outcomes(), { recovered: 1 });
  await connect(t, ann, { url, auth: { token: ann.token, pid: 'nobody-was-called-so', offset: '' } });
  assert.deepEqual(await outcomes(), { recovered: 1, unknown: 1 });
  return true;
}));

test('clients that come back while Redis says nothing are counted as well', limit, async (t) => {
  const { url, internal } = await mortalGateway(t, { CONFAB_INGRESS__REPLY_TIMEOUT_MS: '500' });
  const { ann } = await cast();
  const outcome = async (name) => (await scrape(internal)).value('confab_gateway_resumes_total', { outcome: name });
  await attempts(5, 'a client came while Redis said nothing', async () => {
    const before = await outcome('failed');
    const back = dial(t, { url, transports: ['websocket'], auth: { token: ann.token, pid: 'nobody-was-called-so', offset: '' } });
    await command('CLIENT', 'PAUSE', '3000', 'ALL');
    const over = new Promise((resolve) => { back.once('disconnect', resolve).once('connect', resolve).once('connect_error', resolve); });
    back.connect();
    await over;
    back.disconnect();
    // Nothing that comes later is to find Redis silent.
    await command('PING');
    const failed = (await outcome('failed')) - before;
    // If this gateway or this process stood still, Redis spoke again before it was asked: nobody is known by that name, which is counted as well.
    if (failed === 0 && (await outcome('unknown')) > 0) return false;
    assert.equal(failed, 1, 'a client that could not be looked up');
    return true;
  });
});

test('events are counted once, deliveries for each socket, commands with their answers', limit, async (t) => {
  const { url, internal } = await mortalGateway(t);
  const { ann, ben } = await cast();
  const [a, ...others] = await Promise.all([ann, ben, ben].map((user) => connect(t, user, { url })));
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a, ...others);
  const before = await scrape(internal);
  for (let index = 0; index < 4; index += 1) await say(a, conversationId);
  await barrier(conversationId, a, a, ...others);
  let after = before;
  const more = (name, labels) => after.sum(name, labels) - before.sum(name, labels);
  await until(async () => {
    after = await scrape(internal);
    return more('confab_gateway_command_answers_total', { outcome: 'ok' }) >= 5 && more('confab_gateway_deliveries_total', { event: 'message_stored' }) >= 15
      && more('confab_gateway_delivery_seconds_count', {}) >= 5 && after.value('confab_gateway_send_queue_bytes') === 0;
  }, 'all of it is counted').catch(() => {}); // what follows says it better
  assert.equal(more('confab_gateway_commands_total', { command: 'send_message' }), 5);
  assert.equal(more('confab_gateway_command_seconds_count', { command: 'send_message' }), 5);
  assert.equal(more('confab_gateway_command_answers_total', { outcome: 'ok' }), 5);
  assert.equal(after.value('confab_gateway_commands_pending'), 0);
  assert.equal(more('confab_gateway_events_received_total', { event: 'send_message' }), 5);
  assert.equal(more('confab_gateway_events_shown_total', { event: 'message_stored' }), 5);
  assert.equal(more('confab_gateway_deliveries_total', { event: 'message_stored' }), 15);
  assert.ok(more('confab_gateway_delivery_seconds_count', {}) >= 5);
  assert.equal(after.value('confab_gateway_send_queue_bytes'), 0);
});

test('who is not believed is counted, by where and why', limit, async (t) => {
  const { url, internal } = await mortalGateway(t);
  await refused(dial(t, { url, auth: { token: 'not.a.token' } }));
  await fetch(`${url}/conversations`, { headers: { authorization: 'Bearer not.a.token' } });
  const login = JSON.stringify({ email: 'nobody@example.com', password: 'not-the-password' });
  await fetch(`${url}/auth/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: login });
  const told = await scrape(internal);
  const failures = (door, reason) => told.value('confab_gateway_auth_failures_total', { door, reason });
  assert.deepEqual([failures('socket', 'invalid'), failures('rest', 'invalid'), failures('rest', 'password')], [1, 1, 1]);
  const requests = (route, status) => told.value('confab_gateway_rest_requests_total', { route, status });
  assert.equal(requests('/auth/login', '4xx'), 1);
  assert.equal(requests('/conversations', '4xx'), 1);
  assert.equal((await fetch(`${url}/metrics`)).status, 404, 'what is counted is told on the internal listener alone');
});

test('while nothing can be stored the ingress is seen to grow, and then to be empty again', limit, async (t) => {
  // It waits for as long as it takes to see the backlog.
  const { url } = await mortalGateway(t, { CONFAB_INGRESS__REPLY_TIMEOUT_MS: '60000', CONFAB_DRAIN__LIMIT_SECONDS: '90' });
  const { ann, ben } = await cast();
  const a = await connect(t, ann, { url });
  const conversationId = await group(ann, [ben]);
  await join(conversationId, a);
  const ingress = async () => {
    const told = await Promise.all(state.workers.map(({ internal }) => scrape(internal)));
    const most = (name) => Math.max(...told.map((worker) => worker.most(name)));
    return { lag: most('confab_worker_ingress_lag'), length: most('confab_worker_ingress_length'), oldest: most('confab_worker_ingress_oldest_seconds') };
  };
  const letGo = await stalled(t);
  const said = Array.from({ length: 20 }, () => say(a, conversationId));
  await until(async () => {
    const { lag, length, oldest } = await ingress();
    return lag >= 20 && length >= lag && oldest > 0.5;
  }, 'a backlog');
  await letGo();
  await Promise.all(said);
  await until(async () => {
    const { lag, oldest } = await ingress();
    return lag === 0 && oldest === 0;
  }, 'no backlog');
  await until(async () => {
    const told = await Promise.all(state.workers.map(({ internal }) => scrape(internal)));
    const owned = told.reduce((sum, worker) => sum + worker.value('confab_worker_owned_partitions'), 0);
    return owned === told[0].value('confab_worker_partitions');
  }, 'each partition has one owner');
});
