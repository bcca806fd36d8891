// Checks of what needs no server: the codec, the pace, the ledger, the timers, what a member counts. Run by `deploy/test` before any load.
//
//   k6 run loadtest/k6/check/self.js

import { Counter, Rate } from 'k6/metrics';
import { DIALECTS, verdict } from '../lib/dialect.js';
import { decode, encode } from '../lib/packet.js';
import { Ledger } from '../lib/ledger.js';
import { Member } from '../lib/member.js';
import { Pace } from '../lib/pace.js';
import { seconds } from '../lib/settings.js';
import { pause } from '../lib/socketio.js';
import { read, stamp } from '../lib/stamp.js';
import { after, cancel, sleep } from '../lib/timers.js';

const holds = new Rate('holds');
/** An error in a check would end the iteration, and all that had been asked by then might hold. */
const finished = new Counter('finished');

/** How long a part of a member's absence takes, in ms. */
const AWAY = 50;

export const options = {
  vus: 1,
  iterations: 1,
  thresholds: {
    holds: ['rate==1'],
    finished: ['count==1'],
    // See `away`, and `sentAway`: in, in, not back.
    disconnects: ['count==1'],
    reconnects: ['count==2'],
    reconnect_ms: [`min>=${3 * AWAY}`],
    connected: ['rate>0.6', 'rate<0.7'],
  },
};

