// What a program counts, as Prometheus would read it.

import assert from 'node:assert/strict';
import { currentState, PATIENCE_MS } from './cluster.js';

/** Reads `/metrics` of an internal listener: `value(name, {label: value…})`, which is 0 for what is not there; `sum(name, …)` over all that match. */
export async function scrape(internal) {
  const answer = await fetch(`${internal}/metrics`, { signal: AbortSignal.timeout(PATIENCE_MS) });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  const samples = (await answer.text())
    .split('\n')
    .map((line) => /^([a-z_:]+)(?:\{(.*)\})? (\S+)$/.exec(line))
    .filter(Boolean)
    .map(([, name, inside = '', value]) => ({
      name,
      labels: Object.fromEntries([...inside.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, of]) => [label, of])),
      value: Number(value),
    }));
  const matching = (name, labels) =>
    samples.filter((sample) => sample.name === name && Object.entries(labels).every(([label, of]) => sample.labels[label] === of));
  return {
    value: (name, labels = {}) => matching(name, labels)[0]?.value ?? 0,
    sum: (name, labels = {}) => matching(name, labels).reduce((sum, sample) => sum + sample.value, 0),
    most: (name, labels = {}) => Math.max(0, ...matching(name, labels).map((sample) => sample.value)),
  };
}

/**
 * By how much a counter has grown on all of `gateways` together since it was asked for first. What one counts goes with it when it ends: whoever
 * ends one asks before.
 */
export function growth(name, labels, gateways = () => currentState().gateways) {
  let sum = 0;
  let known;
  return async () => {
    const told = await Promise.all(gateways().map(async ({ internal, pid }) => {
      const answer = await scrape(internal).catch(() => undefined); // one that was killed
      return [internal, answer && { pid, value: answer.sum(name, labels) }];
    }));
    const now = new Map(told.filter(([, counted]) => counted));
    for (const [internal, { pid, value }] of known ? now : []) {
      const last = known.get(internal);
      sum += value - (last?.pid === pid ? last.value : 0);
    }
    known = new Map([...(known ?? []), ...now]);
    return sum;
  };
}
