// The README's example, taken from the README: what a stranger copies works.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gatewayUrl } from './support/cluster.js';

const readme = fileURLToPath(new URL('../../../README.md', import.meta.url));
// Beside node_modules, where the example finds its one dependency.
const script = fileURLToPath(new URL('../.readme-example.mjs', import.meta.url));

test('two users chat through two gateways', { timeout: 30_000 }, async (t) => {
  const [, example] = /```js\n([\s\S]*?)```/.exec(await readFile(readme, 'utf8'));
  const here = example.replace('http://127.0.0.1:3000', gatewayUrl(0)).replace('http://127.0.0.1:3001', gatewayUrl(1));
  t.after(() => rm(script, { force: true }));
  await writeFile(script, here);
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [script], { timeout: 20_000 });
  assert.equal(stderr, '');
  for (const name of ['alice', 'bob']) {
    assert.match(stdout, new RegExp(`${name} sees #\\d+ \\S+.*: Hello from 3000!`));
    assert.match(stdout, new RegExp(`${name} sees #\\d+ \\S+.*: Hello from 3001!`));
  }
});
