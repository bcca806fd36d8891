// A run with rooms in it: its scenarios, what must hold, and its report. The scripts beside lib/ differ in what they give here.

import exec from 'k6/execution';
import * as metrics from './metrics.js';
import { Pace } from './pace.js';
import { populate } from './population.js';
import { summary } from './report.js';
import { Room } from './room.js';
import { ofRoom } from './settings.js';
import { post, visit } from './visit.js';

/** What settling, comparing and leaving may take beside SETTLE, in seconds. */
const AFTERWARDS = 60;

/**
 * `stages` are Pace's, beginning from `from` messages a second; `cuts` are Room's; `thresholds` come beside the promises, or
 * instead of those of the same name; `question` is what the run answers. Returns what a script exports.
 */
export function chat({ script, question, settings, from, stages, cuts = [], thresholds = {}, scenarios = {} }) {
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  const options = {
    scenarios: {
      rooms: {
        executor: 'per-vu-iterations', exec: 'room', vus: settings.rooms, iterations: 1,
        maxDuration: `${Math.ceil(settings.ramp + seconds + settings.settle + AFTERWARDS)}s`, gracefulStop: '0s',
      },
      ...arrivals('visit', settings.visitRate, from, stages, settings),
      ...(settings.dialect === 'conversations' ? arrivals('post', settings.postRate, from, stages, settings) : {}),
      ...scenarios,
    },
    thresholds: { ...metrics.promises(settings, settings.rooms), ...thresholds },
    setupTimeout: '30m',
    summaryTrendStats: metrics.TREND_STATS,
    userAgent: `confab-k6/${script}`,
  };

  const room = async (population) => {
    const index = exec.scenario.iterationInTest;
    const start = exec.scenario.startTime;
    const played = new Room({
      settings: ofRoom(settings, index), population, index, cuts,
      pace: new Pace(from, stages, 1 / settings.rooms, index / settings.rooms),
      begin: start + settings.ramp * 1000,
      // Whoever connects last has a fifth of the time to get in.
      connectAt: (user) => start + settings.ramp * 800 * user / settings.users,
    });
    await played.play();
  };

  return {
    options,
    setup: () => populate(settings),
    room,
    visit: (population) => visit(settings, population),
    post: (population) => post(settings, population),
    handleSummary: summary({ script, question, settings: shown(settings) }),
  };
}

/** An arrival-rate scenario that follows the stages, reaching `most` a second where the messages reach their most. */
function arrivals(name, most, from, stages, { rate, ramp, maxVus }) {
  if (most <= 0) return {};
  const share = (messages) => Math.round(60 * most * (rate > 0 ? messages / rate : 1));
  return {
    [name]: {
      executor: 'ramping-arrival-rate', exec: name, startTime: `${ramp}s`, timeUnit: '1m', gracefulStop: '30s',
      startRate: share(from), stages: stages.map((stage) => ({ duration: `${stage.seconds}s`, target: share(stage.rate) })),
      preAllocatedVUs: Math.min(maxVus, Math.max(2, Math.ceil(most))), maxVUs: maxVus,
    },
  };
}

/** The settings, without what is nobody's business. */
function shown({ accounts, ...settings }) {
  return { ...settings, accounts: accounts.like ? `seeded, ${accounts.like}…` : 'registered' };
}

/** Thresholds that always hold, so that k6 keeps a metric's values for each phase. */
export function perPhase(phases) {
  const kept = {};
  for (const phase of phases) {
    for (const name of ['ack_ms', 'delivery_ms', 'late_ms']) kept[`${name}{phase:${phase}}`] = ['max>=0'];
    for (const name of ['messages_sent', 'messages_acked', 'messages_delivered', 'messages_overloaded', 'sends_skipped']) kept[`${name}{phase:${phase}}`] = ['count>=0'];
  }
  return kept;
}
