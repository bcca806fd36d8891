// What tells a slow machine from a wrong answer: rounds of which one must do, what was counted meanwhile, and how late this very process was.

import { performance } from 'node:perf_hooks';

const TICK_MS = 50;

/** What stalls of the programs under test may add to a promise of some seconds, however many of them come together. */
export const STALLS_MS = 15_000;

/**
 * Runs `round` until it hands something back, at most `most` times: that. A round in which the machine was too slow for what it is about
 * hands back nothing, and proves nothing; what is wrong it throws, whenever it is.
 */
export async function attempts(most, what, round) {
  for (let attempt = 1; attempt <= most; attempt += 1) {
    const outcome = await round(attempt);
    if (outcome) return outcome;
  }
  throw new Error(`${what}: in none of ${most} rounds`);
}

/**
 * Runs `act` for the test `t`. If it fails, and `counted()`, what programs say of how often they were kept waiting for too long, has grown since it
 * began, that is noted, and it is run again, `most` times in all; else what it throws is thrown.
 */
export async function unlessCounted(t, most, counted, act) {
  for (let attempt = 1; ; attempt += 1) {
    const before = await counted();
    try {
      return await act();
    } catch (error) {
      if (attempt === most || (await counted()) === before) throw error;
      t.diagnostic(`again, as programs were kept waiting: ${error.message}`);
    }
  }
}

/** From now on, by how much this process was late in all: a promise of so many seconds is looked at by whoever is late himself. */
export function lateness() {
  let [late, last] = [0, performance.now()];
  const note = () => {
    const now = performance.now();
    late += Math.max(0, now - last - TICK_MS);
    last = now;
  };
  setInterval(note, TICK_MS).unref();
  return () => late + Math.max(0, performance.now() - last - TICK_MS);
}
