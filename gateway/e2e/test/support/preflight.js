// Runs before the suite: one clear sentence when there is nothing to test, instead of a hundred failures.

import { gatewayUrl, state } from './cluster.js';

const DEADLINE_MS = 20_000;

async function answers(url) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    try {
      const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(3_000) });
      if (response.ok) return;
      if (Date.now() > deadline) throw new Error(`${url}/health answers ${response.status}`);
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`${url} does not answer: ${error.cause?.message ?? error.message}`, { cause: error });
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

await Promise.all(state.gateways.map((_, index) => answers(gatewayUrl(index))));
