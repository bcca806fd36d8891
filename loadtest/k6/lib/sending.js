// A message's way to its confirmation: handed over, and repeated with its tempId for as long as nobody can say what became of it.
// Counts what becomes of it. Knows neither sockets nor REST.

import { verdict } from './dialect.js';
import * as metrics from './metrics.js';
import { sleep } from './timers.js';

/** How long to wait before a repetition where the server has said something, in ms: who asks again at once is refused again. */
const PAUSE = 1000;

/** Codes that say nothing against the server's confirmations: the connection was lost, or there was too much. */
const FAIR = new Set(['disconnected', 'RATE_LIMITED', 'OVERLOADED']);
/** Outcomes after which waiting makes nothing better. */
const AT_ONCE = new Set(['disconnected', 'timeout']);

/**
 * `attempt()` hands it over and resolves to an answer for `verdict`; `begun` is when this is done first. Before a repetition `again()`
 * resolves when there may be one, unless `over()` says that it is too late. `timed` says whether its time counts.
 * Returns `confirmed`, `refused` (and surely not stored) or `unknown`, and the last answer.
 */
export async function send({ attempt, begun, again = () => {}, over = () => false, retries, tags, timed = false }) {
  let held = true;
  metrics.sent.add(1, tags);
  for (let repeated = 0; ; repeated += 1) {
    const answer = await attempt();
    const { verdict: word, code } = verdict(answer, repeated);
    if (word === 'confirmed') {
      metrics.acked.add(1, tags);
      // From the first attempt on, or a confirmation that was lost would show nowhere. What a lost connection takes is reconnect_ms.
      if (timed && held) metrics.ackMs.add(answer.at - begun, tags);
      return { word, answer };
    }
    const labels = { ...tags, code };
    if (word === 'refused') {
      refusal(code).add(1, labels);
      return { word, answer };
    }
    if (code === 'disconnected') held = false;
    if (!FAIR.has(code)) metrics.unanswered.add(1, labels);
    if (repeated >= retries || over()) {
      metrics.unconfirmed.add(1, labels);
      return { word: 'unknown', answer };
    }
    // The same tempId: whatever became of the first, it is the same message.
    metrics.retried.add(1, labels);
    if (!AT_ONCE.has(code)) await sleep(PAUSE);
    await again(repeated);
  }
}

function refusal(code) {
  return { RATE_LIMITED: metrics.rateLimited, OVERLOADED: metrics.overloaded }[code] || metrics.refused;
}
