// One room with all its members in one VU: messages at the pace of an open model, breaks of connections, and the account at the end.
//
// Its members are spread over all addresses, so what one sends passes from gateway to gateway to come to the others.

import { Api, json } from './api.js';
import { DIALECTS } from './dialect.js';
import { Ledger } from './ledger.js';
import { Member } from './member.js';
import * as metrics from './metrics.js';
import { send } from './sending.js';
import { read, stamp } from './stamp.js';
import { sleep } from './timers.js';

/** How much of a room's history is compared at the end: pages of a hundred. */
const PAGES = 20;
/** How long what is stored may take to come to everybody, in ms, if settling is not to take longer. */
const CATCH_UP = 5000;
const LOOK_AGAIN = 50;
/** How long a visit or a request that has just begun may take to send its message, in ms. */
const LAST_GUESTS = 2000;

async function until(condition, limit) {
  const end = Date.now() + limit;
  while (!condition()) {
    if (Date.now() >= end) return false;
    await sleep(LOOK_AGAIN);
  }
  return true;
}

export class Room {
  /**
   * `begin` is when messages begin, in ms; `connectAt(user)` when a user connects; `cuts` are `{at, share, spread}`: at a second, a
   * share of the members loses the connection and comes back within `spread` ms. `place` is `{id, users}`.
   */
  constructor({ settings, run, place, index, pace, begin, connectAt, cuts = [] }) {
    this._settings = settings;
    this._dialect = DIALECTS[settings.dialect];
    this._run = run;
    this._index = index;
    this._id = place.id;
    this._pace = pace;
    this._begin = begin;
    this._connectAt = connectAt;
    this._cuts = cuts;
    this._ledger = new Ledger(run);
    this._api = new Api(settings.urls, index);
    this._flying = 0;
    this._members = place.users.map((user, number) => new Member({
      settings, dialect: this._dialect, place: this._id, user, name: `${index}/${number}`, stream: `${index}.${number}`, first: index + number,
    }));
  }

  /** Plays it from the first connection to the last. */
  async play() {
    const opened = await Promise.all(this._members.map((member, number) => this._open(member, number)));
    this._members = this._members.filter((_, number) => opened[number]);
    if (!this._members.length) return;
    await sleep(this._begin - Date.now());
    const cuts = this._cuts.map((cut, number) => this._cut(cut, number));
    await this._talk();
    await Promise.all(cuts);
    await this._account();
  }

  async _open(member, number) {
    await sleep(this._connectAt(this._index * this._settings.members + number) - Date.now());
    // From its entrance on, but nothing is sent before everybody is there.
    member.onheard = (at, message) => this._heard(member, at, message);
    member.onmissed = (now) => this._ledger.excuse(member.name, now);
    const opened = await member.open();
    if (opened) {
      this._ledger.join(member.name, Date.now());
      this._ledger.open(member.stream);
    }
    return opened;
  }

  async _cut({ at, share, spread }, number) {
    await sleep(this._begin + at * 1000 - Date.now());
    const count = Math.round(this._members.length * share);
    for (let turn = 0; turn < count; turn += 1) {
      this._members[(turn + number) % this._members.length].cut(Math.random() * spread);
    }
  }

  async _talk() {
    for (let number = 0; ; number += 1) {
      const due = this._begin + this._pace.due(number) * 1000;
      if (due === Infinity) break;
      const wait = due - Date.now();
      if (wait > 0) await sleep(wait);
      // Behind its time it must hear, too.
      else if (number % 20 === 19) await sleep(0);
      const member = this._speaker(number);
      if (member && this._ledger.outstanding() < this._settings.maxInFlight) this._say(member, due);
      else metrics.skipped.add(1, { ...this._tags(due), why: member ? 'full' : 'nobody' });
    }
    // The end of the last stage, though nothing more is due.
    const guests = this._settings.visitRate + this._settings.postRate > 0 ? LAST_GUESTS : 0;
    await sleep(this._begin + this._pace.seconds * 1000 + guests - Date.now());
  }

