// What a message says about itself, so that whoever receives it knows what it should have received before.
// Pure. The stamp is the message's content, filled up to the wanted length.
//
//   k6 <run> <stream> <n> <after> <sent at, in ms> ....
//
// A stream is what one sender sends to one room; `n` counts in it from 1, and `after` is the last number in it that had been
// confirmed when this one was sent, or 0. Runs have no memory in common between their VUs: `after` is how a receiver learns of a
// message that was confirmed to somebody else and never came.

const MARK = 'k6';

/** The content of a message. */
export function stamp({ run, stream, n, after, at }, length) {
  const text = `${MARK} ${run} ${stream} ${n} ${after} ${at} `;
  return text.padEnd(length, '.');
}

/** What a content says, or null if no run wrote it. */
export function read(content) {
  if (typeof content !== 'string' || !content.startsWith(`${MARK} `)) return null;
  const [, run, stream, n, after, at, rest] = content.split(' ', 7);
  if (rest === undefined) return null;
  return { run, stream, n: Number(n), after: Number(after), at: Number(at) };
}