function same(what, found, wanted) {
  const right = JSON.stringify(found) === JSON.stringify(wanted);
  holds.add(right);
  if (!right) console.error(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
}

function packets() {
  for (const text of ['0', '0/chat,{"token":"t"}', '1/chat,', '2["a",1]', '212["a"]', '2/chat,7["a",{"b":[1]}]', '3/chat,0[{"success":true}]', '4{"message":"no"}']) {
    const { type, namespace, data, id } = decode(text);
    same(text, encode(type, namespace, data, id), text);
  }
  same('a namespace without a comma', decode('1/chat'), { type: 1, namespace: '/chat', id: undefined, data: undefined });
  for (const text of ['', '5["a"]', '51-["a"]', '2{}', '2[1]', '3["no id"]', '2["cut', '0[]', 'x']) {
    let refused = false;
    try {
      decode(text);
    } catch {
      refused = true;
    }
    same(`refused: ${text}`, refused, true);
  }
}

function stamps() {
  const written = { run: 'r', stream: '1.2', n: 3, at: 1700000000000, after: 2, afterAt: 1690000000000 };
  const content = stamp(written, 100);
  same('length', content.length, 100);
  same('a stamp', read(content), written);
  for (const other of ['', 'k6', 'k6 a b 1 2 3 4', 'hello', undefined]) same(`not a stamp: ${other}`, read(other), null);
}

function pace() {
  const level = new Pace(10, [{ seconds: 2, rate: 10 }], 0.5);
  same('half of ten a second', [0, 1, 9, 10].map((number) => level.due(number)), [0, 0.2, 1.8, null]);
  const rising = new Pace(0, [{ seconds: 2, rate: 4, phase: 'up' }, { seconds: 1, rate: 4, phase: 'level' }]);
  same('a rise of 2 a second each second', [0, 1, 4, 6].map((number) => rising.due(number)), [0, 1, 2, 2.5]);
  same('phases', [0, 1.9, 2.1, 9].map((at) => rising.phase(at)), ['up', 'up', 'level', 'level']);
  same('nothing', new Pace(0, [{ seconds: 5, rate: 0 }]).due(0), null);
  same('spans', ['90s', '1m30s', '2h', '500ms'].map(seconds), [90, 90, 7200, 0.5]);
  same('no spans', ['', '5', '5 s', 'm'].map(seconds), [null, null, null, null]);
}

/** A room with two members, a and b; `steps` is a list of calls; `found` what must be found. */
function ledger(what, found, play) {
  const book = new Ledger('r');
  book.join('a', 0);
  book.join('b', 0);
  book.open('s');
  const stored = [];
  const tell = (n, { to = ['a', 'b'], stream = 's', after = 0, seq = n, keep = true } = {}) => {
    const mark = { run: 'r', stream, n, at: 10, after, afterAt: 9 };
    for (const member of to) book.received(member, mark, seq);
    if (keep && !stored.some((other) => other.stream === stream && other.n === n)) stored.unshift(mark);
  };
  play(book, tell, stored);
  book.close(stored, true);
  same(what, Object.entries(book.found).filter(([, count]) => count > 0), Object.entries(found));
}

function verdicts() {
  const answered = (code) => ({ outcome: 'answered', reply: { success: false, error: { code } } });
  same('refused', verdict(answered('OVERLOADED')), { verdict: 'refused', code: 'OVERLOADED' });
  same('a refused repetition says nothing of the first', verdict(answered('OVERLOADED'), 1), { verdict: 'open', code: 'OVERLOADED' });
  same('nobody knows', verdict(answered('TIMEOUT')), { verdict: 'open', code: 'TIMEOUT' });
  same('no answer', verdict({ outcome: 'timeout' }), { verdict: 'open', code: 'timeout' });
}

function pauses() {
  const backoff = { first: 1000, longest: 5000, jitter: 0.5 };
  same('pauses without chance', [0, 1, 2, 3, 9].map((attempts) => pause(attempts, backoff, 0.5)), [1000, 2000, 4000, 5000, 5000]);
  same('none is longer than the longest', [0, 2, 3, 9].map((attempts) => pause(attempts, backoff, 1)), [1500, 5000, 5000, 5000]);
}

/** A member whose connection is in the check's hands, in its room: `{member, socket, client}`. */
async function inside() {
  const socket = { connected: true, on() {}, request: () => Promise.resolve({ outcome: 'answered', reply: { success: true } }) };
  const client = { socket: () => socket, open() {}, close() {}, pings: 0 };
  const member = new Member({ settings: { ackTimeoutMs: 1000 }, dialect: DIALECTS.conversations, place: 'r', user: { token: 't' }, name: 'of the check', client });
  const opened = member.open();
  socket.onconnect({ recovered: false, again: false });
  same('a member gets in', await opened, true);
  return { member, socket, client };
}

/** Lost, in vain, let in unrecovered, lost before it is in the room, and back once more. */
async function away() {
  const { member, socket, client } = await inside();
  socket.connected = false;
  socket.ondisconnect('transport close', 'cut');
  client.onclose('transport close', 'cut');
  const back = member.back();
  await sleep(AWAY);
  client.onclose('transport error', 'nobody is there');
  await sleep(AWAY);
  const { request } = socket;
  socket.request = () => Promise.resolve({ outcome: 'disconnected' });
  socket.connected = true;
  socket.onconnect({ recovered: false, again: true });
  await sleep(AWAY);
  same('who is connected and not in the room is not there', member.present, false);
  socket.request = request;
  // A session that was never in the room is recovered as just that.
  socket.onconnect({ recovered: true, again: true });
  await back;
  same('a member is back', member.present, true);
  member.close();
}

/** Whoever may not come back keeps nobody waiting. */
async function sentAway() {
  const { member, socket } = await inside();
  socket.connected = false;
  let told = false;
  member.back().then(() => { told = true; });
  socket.onrefused({ message: 'Unauthorized (as it should be, in this check)' });
  await sleep(0);
  same('who waits for a member that was refused is told', told, true);
}

function ledgers() {
  const send = (book, count) => { for (let n = 1; n <= count; n += 1) book.next('s'); };
  const confirm = (book, ...numbers) => numbers.forEach((n) => book.confirmed('s', n));
  ledger('all is well', {}, (book, tell) => { send(book, 2); tell(1); confirm(book, 1, 2); tell(2); same('quiet', book.quiet(), true); });
  ledger('one is missing at b', { lost: 1 }, (book, tell) => { send(book, 2); confirm(book, 1, 2); tell(1, { to: ['a'] }); tell(2); same('not quiet', book.quiet(), false); });
  ledger('one came to nobody', { lost: 2 }, (book, tell, stored) => { send(book, 1); confirm(book, 1); tell(1, { to: [] }); same('stored', stored.length, 1); });
  ledger('one was confirmed and not stored', { lost: 3 }, (book) => { send(book, 1); confirm(book, 1); });
  ledger('not confirmed, but b has it', { lost: 1 }, (book, tell) => { send(book, 1); book.unknown('s', 1); tell(1, { to: ['b'] }); });
  ledger('not confirmed, nobody has it', {}, (book) => { send(book, 1); book.unknown('s', 1); });
  ledger('one came twice to a', { duplicated: 1 }, (book, tell) => { send(book, 2); confirm(book, 1, 2); tell(1); tell(2); tell(1, { to: ['a'] }); });
  ledger('one is stored twice', { duplicated: 1 }, (book, tell, stored) => { send(book, 1); confirm(book, 1); tell(1); stored.push({ ...stored[0] }); });
  ledger('two came the wrong way round', { outOfOrder: 1 }, (book, tell) => { send(book, 2); confirm(book, 1, 2); tell(2, { to: ['a'] }); tell(1); tell(2, { to: ['b'] }); });
  ledger('a repeated one may come late', {}, (book, tell) => { send(book, 2); book.retried('s', 1); tell(2, { seq: 1 }); tell(1, { seq: 2 }); confirm(book, 1, 2); });
  ledger('refused, and came', { phantom: 3 }, (book, tell) => { send(book, 1); book.refused('s', 1); tell(1); });
  ledger('refused', {}, (book) => { send(book, 1); book.refused('s', 1); });
  ledger('never sent, and came', { phantom: 2 }, (book, tell) => { tell(1); });
  ledger('b was not recovered', { excused: 1 }, (book, tell) => { send(book, 1); confirm(book, 1); tell(1, { to: ['a'] }); book.excuse('b', 20); });
  ledger('excused, and came after all', { excused: 1 }, (book, tell) => { send(book, 1); confirm(book, 1); tell(1, { to: ['a'] }); book.excuse('b', 20); tell(1, { to: ['b'] }); });
  ledger('two messages with one seq', { outOfOrder: 2 }, (book, tell) => { send(book, 2); confirm(book, 1, 2); tell(1, { seq: 7 }); tell(2, { seq: 7 }); });
  ledger('a refused repetition of what is stored', {}, (book, tell) => { send(book, 1); book.retried('s', 1); book.unknown('s', 1); tell(1); });
  ledger('what nobody knows of keeps nobody waiting', {}, (book, tell) => {
    send(book, 2);
    book.unknown('s', 1);
    same('waiting for the second', book.outstanding(), 1);
    tell(1, { to: ['a'] });
    same('b must have the first, too', book.outstanding(), 2);
    tell(1, { to: ['b'] });
    book.unknown('s', 2);
    same('nothing to wait for', [book.outstanding(), book.quiet()], [0, true]);
  });
  ledger('an excuse is no arrival', { excused: 1 }, (book) => { send(book, 1); book.unknown('s', 1); book.excuse('b', 20); });
  ledger('of too much that nobody knows of nothing is kept', {}, (book, tell) => {
    send(book, 6000);
    for (let n = 1; n <= 6000; n += 1) book.unknown('s', n);
    same('nothing to wait for, again', book.outstanding(), 0);
    tell(6000);
  });
  // What other VUs send.
  const other = { stream: 'v' };
  ledger('others\' messages', {}, (book, tell) => { tell(1, other); tell(2, { ...other, after: 1 }); });
  ledger('the first of others\' is missing at b', { lost: 1 }, (book, tell) => { tell(1, { ...other, to: ['a'] }); tell(2, { ...other, after: 1, keep: false }); });
  ledger('the last of others\' is missing at b', { lost: 1 }, (book, tell) => { tell(1, other); tell(2, { ...other, after: 1, to: ['a'] }); });
  ledger('what others sent before one had entered', {}, (book, tell) => { book.excuse('b', 9); tell(1, { ...other, to: ['a'], keep: false }); tell(2, { ...other, after: 1 }); });
  ledger('one of others\' twice', { duplicated: 2 }, (book, tell) => { tell(1, other); tell(1, other); });
  ledger('others\' the wrong way round', { outOfOrder: 2 }, (book, tell) => { tell(1, other); tell(3, { ...other, after: 2 }); tell(2, { ...other, seq: 4 }); });
  ledger('others\' may overtake what is not confirmed', {}, (book, tell) => { tell(2, { ...other, seq: 1 }); tell(1, { ...other, seq: 2 }); });
  ledger('one of others\' is missing, and not the last', { lost: 2 }, (book, tell) => { tell(1, other); tell(3, { ...other, after: 2 }); });
  ledger('another run\'s', {}, (book) => { book.received('a', { run: 'x', stream: 's', n: 1, at: 10, after: 0, afterAt: 0 }, 1); book.received('a', null, 2); });
  ledger('nothing is remembered that everybody has', {}, (book, tell) => {
    for (let n = 1; n <= 20; n += 1) { book.next('s'); tell(n); confirm(book, n); }
    same('outstanding', book.outstanding(), 0);
  });
}

/** A timer is cleared whose time has come while the script was busy: another one must not go off in its turn. */
async function timers() {
  const begun = Date.now();
  const later = sleep(300);
  const soon = after(1, () => {});
  while (Date.now() < begun + 20);
  cancel(soon);
  await later;
  const took = Date.now() - begun;
  same(`a timer for 300 ms goes off in its time, not after ${took} ms`, took >= 300 && took < 10000, true);
}

export default async function () {
  await timers();
  await away();
  await sentAway();
  packets();
  verdicts();
  pauses();
  stamps();
  pace();
  ledgers();
  finished.add(1);
}

export function handleSummary({ metrics }) {
  const { rate, passes, fails } = metrics.holds.values;
  return { stdout: `self: ${passes} of ${passes + fails} hold${rate === 1 ? '' : ', see above'}\n` };
}
