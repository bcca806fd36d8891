// Up to which rate does the cluster hold, and does it keep its promises beyond?
//
//   RATE=50 STEPS=8 STEP=30s k6 run loadtest/k6/stress.js
//
// The rate rises by RATE with each step. What is more than the cluster can take must be refused by name (OVERLOADED), or be late;
// nothing may be lost. The report has a line for each step: the last good one is the answer. If k6 itself is late, or holds messages
// back, the run fails: then it was k6 that could not.

import { SAID, chat, perPhase } from './lib/chat.js';
import { common, duration, whole } from './lib/settings.js';

const settings = common({ users: 100, members: 5, rate: 50, ramp: '10s', overloadedOk: true, without: ['DURATION'] });
const steps = whole('STEPS', 6, 1, 50);
const step = duration('STEP', '20s');

const names = Array.from({ length: steps }, (_, index) => `step-${String(index + 1).padStart(2, '0')} at ${settings.rate * (index + 1)}/s`);
const stages = names.flatMap((phase, index) => [
  // A second's rise, then level.
  { seconds: Math.min(1, step / 2), rate: settings.rate * (index + 1), phase },
  { seconds: step - Math.min(1, step / 2), rate: settings.rate * (index + 1), phase },
]);

export const { options, setup, room, visit, post, handleSummary } = chat({
  script: 'stress',
  question: 'Up to which rate does the cluster hold, and does it keep its promises beyond?',
  settings,
  from: settings.rate,
  stages,
  thresholds: {
    ...perPhase(names),
    [`ack_ms{phase:${names[0]}}`]: [`p(99)<${settings.limits.ack}`],
    // It is to be found out how late they become, and who cannot be told in time may ask again.
    ack_ms: [], delivery_ms: [], messages_unconfirmed: [], ...SAID,
  },
});
