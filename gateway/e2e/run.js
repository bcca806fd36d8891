// Runs the suite: what depends on how a client connects, once for every way to connect.
//
//   node run.js [--repeat N] [--faults | --no-faults] [name…]      names are those of files in test/, without .test.js
// With --faults only what breaks the cluster under everybody, with --no-faults only the rest.
//
// CONFAB_TRANSPORTS (polling | polling,websocket | websocket) and CONFAB_ENTRY (node | nginx | direct | a URL) narrow the ways;
// without them all are gone. `node` is a proxy in this process, `nginx` the one of the cluster if it has one.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gatewayUrl, state } from './test/support/cluster.js';
import { startProxy } from './test/support/proxy.js';

/** They choose their own way in, or no socket is concerned: once is enough. */
const ONCE = new Set([
  'echo', 'guests-off', 'log', 'polling', 'proxy', 'rate-limits', 'rate-limits-rest', 'raw', 'readme', 'recovery-settings', 'rest-accounts', 'rest-authorisation', 'rest-conversations', 'rest-edge',
  'rest-messages', 'rest-openapi', 'rest-rooms', 'rest-tokens',
  'source-000-rest', 'source-001-rest', 'source-002-history', 'source-003-rest', 'stomp-settings', 'upgrade',
]);
/** What clients of one source do, and what passes between them: over every transport, but through one door. The others go through all. */
const ONE_DOOR = /^(source-.*|cross-dialect|revocation|stomp-(cross|frames|logins))$/;
/** What they are told beside conversations is the same however they are connected: over the transports that clients begin with, through one door. */
const ONE_WAY = /^(badges|badges-faults|metrics|presence|traces|typing)$/;
/** Clients of another protocol, with transports of its own, all of which each file has inside: only once through a door. */
const OWN_WAYS = /^stomp-/;
/** They break the cluster under everybody: each alone, for every kind of transport, but through one door. */
const ALONE = new Set(['badges-faults', 'draining', 'metrics', 'recovery-faults', 'rooms-faults', 'stomp-faults', 'traces']);
/** Alone, and with clients of every kind in it. */
const CROWD = new Set(['crowd', 'presence-faults']);

const TRANSPORTS = ['polling', 'polling,websocket', 'websocket'];
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

function files(names, choose) {
  const all = readdirSync(here('test')).filter((file) => file.endsWith('.test.js')).map((file) => file.slice(0, -'.test.js'.length));
  for (const name of names) if (!all.includes(name)) throw new Error(`there is no test/${name}.test.js`);
  return all.filter((name) => (names.length === 0 || names.includes(name)) && choose(name)).map((name) => here(`test/${name}.test.js`));
}

async function pass(title, paths, concurrency, env) {
  const begun = Date.now();
  console.log(`--- ${title}`);
  const flags = ['--test', `--test-concurrency=${concurrency}`, `--test-reporter=${new URL('test/support/reporter.js', import.meta.url)}`];
  const child = spawn(process.execPath, [...flags, '--test-reporter-destination=stdout', ...paths], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  });
  const [code] = await once(child, 'exit');
  return { title, passed: code === 0, seconds: Math.round((Date.now() - begun) / 1000) };
}

const { values, positionals } = parseArgs({
  options: { repeat: { type: 'string', default: '1' }, faults: { type: 'boolean' }, 'no-faults': { type: 'boolean' } },
  allowPositionals: true,
});
const repeat = Number(values.repeat);
if (!Number.isInteger(repeat) || repeat < 1 || repeat > 1000) throw new Error(`--repeat ${values.repeat}: a number from 1 to 1000 is wanted`);

const proxy = await startProxy(state.gateways.map((_, index) => gatewayUrl(index)));
const doors = { node: proxy.url, ...(state.proxy ? { nginx: state.proxy.url } : {}) };
const wanted = process.env.CONFAB_ENTRY;
if (wanted === 'nginx' && !doors.nginx) throw new Error('CONFAB_ENTRY=nginx, but this cluster has none (deploy/dev --proxy)');
const entries = wanted ? [[wanted, doors[wanted] ?? wanted]] : Object.entries(doors);
const transports = process.env.CONFAB_TRANSPORTS ? [process.env.CONFAB_TRANSPORTS] : TRANSPORTS;
const width = Math.min(4, Math.max(2, availableParallelism()));

const breaks = (name) => ALONE.has(name) || CROWD.has(name);
/** Whether a file is among what was asked for. */
const isAsked = (name) => (breaks(name) ? !values['no-faults'] : !values.faults);
const isOrdinary = (name) => !ONCE.has(name) && !breaks(name);
const [lastDoor, lastUrl] = entries.at(-1);
/** What clients begin with, if it is not narrowed to something else. */
const usual = transports.includes('polling,websocket') ? 'polling,websocket' : transports[0];
/** Whether a file is run through this door over this transport. A WebSocket alone is one connection: the second door has nothing to part there. */
const isWanted = (name, door, kind) => {
  if (ONE_WAY.test(name)) return door === lastDoor && kind === usual;
  if (OWN_WAYS.test(name)) return kind === usual && (door === lastDoor || !ONE_DOOR.test(name));
  return door === lastDoor || (!ONE_DOOR.test(name) && kind !== 'websocket');
};
const plan = [
  ['once', (name) => ONCE.has(name), width, { CONFAB_ENTRY: lastUrl }],
  ...entries.flatMap(([door, url]) =>
    transports.map((kind) => [
      `${kind} through ${door}`,
      (name) => isOrdinary(name) && isWanted(name, door, kind),
      width,
      { CONFAB_ENTRY: url, CONFAB_TRANSPORTS: kind },
    ]),
  ),
  ...transports.map((kind) => [`faults, ${kind} through ${lastDoor}`, (name) => ALONE.has(name) && isWanted(name, lastDoor, kind), 1, { CONFAB_ENTRY: lastUrl, CONFAB_TRANSPORTS: kind }]),
  [`a crowd through ${lastDoor}`, (name) => CROWD.has(name), 1, { CONFAB_ENTRY: lastUrl }],
];

const results = [];
for (let round = 1; round <= repeat; round += 1) {
  for (const [title, choose, concurrency, env] of plan) {
    const paths = files(positionals, (name) => choose(name) && isAsked(name));
    if (paths.length > 0) results.push(await pass(repeat > 1 ? `${title} (${round} of ${repeat})` : title, paths, concurrency, env));
  }
}
await proxy.close();

console.log('---');
for (const { title, passed, seconds } of results) console.log(`${passed ? 'passed' : 'FAILED'} ${String(seconds).padStart(4)} s  ${title}`);
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1;
