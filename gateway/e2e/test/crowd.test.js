// A crowd of every kind of client, through the common door, while every gateway is killed, and then replaced, under it.
//
// At the end each client's log is compared with PostgreSQL. CONFAB_CROWD sets how many clients of each kind there are;
// CONFAB_TRANSPORTS, if it is set, leaves one kind.

import assert from 'node:assert/strict';
import test from 'node:test';
import { returns, unsettled, until } from './support/away.js';
import { group } from './support/chat.js';
import { state } from './support/cluster.js';
import { endDeafness } from './support/deaf.js';
import { kill, restart } from './support/gateways.js';
import { people, unique } from './support/people.js';
import { dial, opened, quiet } from './support/socket.js';
import { storedMessages } from './support/truth.js';

const KINDS = Object.fromEntries(
  Object.entries({ polling: ['polling'], upgraded: ['polling', 'websocket'], websocket: ['websocket'] }).filter(
    ([, transports]) => [undefined, transports.join()].includes(process.env.CONFAB_TRANSPORTS),
  ),
);
const EACH = Number(process.env.CONFAB_CROWD ?? 200);
assert.ok(Number.isInteger(EACH) && EACH > 0 && EACH <= 1_000, `CONFAB_CROWD=${process.env.CONFAB_CROWD}`);

const ROOMS = 20;
const PAUSE_MS = 400;
const BACK_MS = 120_000;
/** How long a client goes on trying to have something confirmed. */
const INSIST_MS = 60_000;
/** Connections opened at a time. */
const WIDTH = 25;

async function inBatches(items, work) {
  for (let from = 0; from < items.length; from += WIDTH) await Promise.all(items.slice(from, from + WIDTH).map(work));
}

/** One client: its socket, its room, and its log, one part per session that was not a recovered one. */
class Member {
  parts = [];
  /** What happened to it, for the case that something is wrong: when, what, which message, its offset. */
  trail = [];
  returned = 0;
  recovered = 0;
  joined = false;

  constructor(t, kind, user, room) {
    this.kind = kind;
    this.room = room;
    this.socket = dial(t, { ...returns, transports: KINDS[kind], auth: { token: user.token } });
    this.socket.on('newMessage', ({ message, conversationId }, offset) => {
      if (conversationId !== this.room.id) return;
      this.parts.at(-1)?.push(message._id);
      this.note('message', message._id, offset);
    });
    this.socket.on('disconnect', (reason) => {
      this.note('disconnect', reason, this.socket._lastOffset);
      assert.notEqual(reason, 'io server disconnect');
    });
  }

  async enter() {
    await opened(this.socket);
    await this.join();
    this.socket.on('connect', () => {
      this.note('connect', this.socket.recovered, this.socket._lastOffset);
      this.returned += 1;
      if (this.socket.recovered) this.recovered += 1;
      else this.join();
    });
  }

  /** A new session: its log begins where it has joined. */
  async join() {
    this.joined = false;
    this.parts.push([]);
    const answer = await this.insist('joinRoom', { conversationId: this.room.id });
    assert.equal(answer.success, true, JSON.stringify(answer));
    this.joined = true;
  }

  /** Emits until it is confirmed; every event here may be repeated. */
  async insist(event, payload) {
    const deadline = Date.now() + INSIST_MS;
    for (;;) {
      const answer = await this.socket.timeout(4_000).emitWithAck(event, payload).catch(() => undefined);
      if (answer?.success) return answer;
      assert.ok(Date.now() < deadline, `${event} of a ${this.kind} client is confirmed at last: ${JSON.stringify(answer)}`);
      await quiet(100);
    }
  }

  note(...what) {
    this.trail.push([new Date().toISOString().slice(14), ...what]);
  }

  isBack() {
    return this.socket.connected && this.joined;
  }
}

/** What happened to a client around a message, a line each. */
function around(member, id) {
  const at = member.trail.findLastIndex(([, , what]) => what === id);
  return member.trail.slice(Math.max(0, at - 5), at + 3).map((line) => `\n      ${line.join(' ')}`).join('');
}

/** Where a client's log departs from what is stored, or nothing. */
function difference(member, stored) {
  let place = -1;
  for (const [number, part] of member.parts.entries()) {
    for (const [index, id] of part.entries()) {
      const at = stored.indexOf(id);
      if (at < 0) return `an unknown message ${id}`;
      if (at <= place) return `message ${at} again or late, after ${place}${around(member, id)}`;
      // Only between sessions, and before the first, may something be missing: the client knows it then.
      if (index > 0 && at !== place + 1) return `messages ${place + 1} to ${at - 1} lost within session ${number}${around(member, id)}`;
      place = at;
    }
  }
  if (place === stored.length - 1) return undefined;
  const { socket, trail } = member;
  const { engine } = socket.io;
  const state = `connected ${socket.connected}, ${engine?.transport?.name} ${engine?.readyState}, engine ${engine?.id}`;
  return `messages after ${place} lost, of ${stored.length} (${state})${trail.slice(-8).map((line) => `\n      ${line.join(' ')}`).join('')}`;
}

