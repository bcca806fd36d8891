// What comes and goes: a visit to a room by a socket, and a message by REST, each an iteration of one of k6's arrival-rate
// executors. The rooms' members check what they hear of it: this VU has no memory in common with theirs, but the stamps say all.

import exec from 'k6/execution';
import { Api, postMessage } from './api.js';
import { DIALECTS } from './dialect.js';
import { Member } from './member.js';
import * as metrics from './metrics.js';
import { roomOf } from './population.js';
import { send } from './sending.js';
import { ofRoom } from './settings.js';
import { read, stamp } from './stamp.js';
import { after, cancel } from './timers.js';

/** What this VU has sent to each room: the last number, and of the last confirmed one the number and the time. */
const streams = new Map();

/** The next stamp of a stream of this VU. */
function next(run, room, kind) {
  const stream = `${room}.${kind}${exec.vu.idInTest}`;
  const mine = streams.get(stream) || { last: 0, confirmed: { n: 0, at: 0 } };
  streams.set(stream, mine);
  mine.last += 1;
  return { run, stream, n: mine.last, at: Date.now(), after: mine.confirmed.n, afterAt: mine.confirmed.at };
}

function tempId({ run, stream, n }) {
  return `${run}-${stream}-${n}`;
}

/** Rooms in turn, and in each its members in turn. */
function choose(settings, population, suits = () => true) {
  const turn = exec.scenario.iterationInTest;
  const rooms = population.rooms.map((_, room) => room).filter((room) => suits(ofRoom(settings, room)));
  const room = rooms[turn % rooms.length];
  const { id, users } = roomOf(population, room);
  return { turn, room, id, user: users[Math.floor(turn / rooms.length) % users.length] };
}

/** Connects, enters, sends one message, waits until it comes back, leaves. */
export async function visit(all, population) {
  const { turn, room, id, user } = choose(all, population);
  const settings = ofRoom(all, room);
  const dialect = DIALECTS[settings.dialect];
  const begun = Date.now();
  const member = new Member({ settings, dialect, place: id, user, name: `visit ${turn}`, first: turn });
  let sent;
  let heard;
  const came = new Promise((resolve) => { heard = resolve; });
  member.onheard = (_, message) => {
    const { content } = dialect.read(message);
    const written = read(content);
    if (sent && written && written.run === sent.run && written.stream === sent.stream && written.n === sent.n) heard(true);
  };
  if (!await member.open()) return;
  sent = next(population.run, room, 'v');
  const content = stamp(sent, settings.contentBytes);
  const { word } = await send({
    attempt: () => member.send(content, tempId(sent)), again: () => member.back(), begun: sent.at, retries: settings.retries,
    timed: metrics.oneOf(settings.timed.messages),
  });
  if (word === 'confirmed') {
    confirm(sent);
    const limit = after(settings.ackTimeoutMs, () => heard(false));
    if (!(await came)) metrics.lost.add(1);
    cancel(limit);
  }
  metrics.visitMs.add(Date.now() - begun);
  member.close();
}

/** Sends one message by REST, which answers when it is stored. */
export async function post(settings, population) {
  const { turn, room, id, user } = choose(settings, population, ({ dialect }) => dialect === 'conversations');
  const api = new Api(settings.urls, turn);
  const sent = next(population.run, room, 'p');
  const body = { conversationId: id, content: stamp(sent, settings.contentBytes) };
  const { word } = await send({
    attempt: () => postMessage(api, { token: user.token, body, key: tempId(sent) }), begun: sent.at, retries: settings.retries,
  });
  if (word === 'confirmed') confirm(sent);
}

function confirm({ stream, n, at }) {
  streams.get(stream).confirmed = { n, at };
}
