// Timers that never fire before their time.
//
// k6's may: when one is cleared whose time has come but whose turn in the event loop has not, the next one takes that turn, however
// early it is (what grafana/k6#5199 left over, seen in 1.8.1 under load). A heartbeat's limit that fires so cuts a healthy connection.

import { setTimeout, clearTimeout } from 'k6/timers';

/** Calls `run` after some ms; what it returns can be cancelled. */
export function after(ms, run) {
  const due = Date.now() + ms;
  const timer = {};
  const fire = () => {
    const left = due - Date.now();
    if (left > 0) timer.id = setTimeout(fire, left);
    else run();
  };
  timer.id = setTimeout(fire, ms);
  return timer;
}

/** Nothing happens if there is none, or if it has fired. */
export function cancel(timer) {
  if (timer) clearTimeout(timer.id);
}

/** Resolves after some ms. */
export function sleep(ms) {
  return new Promise((resolve) => { after(ms, resolve); });
}