  _speaker(number) {
    for (let turn = 0; turn < this._members.length; turn += 1) {
      const member = this._members[(number + turn) % this._members.length];
      if (member.present) return member;
    }
    return undefined;
  }

  _tags(at) {
    const phase = this._pace.phase((at - this._begin) / 1000);
    return phase === undefined ? undefined : { phase };
  }

  async _say(member, due) {
    const { stream } = member;
    const n = this._ledger.next(stream);
    const at = Date.now();
    const tags = this._tags(at);
    const content = stamp({ run: this._run, stream, n, at }, this._settings.contentBytes);
    const timed = metrics.oneOf(this._settings.timed.messages);
    if (timed) metrics.lateMs.add(Math.max(0, at - due), tags);
    this._flying += 1;
    const { word } = await send({
      attempt: () => member.send(content, `${this._run}-${stream}-${n}`),
      again: () => {
        this._ledger.retried(stream, n);
        return member.back();
      },
      over: () => this._over,
      begun: at, retries: this._settings.retries, tags, timed,
    });
    this._ledger[word](stream, n);
    this._flying -= 1;
  }

  _heard(member, at, message) {
    const { room, content, seq } = this._dialect.read(message);
    if (room !== this._id) return;
    const written = read(content);
    if (!this._ledger.received(member.name, written, seq)) return;
    const tags = this._tags(written.at);
    metrics.delivered.add(1, tags);
    if (metrics.oneOf(this._settings.timed.deliveries)) metrics.deliveryMs.add(Math.max(0, at - written.at), tags);
  }

  async _account() {
    const carriers = this._settings.transports;
    const carrier = carriers[carriers.length - 1];
    const there = (member) => member.present && member.transport === carrier;
    await until(() => this._flying === 0 && this._ledger.quiet() && this._members.every(there), this._settings.settle * 1000);
    const { messages, complete } = await this._stored();
    // What is stored by now is to come as well: another room's VU, or a request, may have been late with it.
    if (messages) await until(() => this._ledger.caughtUp(messages), Math.max(CATCH_UP, this._settings.settle * 1000));
    this._over = true;
    for (const member of this._members) {
      metrics.expected.add(there(member), { what: 'transport' });
      if (!there(member)) console.error(`${member.name} should be connected by ${carrier}, and is by ${member.transport}`);
      member.close();
    }
    await until(() => this._flying === 0, LOOK_AGAIN * 20);
    this._ledger.close(messages, complete);
    this._tell();
  }

  /** The newest messages in PostgreSQL. In `rooms` a room's history has no page of its own. */
  async _stored() {
    if (this._settings.dialect !== 'conversations') return {};
    const { token } = this._members[0].user;
    const messages = [];
    let before = '';
    for (let page = 0; page < PAGES; page += 1) {
      const path = `/chats/conversations/${this._id}/messages?limit=100${before && `&before=${encodeURIComponent(before)}`}`;
      const answer = await this._api.later('GET', path, { name: 'GET history', token });
      const body = json(answer);
      if (answer.status !== 200 || !body) throw new Error(`the history of a room could not be read: ${answer.status} ${answer.body}`);
      messages.push(...body.messages.map(({ content }) => read(content)));
      if (!body.hasMore) return { messages, complete: true };
      before = body.nextCursor;
    }
    return { messages, complete: false };
  }

  _tell() {
    const { lost, duplicated, outOfOrder, phantom, excused } = this._ledger.found;
    metrics.lost.add(lost);
    metrics.duplicated.add(duplicated);
    metrics.outOfOrder.add(outOfOrder);
    metrics.phantom.add(phantom);
    metrics.excused.add(excused);
    for (const note of this._ledger.notes) console.error(`room ${this._index}: ${note}`);
    metrics.finished.add(1, { flow: 'room' });
  }
}
