// Whether the programs under test stood still: a lease runs out while its holder is stopped, and what is said of it then is right.

import { currentState, PATIENCE_MS } from './cluster.js';
import { unlessCounted } from './patience.js';
import { command } from './redis.js';
import { quiet } from './socket.js';

/** How long a program may be silent without anybody losing anything by it. */
const STALL_MS = 1_000;
const PAUSE_MS = 100;

/**
 * From now on, until the test `t` is over, asks Redis and each gateway again and again whether they are there; they seem to stand still as well
 * when this very process does. Hands back:
 *
 * - `count()`: how often any of them stood still
 * - `since(when)`: whether one did after this moment
 * - `before(when, ms)`: whether one did in so many milliseconds before this moment
 * - `unless(body)`: a test that is done again if it fails and one did meanwhile, three times in all: one of what is there for some seconds
 */
export function stalls(t) {
  const seen = [];
  let isOver = false;
  const ready = ({ internal }) => fetch(`${internal}/readyz`, { signal: AbortSignal.timeout(PATIENCE_MS) });
  const questions = [() => command('PING'), ...currentState().gateways.map((gateway) => () => ready(gateway))];
  const ask = async (question) => {
    const from = Date.now();
    await question().catch(() => {}); // who is dead does not stand still
    const to = Date.now();
    if (to - from > STALL_MS) seen.push({ from, to });
  };
  for (const question of questions) {
    (async () => {
      while (!isOver) {
        await ask(question);
        await quiet(PAUSE_MS);
      }
    })();
  }
  t.after(() => { isOver = true; });
  // One that has not ended is to be seen as well.
  const last = () => Promise.all(questions.map(ask));
  const count = () => last().then(() => seen.length);
  return {
    count,
    since: (when) => last().then(() => seen.some(({ to }) => to > when)),
    before: (when, ms) => seen.some(({ from, to }) => from <= when && to >= when - ms),
    unless: (body) => (t) => unlessCounted(t, 3, count, () => body(t)),
  };
}
