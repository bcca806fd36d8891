// Does everybody come back when everybody loses the connection at once, and with all that was said meanwhile?
//
//   USERS=1000 MEMBERS=20 CYCLES=3 k6 run loadtest/k6/reconnect-storm.js
//
// SHARE of the members of every room lose their connection at the same moment, CYCLES times, and come back within SPREAD, to another
// address if there are several; the others go on talking. Each must be recovered: the same private id, and every message that it
// missed, once and in order. With SHARE=0 nobody is cut here: kill or replace a gateway meanwhile, and see the same figures.

import { chat } from './lib/chat.js';
import { common, duration, number, whole } from './lib/settings.js';

const settings = common({ users: 200, members: 10, rate: 20, duration: '20s', ramp: '10s', deliveryP99: 15000 });
const cycles = whole('CYCLES', 3, 1, 100);
const share = number('SHARE', 0.8, 0, 1);
const spread = duration('SPREAD', '1s', 600);
const limit = number('RECONNECT_P99_MS', 10000, 1, 1e6);
const lost = Math.round(settings.members * share) * settings.rooms;

export const { options, setup, room, visit, post, handleSummary } = chat({
  script: 'reconnect-storm',
  question: 'Does everybody come back when everybody loses the connection at once, with all that was said meanwhile?',
  settings,
  from: settings.rate,
  stages: [{ seconds: settings.duration * cycles, rate: settings.rate }],
  // DURATION is that of a cycle: a quarter before, the rest to come back in.
  cuts: lost > 0 ? Array.from({ length: cycles }, (_, cycle) => ({ at: settings.duration * (cycle + 0.25), share, spread: spread * 1000 })) : [],
  thresholds: {
    // Somebody who was still on the way back could not be cut again.
    reconnects: [`count>=${Math.floor(lost * cycles * 0.9)}`],
    reconnect_ms: [`p(99)<${limit + spread * 1000}`],
    // What is broken from outside may keep answers back, or leave nobody there to send.
    ...(share > 0 ? {} : { messages_unanswered: [], sends_skipped: [] }),
  },
});
