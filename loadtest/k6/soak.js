// Does it stay as it is, hour after hour?
//
//   DURATION=8h USERS=500 RATE=100 k6 run loadtest/k6/soak.js
//
// A steady load; every CHURN CHURN_SHARE of the members lose their connections and come back. The time is divided into WINDOWS, and the
// report has a line for each: they should look alike. What the programs need meanwhile is in the dashboard.

import { chat, perPhase } from './lib/chat.js';
import { common, duration, number, whole } from './lib/settings.js';

const settings = common({ users: 100, members: 5, rate: 20, visitRate: 0.5, postRate: 1, duration: '1h', ramp: '30s' });
const churn = duration('CHURN', '1m');
const share = number('CHURN_SHARE', 0.2, 0, 1);
const windows = whole('WINDOWS', 6, 1, 48);

const names = Array.from({ length: windows }, (_, index) => `window-${String(index + 1).padStart(2, '0')}`);
const cuts = [];
// The last ones have come back before the end.
const rest = Math.min(10, settings.duration / 3);
for (let at = churn; churn > 0 && at < settings.duration - rest; at += churn) cuts.push({ at, share, spread: 2000 });
const lost = Math.round(settings.members * share) * settings.rooms * cuts.length;

export const { options, setup, room, visit, post, handleSummary } = chat({
  script: 'soak',
  question: 'Does it stay as it is, hour after hour?',
  settings,
  from: settings.rate,
  stages: names.map((phase) => ({ seconds: settings.duration / windows, rate: settings.rate, phase })),
  cuts,
  thresholds: {
    ...perPhase(names),
    [`ack_ms{phase:${names[windows - 1]}}`]: [`p(99)<${settings.limits.ack}`],
    http_req_failed: ['rate<0.001'],
    // Somebody who was still on the way back could not be cut again.
    ...(lost > 0 ? { reconnects: [`count>=${Math.floor(lost * 0.9)}`] } : {}),
    // Who was away meanwhile hears it later.
    delivery_ms: [`p(95)<${settings.limits.delivery}`],
  },
});
