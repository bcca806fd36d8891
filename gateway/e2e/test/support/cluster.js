// The cluster under test: which gateways there are, by which door and transports clients enter, where the truth is kept.
//
// The cluster comes from the state file that `deploy/dev` and `deploy/test` write, so that the suite can be pointed at any
// running one and knows nothing of how it was started. Door and transports come from the environment: `run.js` goes
// through all of them.

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

const DIRECT = 'direct';

/** The load balancer that clients enter through, or nothing when they are given a gateway's own address. */
const entry = (process.env.CONFAB_ENTRY ?? state.proxy?.url ?? DIRECT).replace(/\/+$/, '');

/** Where clients are to connect: the load balancer if there is one, whichever gateway the test had in mind. */
export function entryUrl(gateway = 0) {
  return entry === DIRECT ? gatewayUrl(gateway) : entry;
}

/** What `socket.io-client` is told of transports in this run. */
export const transports = (process.env.CONFAB_TRANSPORTS ?? 'polling,websocket').split(',');
if (transports.some((name) => !['polling', 'websocket'].includes(name))) {
  throw new Error(`CONFAB_TRANSPORTS=${process.env.CONFAB_TRANSPORTS}: a list of polling and websocket is wanted`);
}

/** The state file as it is now: pids change with every restart. */
export const currentState = readState;

/** The secret that the cluster signs its tokens with, for forging bad ones. */
export function jwtSecret() {
  const secret = state.jwtSecret ?? process.env.JWT_SECRET;
  if (!secret) throw new Error('neither state.json has jwtSecret nor the environment JWT_SECRET: no token can be forged');
  return secret;
}

/**
 * Patience for one answer or event. Clusters under test may be debug builds on a busy machine, where much begins at once; all of it is only
 * waited for when something is missing.
 */
export const PATIENCE_MS = 45_000;
