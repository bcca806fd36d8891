// What a run says: every failure in full, and the counts. Hundreds of passed tests, six times over, are no news.

import { relative } from 'node:path';
import { inspect } from 'node:util';

const COUNTS = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /;

export default async function* report(source) {
  for await (const { type, data } of source) {
    if (type === 'test:fail' && data.details?.error?.failureType !== 'subtestsFailed') {
      const { error } = data.details;
      const file = data.file ? relative(process.cwd(), data.file) : '';
      yield `FAILED ${file}: ${data.name}\n${inspect(error.cause ?? error, { depth: 4 }).replaceAll(/^/gm, '    ')}\n`;
    } else if (type === 'test:pass' && data.skip !== undefined) {
      yield `skipped: ${data.name} (${data.skip})\n`;
    } else if (type === 'test:diagnostic') {
      if (data.nesting > 0 || !COUNTS.test(data.message)) yield `note: ${data.message}\n`;
      else if (COUNTS.test(data.message) && !/^(suites|cancelled|skipped|todo) 0$/.test(data.message)) yield `${data.message}\n`;
    } else if (type === 'test:stdout' || type === 'test:stderr') {
      yield data.message;
    }
  }
}
