// The gateway's protocol layers without chat: the example server, as one node or as several behind a load balancer.

import { existsSync } from 'node:fs';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { onPorts, runProgram } from './gateways.js';
import { startProxy } from './proxy.js';

const PLACES = ['debug', 'release'].map((profile) => fileURLToPath(new URL(`../../../../target/${profile}/examples/echo`, import.meta.url)));

/** The program: CONFAB_ECHO, or where Cargo puts it; nothing if it was not built. */
export function echoProgram() {
  if (process.env.CONFAB_ECHO) return process.env.CONFAB_ECHO;
  return PLACES.find(existsSync);
}

async function answers(port) {
  const socket = net.connect({ host: '127.0.0.1', port });
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  }).finally(() => socket.destroy());
}

/** Runs `count` nodes that know each other; a URL at which each request meets the next of them. */
export async function echo(t, { count = 3, flags = [] } = {}) {
  const urls = await onPorts(2 * count, async (...ports) => {
    const nodes = Array.from({ length: count }, (_, node) => ({ node, port: ports[node], internal: ports[count + node] }));
    const peers = nodes.map(({ node, internal }) => `${node}=127.0.0.1:${internal}`).join(',');
    await Promise.all(
      nodes.map(({ node, port, internal }) => {
        const own = count > 1 ? ['--node', String(node), '--internal-port', String(internal), '--peers', peers] : [];
        return runProgram(t, echoProgram(), ['--port', String(port), ...own, ...flags], { env: process.env, isReady: () => answers(port) });
      }),
    );
    return nodes.map(({ port }) => `http://127.0.0.1:${port}`);
  });
  const proxy = await startProxy(urls);
  t.after(() => proxy.close());
  return proxy.url;
}
