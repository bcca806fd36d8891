// What comes and goes: a visit to a room by a socket, and a message by REST, each an iteration of one of k6's arrival-rate
// executors. The rooms' members check what they hear of it: this VU has no memory in common with theirs, but the stamps say all.

import { sleep } from 'k6';
import exec from 'k6/execution';
import { Api, json } from './api.js';
import { DIALECTS, verdict } from './dialect.js';
import { Member } from './member.js';
import * as metrics from './metrics.js';
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
  const { id, members } = population.rooms[room];
  return { turn, room, id, user: population.users[members[Math.floor(turn / rooms.length) % members.length]] };
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
  if (await member.open()) {
    sent = next(population.run, room, 'v');
    metrics.sent.add(1);
    const content = stamp(sent, settings.contentBytes);
    let answer = await member.send(content, tempId(sent));
    if (answer.verdict === 'confirmed') metrics.ackMs.add(answer.at - sent.at);
    for (let repeated = 0; answer.verdict === 'open' && repeated < settings.retries; repeated += 1) {
      metrics.retried.add(1, { code: answer.code });
      await member.back();
      answer = await member.send(content, tempId(sent));
    }
    settle(answer, sent);
    if (answer.verdict === 'confirmed') {
      const limit = after(settings.ackTimeoutMs, () => heard(false));
      if (!(await came)) metrics.lost.add(1);
      cancel(limit);
    }
    metrics.visitMs.add(Date.now() - begun);
    member.close();
  }
  metrics.finished.add(1, { flow: 'visit' });
}

/** Sends one message by REST, which answers when it is stored. */
export function post(settings, population) {
  const { turn, room, id, user } = choose(settings, population, ({ dialect }) => dialect === 'conversations');
  const api = new Api(settings.urls, turn);
  const sent = next(population.run, room, 'p');
  metrics.sent.add(1);
  const request = () => {
    const answer = api.request('POST', '/messages', {
      name: 'POST /messages', token: user.token, body: { conversationId: id, content: stamp(sent, settings.contentBytes) },
      headers: { 'Idempotency-Key': tempId(sent) }, expected: [201, 429, 503],
    });
    const body = json(answer);
    return verdict({ outcome: body ? 'answered' : 'unreadable', reply: answer.status === 201 ? { success: true } : { error: body } });
  };
  let answer = request();
  for (let repeated = 0; answer.verdict === 'open' && repeated < settings.retries; repeated += 1) {
    metrics.retried.add(1, { code: answer.code });
    // Somebody who is not there refuses at once.
    if (answer.code === 'unreadable') sleep(1);
    answer = request();
  }
  settle(answer, sent);
  metrics.finished.add(1, { flow: 'post' });
}

function settle({ verdict: word, code }, { stream, n, at }) {
  if (word === 'confirmed') {
    streams.get(stream).confirmed = { n, at };
    metrics.acked.add(1);
  } else if (code === 'RATE_LIMITED') metrics.rateLimited.add(1, { code });
  else if (code === 'OVERLOADED') metrics.overloaded.add(1, { code });
  else if (word === 'refused') metrics.refused.add(1, { code });
  else metrics.unconfirmed.add(1, { code });
}
