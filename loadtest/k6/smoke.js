// Does everything work at all? A few seconds with little load, over every transport and two dialects.
//
//   BASE_URL=http://127.0.0.1:3000,http://127.0.0.1:3001 k6 run loadtest/k6/smoke.js
//
// Four rooms: one over WebSockets, one over polling, one that begins with polling and moves to WebSockets, one in the dialect
// `rooms`. Requests of a polling session go to all addresses in turn. A member of each loses its connection in between.

import { Api, json } from './lib/api.js';
import { chat } from './lib/chat.js';
import * as metrics from './lib/metrics.js';
import { roomOf } from './lib/population.js';
import { common } from './lib/settings.js';
import { Client } from './lib/socketio.js';

const settings = common({
  users: 16, members: 4, rate: 20, visitRate: 1, postRate: 2, duration: '10s', ramp: '3s', ackP99: 5000,
  // It is no load, on whichever machine.
  lessLoadOk: true,
  variants: [
    {},
    { transports: ['polling'], roam: true },
    { transports: ['polling', 'websocket'], roam: true },
    { dialect: 'rooms' },
  ],
});
const rooms = settings.rooms;

export const { options, setup, room, visit, post, handleSummary } = chat({
  script: 'smoke',
  question: 'Does everything work at all, over every transport?',
  settings,
  from: settings.rate,
  stages: [{ seconds: settings.duration, rate: settings.rate }],
  cuts: [{ at: settings.duration * 0.4, share: 1 / settings.members, spread: 500 }],
  thresholds: {
    reconnects: [`count>=${rooms}`],
    http_req_failed: ['rate==0'],
    'flows_finished{flow:refusals}': ['count==1'],
    'flows_finished{flow:visit}': ['count>0'],
    'flows_finished{flow:post}': ['count>0'],
  },
  scenarios: {
    refusals: { executor: 'per-vu-iterations', exec: 'refusals', vus: 1, iterations: 1, maxDuration: '120s' },
  },
});

function expect(what, holds) {
  metrics.expected.add(Boolean(holds), { what });
  if (!holds) console.error(`not as expected: ${what}`);
}

/** What must be refused is, by name. */
export async function refusals(population) {
  const api = new Api(settings.urls);
  const health = json(api.request('GET', '/health'));
  expect('the cluster is well', health && health.status === 'ok');
  const anybody = api.request('GET', '/auth/me', { expected: [401] });
  expect('REST without a token is refused', anybody.status === 401 && json(anybody).code === 'UNAUTHORIZED');

  const stranger = new Client({ urls: settings.urls });
  const refused = new Promise((resolve) => {
    const socket = stranger.socket('/chat', { token: 'none.of.ours' });
    socket.onrefused = resolve;
    socket.onconnect = () => resolve({ message: 'it was let in' });
  });
  stranger.open();
  const { message, data } = await refused;
  expect('a socket with a bad token is refused', message === 'Unauthorized' && data && data.code === 'UNAUTHORIZED');
  stranger.close();

  const client = new Client({ urls: settings.urls, first: 1 });
  const { id, users } = roomOf(population, 0);
  const socket = client.socket('/chat', { token: users[0].token, dialect: 'conversations' });
  const connected = new Promise((resolve) => { socket.onconnect = resolve; });
  client.open();
  await connected;
  for (const [what, name, payload, code] of [
    ['a blank message', 'sendMessage', { conversationId: id, content: ' ' }, 'VALIDATION_FAILED'],
    ['an unknown event', 'sendMassage', { conversationId: id }, 'VALIDATION_FAILED'],
    ['a room that is not there', 'joinRoom', { conversationId: '00000000-0000-7000-8000-000000000000' }, 'NOT_FOUND'],
  ]) {
    const { reply } = await socket.request(name, [payload], settings.ackTimeoutMs);
    expect(`${what} is ${code}`, reply && reply.success === false && reply.error.code === code);
  }
  client.close();
  metrics.finished.add(1, { flow: 'refusals' });
}