test(`${EACH} clients of each kind outlive every gateway, twice`, { timeout: 1200_000 }, async (t) => {
  const begun = Date.now();
  const told = (what) => t.diagnostic(`${((Date.now() - begun) / 1000).toFixed(1)} s: ${what}`);
  const names = Array.from({ length: ROOMS }, (_, index) => `crowd${index}`);
  const users = Object.values(await people(...names)());
  const rooms = await Promise.all(users.map(async (user, index) => ({ id: await group(user, [users[(index + 1) % ROOMS]]) })));
  const members = Object.keys(KINDS).flatMap((kind, shift) =>
    Array.from({ length: EACH }, (_, index) => {
      const room = (index + shift) % ROOMS;
      return new Member(t, kind, users[(room + (index % 2)) % ROOMS], rooms[room]);
    }),
  );
  await inBatches(members, (member) => member.enter());
  told(`${members.length} clients are in`);

  // One speaker a room, of changing kinds; it is a client like the others and loses its connection like them.
  let speaking = true;
  let sent = 0;
  const speakers = rooms.flatMap((room, index) => {
    const inside = members.filter((member) => member.room === room);
    return inside.length > 0 ? [inside[(index * 7) % inside.length]] : [];
  });
  const talk = Promise.all(
    speakers.map(async (speaker, index) => {
      await quiet((PAUSE_MS / ROOMS) * index);
      while (speaking) {
        const tempId = unique('t');
        await speaker.insist('sendMessage', { conversationId: speaker.room.id, content: tempId, tempId });
        sent += 1;
        await quiet(PAUSE_MS);
      }
    }),
  );
  const unsure = unsettled();
  const everybodyBack = () => until(() => {
    const away = members.filter((member) => !member.isBack());
    // Its gateway went while it changed over.
    for (const { socket } of away) endDeafness(socket);
    return away.length === 0;
  }, 'everybody is back', BACK_MS);

  for (const index of state.gateways.keys()) {
    await unsure();
    kill(index);
    await quiet(500);
    await everybodyBack();
    await restart(index);
    told(`gateway ${index} was killed, everybody is back, it is restarted`);
  }
  for (const index of state.gateways.keys()) {
    await unsure();
    await restart(index);
    await everybodyBack();
    told(`gateway ${index} was drained and restarted, everybody is back`);
  }
  speaking = false;
  await talk;
  await everybodyBack();

  const stored = new Map();
  for (const room of rooms) stored.set(room, (await storedMessages(room.id)).map(({ id }) => id));
  const total = [...stored.values()].reduce((sum, ids) => sum + ids.length, 0);
  assert.equal(total, sent, 'each message that was confirmed is stored once');
  const complete = (member) => {
    const ids = stored.get(member.room);
    return ids.length === 0 || member.parts.some((part) => part.at(-1) === ids.at(-1));
  };
  const arrived = () => {
    // Gateways went while clients changed over: one that is deaf since then would come back when its ping timeout is over, and is not waited for.
    for (const { socket } of members) endDeafness(socket);
    return members.every(complete);
  };
  await until(arrived, 'the last messages arrive').catch(() => {}); // the comparison says it better

  for (const kind of Object.keys(KINDS)) {
    const ours = members.filter((member) => member.kind === kind);
    const returned = ours.reduce((sum, member) => sum + member.returned, 0);
    const recovered = ours.reduce((sum, member) => sum + member.recovered, 0);
    told(`${kind}: ${returned} returns, ${recovered} recovered (${((100 * recovered) / (returned || 1)).toFixed(2)} %)`);
  }
  const wrong = members.flatMap((member, index) => {
    const what = difference(member, stored.get(member.room));
    return what ? [`client ${index} (${member.kind}): ${what}`] : [];
  });
  assert.deepEqual(wrong, [], `${total} messages; every log is what PostgreSQL has`);
  const anew = members.reduce((sum, { returned, recovered }) => sum + returned - recovered, 0);
  const excused = await unsure();
  assert.ok(anew <= excused, `every return within the window was a recovery, but for ${excused} of which a gateway said why not: ${anew} began anew`);
});
