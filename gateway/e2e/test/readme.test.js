// The README's examples, taken from the README: what a stranger copies works.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gatewayUrl } from './support/cluster.js';

const readme = fileURLToPath(new URL('../../../README.md', import.meta.url));

/** Runs the README's example that has this comment in its first line, against this cluster; what it wrote. */
async function run(t, comment) {
  const examples = [...(await readFile(readme, 'utf8')).matchAll(/```js\n([\s\S]*?)```/g)].map(([, example]) => example);
  const example = examples.find((text) => text.startsWith(`// ${comment}`));
  assert.ok(example, comment);
  const here = example.replaceAll('http://127.0.0.1:3000', gatewayUrl(0)).replaceAll('http://127.0.0.1:3001', gatewayUrl(1));
  // Beside node_modules, where the examples find what they need.
  const script = fileURLToPath(new URL(`../.readme-example-${randomUUID()}.mjs`, import.meta.url));
  t.after(() => rm(script, { force: true }));
  await writeFile(script, here);
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [script], { timeout: 90_000 });
  assert.equal(stderr, '');
  return stdout;
}

test('two users chat through two gateways', { timeout: 120_000 }, async (t) => {
  const stdout = await run(t, 'alice on the first gateway');
  for (const name of ['alice', 'bob']) {
    assert.match(stdout, new RegExp(`${name} sees #\\d+ \\S+.*: Hello from 3000!`));
    assert.match(stdout, new RegExp(`${name} sees #\\d+ \\S+.*: Hello from 3001!`));
  }
});

test('guests of Spring clients are in a public room', { timeout: 120_000 }, async (t) => {
  for (const stdout of await Promise.all([1, 2].map(() => run(t, 'A guest in the public room')))) assert.match(stdout, /CHAT of carol_\d+: Hello from Spring!/);
});
