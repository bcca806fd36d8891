// What does REST do at a given rate of requests?
//
//   RATE=50 LOGIN_RATE=1 k6 run loadtest/k6/rest.js
//
// An open model: readers ask (RATE a second), writers send and read back what they sent (WRITE_RATE), people log in (LOGIN_RATE;
// each password takes a core for tens of milliseconds), whether those before have been answered or not.

import exec from 'k6/execution';
import { Api, json, postMessage } from './lib/api.js';
import { requests } from './lib/chat.js';
import * as metrics from './lib/metrics.js';
import { populate, roomOf } from './lib/population.js';
import { summary } from './lib/report.js';
import { send } from './lib/sending.js';
import { common, number } from './lib/settings.js';

const settings = common({
  users: 20, members: 4, rate: 30, duration: '30s', restP99: 2000,
  without: ['TRANSPORT', 'ROAM', 'DIALECT', 'VISIT_RATE', 'POST_RATE', 'RAMP', 'SETTLE', 'MAX_IN_FLIGHT', 'ACK_TIMEOUT_MS', 'ACK_P99_MS', 'DELIVERY_P99_MS', 'LATE_P99_MS', 'VERBOSE'],
});
const writeRate = number('WRITE_RATE', 10, 0, 10000);
const loginRate = number('LOGIN_RATE', 1, 0, 100);
const password = settings.accounts.like ? settings.accounts.password : undefined;

/** How many of a room's newest messages are looked through for one: pages of a hundred. */
const PAGES = 20;

/** Route → how often in a hundred reads. */
const READS = [
  ['GET /conversations', 35], ['GET /messages/conversation/:id', 35], ['GET /conversations/:id', 10], ['GET /auth/me', 10], ['GET /users/search', 8], ['GET /health', 2],
];
const WRITES = ['POST /messages', 'POST /messages repeated', 'GET what was written', 'PUT /messages/mark-as-read'];

function arrivals(flow, rate) {
  if (rate <= 0) return {};
  return {
    [flow]: {
      executor: 'constant-arrival-rate', exec: flow, rate: Math.round(rate * 60), timeUnit: '1m', duration: `${settings.duration}s`, gracefulStop: '60s',
      // k6 drops what is due while it makes another VU.
      preAllocatedVUs: Math.min(settings.maxVus, Math.max(5, Math.ceil(rate))), maxVUs: settings.maxVus,
    },
  };
}

export const options = {
  scenarios: { ...arrivals('read', settings.rate), ...arrivals('write', writeRate), ...arrivals('login', loginRate) },
  thresholds: {
    lost: ['count==0'],
    duplicated: ['count==0'],
    expected: ['rate==1'],
    flows_unsettled: ['count==0'],
    http_req_failed: ['rate==0'],
    messages_unconfirmed: ['count==0'],
    messages_unanswered: ['count==0'],
    messages_refused: ['count==0'],
    messages_sent: writeRate > 0 ? ['count>0'] : [],
    messages_acked: writeRate > 0 ? ['count>0'] : [],
    'flows_finished{flow:write}': writeRate > 0 ? ['count>0'] : [],
    ...(settings.limits.rateLimitedOk ? {} : { requests_rate_limited: ['count==0'], messages_rate_limited: ['count==0'] }),
    ...(settings.limits.overloadedOk ? {} : { requests_overloaded: ['count==0'], messages_overloaded: ['count==0'] }),
    ...(settings.limits.lessLoadOk ? {} : metrics.dropped((settings.rate + writeRate + loginRate) * settings.duration)),
    ...requests([...READS.map(([name]) => name), ...(writeRate > 0 ? WRITES : []), ...(loginRate > 0 ? ['POST /auth/login'] : [])], settings.limits.rest),
  },
  setupTimeout: '30m',
  summaryTrendStats: metrics.TREND_STATS,
  userAgent: 'confab-k6/rest',
};

export function setup() {
  const population = populate(settings);
  // What there is to read.
  const api = new Api(settings.urls);
  population.rooms.forEach((_, index) => {
    const { id, users } = roomOf(population, index);
    api.request('POST', '/messages', { name: 'setup', token: users[0].token, body: { conversationId: id, content: 'hello' } });
  });
  return population;
}

/** Somebody, in turn, and a room of theirs. */
function somebody(population) {
  const turn = exec.scenario.iterationInTest;
  const user = turn % settings.users;
  const { id, users } = roomOf(population, Math.floor(user / settings.members));
  const { token, username } = users[user % settings.members];
  return { turn, room: id, token, username, api: new Api(settings.urls, turn) };
}

