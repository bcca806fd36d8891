// The cluster under test: which gateways there are, and where the truth is kept.
//
// Everything comes from the state file that `deploy/dev` and `deploy/test` write, so that the suite can be pointed at
// any running cluster and knows nothing of how it was started.

import { readFileSync } from 'node:fs';

function readState() {
  const path = process.env.CONFAB_STATE;
  if (!path) {
    throw new Error(
      'CONFAB_STATE is not set: it must name the state.json of a running cluster ' +
        '(`deploy/dev --detach` writes target/dev/state.json; `deploy/test` sets it by itself)',
    );
  }
  let state;
  try {
    state = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Error(`CONFAB_STATE=${path} cannot be read: ${error.message}`, { cause: error });
  }
  if (!Array.isArray(state.gateways) || state.gateways.length < 2) {
    throw new Error(`CONFAB_STATE=${path} names fewer than two gateways; the suite spreads its clients over two`);
  }
  if (!state.postgres?.url) {
    throw new Error(`CONFAB_STATE=${path} has no postgres.url; stored rows could not be checked`);
  }
  return state;
}

export const state = readState();

/** Base URL of gateway `index`, without a slash at its end. */
export function gatewayUrl(index) {
  const gateway = state.gateways[index];
  if (!gateway) throw new Error(`there is no gateway ${index}`);
  return gateway.url.replace(/\/+$/, '');
}

/** The secret that the cluster signs its tokens with, for forging bad ones. */
export function jwtSecret() {
  const secret = state.jwtSecret ?? process.env.JWT_SECRET;
  if (!secret) throw new Error('neither state.json has jwtSecret nor the environment JWT_SECRET: no token can be forged');
  return secret;
}

/** Patience for one answer or event. Clusters under test may be debug builds on a busy machine. */
export const PATIENCE_MS = 15_000;
