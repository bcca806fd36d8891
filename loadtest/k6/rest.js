// What does REST do at a given rate of requests?
//
//   RATE=50 LOGIN_RATE=1 k6 run loadtest/k6/rest.js
//
// An open model: readers ask (RATE a second), writers send and read back what they sent (WRITE_RATE), people log in (LOGIN_RATE;
// each password takes a core for tens of milliseconds), whether those before have been answered or not.

import exec from 'k6/execution';
import { Api, json } from './lib/api.js';
import * as metrics from './lib/metrics.js';
import { populate } from './lib/population.js';
import { summary } from './lib/report.js';
import { common, number } from './lib/settings.js';

const settings = common({ users: 20, members: 4, rate: 30, duration: '30s', restP99: 2000 });
const writeRate = number('WRITE_RATE', 10, 0, 10000);
const loginRate = number('LOGIN_RATE', 1, 0, 100);
const password = settings.accounts.like ? settings.accounts.password : undefined;

/** Route → how often in a hundred reads. */
const READS = [
  ['GET /conversations', 35], ['GET /messages/conversation/:id', 35], ['GET /conversations/:id', 10], ['GET /auth/me', 10], ['GET /users/search', 8], ['GET /health', 2],
];
const WRITES = ['POST /messages', 'POST /messages repeated', 'GET what was written', 'PUT /messages/mark-as-read'];

function arrivals(flow, rate) {
  if (rate <= 0) return {};
  return {
    [flow]: {
      executor: 'constant-arrival-rate', exec: flow, rate: Math.round(rate * 60), timeUnit: '1m', duration: `${settings.duration}s`, gracefulStop: '30s',
      preAllocatedVUs: Math.min(settings.maxVus, Math.max(2, Math.ceil(rate / 2))), maxVUs: settings.maxVus,
    },
  };
}

export const options = {
  scenarios: { ...arrivals('read', settings.rate), ...arrivals('write', writeRate), ...arrivals('login', loginRate) },
  thresholds: {
    lost: ['count==0'],
    duplicated: ['count==0'],
    expected: ['rate==1'],
    http_req_failed: ['rate==0'],
    messages_sent: writeRate > 0 ? ['count>0'] : [],
    messages_acked: writeRate > 0 ? ['count>0'] : [],
    requests_rate_limited: settings.limits.rateLimitedOk ? [] : ['count==0'],
    requests_overloaded: settings.limits.overloadedOk ? [] : ['count==0'],
    ...Object.fromEntries([...READS.map(([name]) => name), ...(writeRate > 0 ? WRITES : []), ...(loginRate > 0 ? ['POST /auth/login'] : [])].map((name) => (
      [`http_req_duration{name:${name}}`, [`p(99)<${settings.limits.rest}`]]))),
  },
  setupTimeout: '30m',
  summaryTrendStats: metrics.TREND_STATS,
  userAgent: 'confab-k6/rest',
};

export function setup() {
  const population = populate(settings);
  // What there is to read.
  const api = new Api(settings.urls);
  for (const { id, members } of population.rooms) {
    api.request('POST', '/messages', { name: 'setup', token: population.users[members[0]].token, body: { conversationId: id, content: 'hello' } });
  }
  return population;
}

/** Somebody, in turn, and a room of theirs. */
function somebody({ users, rooms }) {
  const turn = exec.scenario.iterationInTest;
  const user = turn % users.length;
  const room = rooms[Math.floor(user / settings.members)];
  return { turn, room: room.id, token: users[user].token, username: users[user].username, api: new Api(settings.urls, turn) };
}

/** Whether the answer has its status and what it should; being refused for there being too much is told apart. */
function expect(answer, status, holds = () => true) {
  if (answer.status === 429) return metrics.requestsRateLimited.add(1);
  if (answer.status === 503) return metrics.requestsOverloaded.add(1);
  const right = answer.status === status && holds(json(answer));
  metrics.expected.add(right, { what: answer.request.method });
  if (!right) console.error(`not as expected: ${answer.request.method} ${answer.url}: ${answer.status} ${answer.error} ${String(answer.body).slice(0, 200)}`);
  return undefined;
}

/** What counts as no failed request: refusals are counted by their names. */
const answers = (status) => [status, 429, 503];

export function read(population) {
  const { turn, room, token, username, api } = somebody(population);
  // Spread over the hundred, so that few requests are a fair sample, too.
  let left = (turn * 37) % 100;
  const [name] = READS.find(([, share]) => { left -= share; return left < 0; });
  const get = (path, holds) => expect(api.request('GET', path, { name, token, expected: answers(200) }), 200, holds);
  switch (name) {
    case 'GET /conversations': return get('/conversations?limit=20', (list) => Array.isArray(list) && list.some(({ id, _id }) => (id || _id) === room));
    case 'GET /messages/conversation/:id': return get(`/messages/conversation/${room}?limit=50`, (page) => page.messages.length > 0);
    case 'GET /conversations/:id': return get(`/conversations/${room}`, (it) => (it.id || it._id) === room);
    case 'GET /auth/me': return get('/auth/me', (me) => typeof me.id === 'string');
    case 'GET /users/search': return get(`/users/search?q=${encodeURIComponent(username)}&limit=5`, (list) => list.some((user) => user.username === username));
    default: return get('/health', (health) => health.status === 'ok');
  }
}

export function write(population) {
  const { turn, room, token, api } = somebody(population);
  const body = { conversationId: room, content: `k6 ${population.run} ${turn}`.padEnd(settings.contentBytes, '.') };
  const send = (name) => api.request('POST', '/messages', { name, token, body, headers: { 'Idempotency-Key': `${population.run}-${turn}` }, expected: answers(201) });
  metrics.sent.add(1);
  const answer = send('POST /messages');
  expect(answer, 201, (message) => message.content === body.content && message.conversationId === room);
  if (answer.status !== 201) return;
  const { id } = json(answer);
  metrics.acked.add(1);
  // The same key is the same message, at whichever gateway.
  const again = send('POST /messages repeated');
  expect(again, 201, () => true);
  if (again.status === 201 && json(again).id !== id) metrics.duplicated.add(1);
  const page = api.request('GET', `/messages/conversation/${room}?limit=100`, { name: 'GET what was written', token, expected: answers(200) });
  expect(page, 200);
  if (page.status === 200) {
    const found = json(page).messages.filter((message) => message.id === id).length;
    if (found === 0) metrics.lost.add(1);
    if (found > 1) metrics.duplicated.add(1);
  }
  expect(api.request('PUT', '/messages/mark-as-read', { name: 'PUT /messages/mark-as-read', token, body: { conversationId: room }, expected: answers(200) }), 200, (it) => Number.isInteger(it.unreadCount));
  metrics.finished.add(1, { flow: 'write' });
}

export function login(population) {
  const { username, api } = somebody(population);
  const body = { email: `${username}@${settings.accounts.like ? 'example.com' : 'load.invalid'}`, password: password || `k6-${population.run}-password` };
  expect(api.request('POST', '/auth/login', { name: 'POST /auth/login', body, expected: answers(200) }), 200, (it) => it.user.username === username);
}

export const handleSummary = summary({ script: 'rest', question: 'What does REST do at a given rate of requests?', settings: { urls: settings.urls, users: settings.users, rate: settings.rate, writeRate, loginRate, duration: settings.duration, limits: settings.limits } });
