// Does a sudden crowd do any harm, and is all as before when it has gone?
//
//   RATE=30 SPIKE=10 SPIKE_DURATION=15s k6 run loadtest/k6/spike.js
//
// RATE for DURATION, within two seconds SPIKE times as much, for SPIKE_DURATION, then RATE again for DURATION. OVERLOADED is a
// fair answer to the crowd; what was promised before and after must be kept, and nothing may be lost.

import { SAID, chat, perPhase } from './lib/chat.js';
import { common, duration, number } from './lib/settings.js';

const settings = common({ users: 100, members: 5, rate: 30, duration: '30s', ramp: '10s', overloadedOk: true });
const height = number('SPIKE', 10, 1, 1000);
const length = duration('SPIKE_DURATION', '15s');
const rest = duration('REST', '10s');

export const { options, setup, room, visit, post, handleSummary } = chat({
  script: 'spike',
  question: 'Does a sudden crowd do any harm, and is all as before when it has gone?',
  settings,
  from: settings.rate,
  stages: [
    { seconds: settings.duration, rate: settings.rate, phase: '1-before' },
    { seconds: 2, rate: settings.rate * height, phase: '2-crowd' },
    { seconds: length, rate: settings.rate * height, phase: '2-crowd' },
    { seconds: 2, rate: settings.rate, phase: '2-crowd' },
    { seconds: rest, rate: settings.rate, phase: '3-recovering' },
    { seconds: settings.duration, rate: settings.rate, phase: '4-after' },
  ],
  thresholds: {
    ...perPhase(['1-before', '2-crowd', '3-recovering', '4-after']),
    'ack_ms{phase:1-before}': [`p(99)<${settings.limits.ack}`],
    'ack_ms{phase:4-after}': [`p(99)<${settings.limits.ack}`],
    'messages_overloaded{phase:4-after}': ['count==0'],
    ack_ms: [], delivery_ms: [], messages_unconfirmed: [], ...SAID,
  },
});
