// Gateways as things that die and come back, and gateways of a test's own with other settings.

import { execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { currentState, jwtSecret, state } from './cluster.js';

const RESTART_MS = 180_000;
const READY_MS = 60_000;
/** Where ports are looked for: below those of clusters, and below those that the system gives to whoever connects to somewhere. */
const PORTS = [15_000, 20_000];

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** `kill -9`. */
export function kill(index) {
  process.kill(currentState().gateways[index].pid, 'SIGKILL');
}

/** Starts gateway `index` again. One that lives is told to go first, and waited for: this is what a rolling update does. */
export async function restart(index) {
  const [command, ...args] = state.gateways[index].restart;
  await promisify(execFile)(command, args, { timeout: RESTART_MS });
}

/** A port that nobody listens on, at this moment. */
export async function freePort() {
  for (;;) {
    const port = randomInt(...PORTS);
    const server = net.createServer();
    const isFree = await new Promise((resolve) => server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true)));
    if (!isFree) continue;
    await new Promise((resolve) => { server.close(resolve); });
    return port;
  }
}

/** What `start` starts on `count` free ports: it is given others if somebody was quicker. */
export async function onPorts(count, start) {
  for (let attempt = 1; ; attempt += 1) {
    const ports = new Set();
    while (ports.size < count) ports.add(await freePort());
    try {
      return await start(...ports);
    } catch (error) {
      if (attempt === 5 || !/Address already in use/.test(error.message)) throw error;
    }
  }
}

/** Runs a program for the time of the test `t`, until `isReady()`; what it said is in the error when it does not get so far. */
export async function runProgram(t, program, args, { env, isReady }) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => { said = (said + chunk).slice(-4_000); });
  }
  // Not before all that it said has been read.
  const ended = once(child, 'close');
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const deadline = Date.now() + READY_MS;
  while (!(await isReady().catch(() => false))) {
    if (child.exitCode !== null || child.signalCode !== null) {
      await ended;
      throw new Error(`${program} ended at once:\n${said}`);
    }
    if (Date.now() > deadline) throw new Error(`${program} is not ready:\n${said}`);
    await pause(50);
  }
  return child;
}

/** A further gateway of the same cluster with `settings` over the defaults (`undefined` takes one away); its base URL. */
export async function privateGateway(t, settings) {
  return (await mortalGateway(t, settings)).url;
}

/** The same, to be killed by the test, or asked what it counts: `{url, internal, child, kill()}`. */
export function mortalGateway(t, settings = {}) {
  return onPorts(2, (port, internal) => startGateway(t, port, internal, settings));
}

async function startGateway(t, port, internal, settings) {
  const env = {
    ...process.env,
    CONFAB_ENVIRONMENT: 'development',
    CONFAB_LOG__FORMAT: 'pretty',
    CONFAB_RATE_LIMITS__MESSAGES: 'off',
    CONFAB_RATE_LIMITS__ROOM_OPERATIONS: 'off',
    CONFAB_RATE_LIMITS__READS: 'off',
    CONFAB_RATE_LIMITS__QUESTIONS: 'off',
    CONFAB_RATE_LIMITS__SUBSCRIPTIONS: 'off',
    CONFAB_RATE_LIMITS__LOGIN: 'off',
    CONFAB_RATE_LIMITS__LOGIN_ADDRESS: 'off',
    CONFAB_RATE_LIMITS__REGISTER: 'off',
    CONFAB_RATE_LIMITS__GUESTS: 'off',
    THROTTLE_LIMIT: '100000',
    CONFAB_HTTP__BIND: '127.0.0.1',
    CONFAB_HTTP__INTERNAL_LISTEN: `127.0.0.1:${internal}`,
    PORT: String(port),
    DATABASE_URL: state.postgres.url,
    REDIS_URL: state.redis.url,
    JWT_SECRET: jwtSecret(),
    NO_COLOR: '1',
    ...settings,
  };
  // The suite's own names are no settings of a gateway.
  for (const name of Object.keys(env)) {
    if (/^CONFAB_(DEV_.*|TEST_.*|STATE|ENTRY|TRANSPORTS|CROWD|ECHO)$/.test(name)) delete env[name];
  }
  const isReady = async () => (await fetch(`http://127.0.0.1:${internal}/readyz`, { signal: AbortSignal.timeout(2_000) })).ok;
  const child = await runProgram(t, path.join(state.programs, 'confab-gateway'), [], { env, isReady });
  return { url: `http://127.0.0.1:${port}`, internal: `http://127.0.0.1:${internal}`, child, kill: () => child.kill('SIGKILL') };
}
