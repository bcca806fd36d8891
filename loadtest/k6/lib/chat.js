// A run with rooms in it: its scenarios, what must hold, and its report. The scripts beside lib/ differ in what they give here.

import exec from 'k6/execution';
import * as metrics from './metrics.js';
import { Pace } from './pace.js';
import { only, populate } from './population.js';
import { summary } from './report.js';
import { Room } from './room.js';
import { ofRoom } from './settings.js';
import { post, visit } from './visit.js';

/** What comparing and leaving may take beside SETTLE, which passes twice at the most, in seconds. */
const AFTERWARDS = 60;

/** How many values of one time are taken at the most: k6 keeps every one, and sorts them every two seconds. */
const TIMED = 300000;

/**
 * `stages` are Pace's, beginning from `from` messages a second; `cuts` are Room's; `thresholds` come beside the promises, or
 * instead of those of the same name; `question` is what the run answers. Returns what a script exports.
 */
export function chat({ script, question, settings: asked, from, stages, cuts = [], thresholds = {}, scenarios = {} }) {
  const { seconds, total } = new Pace(from, stages);
  const settings = { ...asked, timed: timed(total + (asked.visitRate + asked.postRate) * seconds, asked.members) };
  const guests = {
    ...arrivals('visit', settings.visitRate, from, stages, settings),
    ...(settings.dialect === 'conversations' ? arrivals('post', settings.postRate, from, stages, settings) : {}),
  };
  const promises = metrics.promises(settings, {
    rooms: settings.rooms,
    arrivals: Object.values(guests).reduce((sum, { startRate, stages: legs }) => sum + begun(startRate, legs), 0),
    deserted: cuts.some(({ share }) => Math.round(settings.members * share) >= settings.members),
  });
  const options = {
    scenarios: {
      rooms: {
        executor: 'per-vu-iterations', exec: 'room', vus: settings.rooms, iterations: 1,
        maxDuration: `${Math.ceil(settings.ramp + seconds + 2 * settings.settle + AFTERWARDS)}s`, gracefulStop: '0s',
      },
      ...guests,
      ...scenarios,
    },
    thresholds: { ...promises, ...(guests.post ? requests(['POST /messages'], settings.limits.rest) : {}), ...thresholds },
    setupTimeout: '30m',
    summaryTrendStats: metrics.TREND_STATS,
    userAgent: `confab-k6/${script}`,
  };

  const room = async (population) => {
    const index = exec.scenario.iterationInTest;
    const start = exec.scenario.startTime;
    const played = new Room({
      settings: ofRoom(settings, index), run: population.run, place: only(population, index), index, cuts,
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
    visit: (population) => metrics.flow('visit', () => visit(settings, population)),
    post: (population) => metrics.flow('post', () => post(settings, population)),
    handleSummary: summary({ script, question, settings: shown(settings), seconds }),
  };
}

/** Of how many of the messages, and of their deliveries, the times are taken. */
function timed(messages, members) {
  const share = (count) => Math.min(1, TIMED / Math.max(1, count));
  return { messages: share(messages), deliveries: share(messages * members) };
}

/** Limits of requests by their names; k6 keeps them apart for it, and apart from those of setup. */
export function requests(names, limit) {
  return Object.fromEntries(names.map((name) => [`http_req_duration{name:${name}}`, [`p(99)<${limit}`]]));
}

/** How many iterations an arrival-rate scenario begins, its rates being those of a minute. */
function begun(startRate, legs) {
  return new Pace(startRate / 60, legs.map(({ duration, target }) => ({ seconds: parseFloat(duration), rate: target / 60 }))).total;
}

/** An arrival-rate scenario that follows the stages, reaching `most` a second where the messages reach their most. */
function arrivals(name, most, from, stages, { ramp, settle, maxVus }) {
  if (most <= 0) return {};
  const peak = Math.max(from, ...stages.map(({ rate }) => rate));
  const share = (messages) => Math.round(60 * most * (peak > 0 ? messages / peak : 1));
  return {
    [name]: {
      executor: 'ramping-arrival-rate', exec: name, startTime: `${ramp}s`, timeUnit: '1m', gracefulStop: `${settle + AFTERWARDS}s`,
      startRate: share(from), stages: stages.map((stage) => ({ duration: `${stage.seconds}s`, target: share(stage.rate) })),
      // k6 drops what is due while it makes another VU.
      preAllocatedVUs: Math.min(maxVus, Math.max(5, Math.ceil(most))), maxVUs: maxVus,
    },
  };
}

/** The settings, without what is nobody's business. */
function shown({ accounts, ...settings }) {
  return { ...settings, accounts: accounts.like ? `seeded, ${accounts.like}…` : 'registered' };
}

/** Instead of the promise that each message is confirmed in time: under too much, TIMEOUT is a fair answer. None at all is not. */
export const SAID = { messages_unanswered: [], 'messages_unanswered{code:timeout}': ['count==0'], 'messages_unanswered{code:INTERNAL}': ['count==0'] };

/** Thresholds that always hold, so that k6 keeps a metric's values for each phase. */
export function perPhase(phases) {
  const kept = {};
  for (const phase of phases) {
    for (const name of ['ack_ms', 'delivery_ms', 'late_ms']) kept[`${name}{phase:${phase}}`] = ['max>=0'];
    for (const name of ['messages_sent', 'messages_acked', 'messages_delivered', 'messages_overloaded', 'sends_skipped']) kept[`${name}{phase:${phase}}`] = ['count>=0'];
  }
  return kept;
}
