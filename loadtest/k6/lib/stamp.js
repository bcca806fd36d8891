// What a message says about itself, so that whoever receives it knows what it should have received before.
// Pure. The stamp is the message's content, filled up to the wanted length.
//
//   k6 <run> <stream> <n> <at> <after> <after at> ....
//
// A stream is what one sender sends to one room; `n` counts in it from 1, and `at` is when it was sent, in ms. `after` is the last
// number in it that had been confirmed when this one was sent, and `after at` when that was sent; or both are 0. VUs have no memory
// in common: this is how a receiver learns of a message that was confirmed to somebody else and never came.

const MARK = 'k6';

/** The content of a message. */
export function stamp({ run, stream, n, at, after = 0, afterAt = 0 }, length) {
  const text = `${MARK} ${run} ${stream} ${n} ${at} ${after} ${afterAt} `;
  return text.padEnd(length, '.');
}

/** What a content says, or null if no run wrote it. */
export function read(content) {
  if (typeof content !== 'string' || !content.startsWith(`${MARK} `)) return null;
  const parts = content.split(' ', 8);
  if (parts.length < 8) return null;
  return { run: parts[1], stream: parts[2], n: Number(parts[3]), at: Number(parts[4]), after: Number(parts[5]), afterAt: Number(parts[6]) };
}