/** Whether the answer has its status and what it should; being refused for there being too much is told apart. Returns what it says, if so. */
function expect(answer, status, holds) {
  const found = json(answer);
  const code = found && found.code;
  if (answer.status === 429) metrics.requestsRateLimited.add(1);
  // TIMEOUT is a 503, too, and no refusal.
  else if (answer.status === 503 && code === 'OVERLOADED') metrics.requestsOverloaded.add(1);
  else {
    const right = answer.status === status && found !== null && truly(holds, found);
    metrics.expected.add(right, { what: answer.request.method });
    if (right) return found;
    console.error(`not as expected: ${answer.request.method} ${answer.url}: ${answer.status} ${answer.error} ${String(answer.body).slice(0, 200)}`);
  }
  return undefined;
}

/** Whether it holds; what has not the fields that are asked of it does not. */
function truly(holds, found) {
  try {
    return Boolean(holds(found));
  } catch {
    return false;
  }
}

/** What counts as no failed request: refusals are counted by their names. */
const answers = (status) => [status, 429, 503];

function ask(population) {
  const { turn, room, token, username, api } = somebody(population);
  // Spread over the hundred, so that few requests are a fair sample, too.
  let left = (turn * 37) % 100;
  const [name] = READS.find(([, share]) => { left -= share; return left < 0; });
  const get = (path, holds) => expect(api.request('GET', path, { name, token, expected: answers(200) }), 200, holds);
  switch (name) {
    case 'GET /conversations': return get('/conversations?limit=20', (list) => list.some(({ id, _id }) => (id || _id) === room));
    case 'GET /messages/conversation/:id': return get(`/messages/conversation/${room}?limit=50`, (page) => page.messages.length > 0);
    case 'GET /conversations/:id': return get(`/conversations/${room}`, (it) => (it.id || it._id) === room);
    case 'GET /auth/me': return get('/auth/me', (me) => typeof me.id === 'string');
    case 'GET /users/search': return get(`/users/search?q=${encodeURIComponent(username)}&limit=5`, (list) => list.some((user) => user.username === username));
    default: return get('/health', (health) => health.status === 'ok');
  }
}

async function say(population) {
  const { turn, room, token, api } = somebody(population);
  const body = { conversationId: room, content: `k6 ${population.run} ${turn}`.padEnd(settings.contentBytes, '.') };
  const key = `${population.run}-${turn}`;
  const { word, answer } = await send({
    attempt: () => postMessage(api, { token, body, key }), begun: Date.now(), retries: settings.retries,
  });
  if (word !== 'confirmed') return;
  const { id, seq } = answer.message;
  // The same key is the same message, at whichever gateway.
  const again = expect(
    api.request('POST', '/messages', { name: 'POST /messages repeated', token, body, headers: { 'Idempotency-Key': key }, expected: answers(201) }),
    201, (message) => typeof message.id === 'string' && message.content === body.content,
  );
  if (again && again.id !== id) metrics.duplicated.add(1);
  look(api, token, room, id, seq);
  expect(api.request('PUT', '/messages/mark-as-read', { name: 'PUT /messages/mark-as-read', token, body: { conversationId: room }, expected: answers(200) }), 200, (it) => Number.isInteger(it.unreadCount));
}

/** Whether a message is in its room, once: from the newest one back to those before it. */
function look(api, token, room, id, seq) {
  let found = 0;
  let before = '';
  for (let page = 0; page < PAGES; page += 1) {
    const path = `/messages/conversation/${room}?limit=100${before && `&before=${encodeURIComponent(before)}`}`;
    const seen = expect(api.request('GET', path, { name: 'GET what was written', token, expected: answers(200) }), 200, ({ messages }) => messages.every((message) => message.seq > 0));
    // Whoever was not told cannot say that it is lost.
    if (!seen) return;
    found += seen.messages.filter((message) => message.id === id).length;
    if (!seen.hasMore || seen.messages.some((message) => message.seq < seq)) {
      if (found === 0) metrics.lost.add(1);
      if (found > 1) metrics.duplicated.add(found - 1);
      return;
    }
    before = seen.nextCursor;
  }
  // So many have come since.
  if (found === 0) metrics.expected.add(false, { what: 'found within the newest messages' });
}

function enter(population) {
  const { username, api } = somebody(population);
  const body = { email: `${username}@${settings.accounts.like ? 'example.com' : 'load.invalid'}`, password: password || `k6-${population.run}-password` };
  expect(api.request('POST', '/auth/login', { name: 'POST /auth/login', body, expected: answers(200) }), 200, (it) => it.user.username === username);
}

export const read = (population) => metrics.flow('read', () => ask(population));
export const write = (population) => metrics.flow('write', () => say(population));
export const login = (population) => metrics.flow('login', () => enter(population));

export const handleSummary = summary({
  script: 'rest', question: 'What does REST do at a given rate of requests?', seconds: settings.duration,
  settings: { urls: settings.urls, users: settings.users, rate: settings.rate, writeRate, loginRate, duration: settings.duration, limits: settings.limits },
});
