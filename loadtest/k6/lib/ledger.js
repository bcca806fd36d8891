// Who sent what to one room, and who has received it: finds what was lost, repeated, out of order or never sent. Pure.
//
// Of messages that this VU sent (its own streams) everything is known: each confirmed one must come to each member, once. Of
// streams of other VUs only what is in the stamps is known: `after` says what had been confirmed before, and must have come.
// Both are compared with what is stored at the end (`reconcile`). What it remembers is bounded: a message is forgotten when everybody has it.

/** How many numbers of a stream are remembered that were not confirmed, and how many of other VUs' messages. */
const REMEMBERED = 5000;

/** A set that forgets the oldest of too many. */
class Recent {
  constructor() {
    this._set = new Set();
    /** Whether something was forgotten. */
    this.full = false;
  }

  add(value) {
    this._set.add(value);
    if (this._set.size <= REMEMBERED) return;
    this._set.delete(this._set.values().next().value);
    this.full = true;
  }

  has(value) {
    return this._set.has(value);
  }
}

export class Ledger {
  constructor(run) {
    this._run = run;
    this._own = new Map();
    this._members = new Map();
    /** What was found; each a number of messages at one member, or in the store. */
    this.found = { lost: 0, duplicated: 0, outOfOrder: 0, phantom: 0, excused: 0 };
    /** The first few findings, in words. */
    this.notes = [];
  }

  _find(kind, note) {
    this.found[kind] += 1;
    if (this.notes.length < 10) this.notes.push(`${kind}: ${note}`);
  }

  /** A member that has entered the room: from now on it must receive everything. */
  join(member, now) {
    this._members.set(member, { seq: 0, foreign: new Map(), since: now });
  }

  /** Somebody who sends from here. */
  open(stream) {
    this._own.set(stream, { last: 0, high: new Map(), flying: new Map(), unconfirmed: new Recent(), sure: new Recent(), idle: 0 });
  }

  /** The next number of a stream. */
  next(stream) {
    const own = this._own.get(stream);
    own.last += 1;
    own.flying.set(own.last, { state: 'sent', missing: new Set(this._members.keys()), retried: false, came: false });
    return own.last;
  }

  /** It is sent again, so it may come after later ones. */
  retried(stream, n) {
    const message = this._own.get(stream).flying.get(n);
    if (message) message.retried = true;
  }

  /** The server said that it is stored. */
  confirmed(stream, n) {
    this._become(this._own.get(stream), n, 'confirmed');
  }

  /** The server said that it is not stored, and surely so. */
  refused(stream, n) {
    const own = this._own.get(stream);
    own.unconfirmed.add(n);
    own.sure.add(n);
    const message = own.flying.get(n);
    own.flying.delete(n);
    if (message && message.came) this._find('phantom', `${stream} ${n} was refused, and came`);
  }

  /** Nobody can say whether it is stored. */
  unknown(stream, n) {
    const own = this._own.get(stream);
    own.unconfirmed.add(n);
    const message = own.flying.get(n);
    if (!message) return;
    // It waits for nothing: perhaps it never comes. So many of them are not kept.
    if (!message.came && own.unconfirmed.full) own.flying.delete(n);
    else if (!message.came) own.idle += 1;
    this._become(own, n, 'unknown');
  }

  _become(own, n, state) {
    const message = own.flying.get(n);
    if (!message) return;
    message.state = state;
    this._forget(own, n, message);
  }

  _forget(own, n, message) {
    if (message.state === 'sent' || message.missing.size > 0) return;
    if (!this._due(message)) own.idle -= 1;
    own.flying.delete(n);
  }

  /** A message came to a member; its `seq` is given where the dialect has one. Says whether it is the first time. */
  received(member, stamp, seq) {
    const place = this._members.get(member);
    if (!place || stamp === null || stamp.run !== this._run) return false;
    const own = this._own.get(stamp.stream);
    const came = own ? this._receivedOwn(member, place, own, stamp) : this._receivedForeign(member, place, stamp);
    if (came === 'again') return false;
    if (came === 'late') this._find('outOfOrder', `${stamp.stream} ${stamp.n} came to ${member} after a later one`);
    else if (seq <= place.seq) this._find('outOfOrder', `${stamp.stream} ${stamp.n} with seq ${seq} came to ${member} after ${place.seq}`);
    if (seq > place.seq) place.seq = seq;
    return true;
  }

  _receivedOwn(member, place, own, { stream, n, at }) {
    const message = own.flying.get(n);
    if (message && message.missing.delete(member)) {
      const high = own.high.get(member) || 0;
      own.high.set(member, Math.max(n, high));
      if (message.state === 'unknown' && !message.came) own.idle -= 1;
      message.came = true;
      this._forget(own, n, message);
      return n < high && !message.retried ? 'late' : 'first';
    }
    // Sent before this member had entered again, and excused.
    if (at < place.since) return 'first';
    // Nothing was kept of it.
    if (!message && own.unconfirmed.full && own.unconfirmed.has(n) && !own.sure.has(n)) return 'first';
    if (own.sure.has(n)) this._find('phantom', `${stream} ${n} was refused, and came to ${member}`);
    else if (n > own.last) this._find('phantom', `${stream} ${n} was never sent, and came to ${member}`);
    else this._find('duplicated', `${stream} ${n} came to ${member} again`);
    return 'again';
  }

  _receivedForeign(member, place, { stream, n, after, afterAt }) {
    const seen = place.foreign.get(stream) || { high: 0, numbers: new Recent(), owed: new Set() };
    place.foreign.set(stream, seen);
    if (seen.numbers.has(n)) {
      this._find('duplicated', `${stream} ${n} came to ${member} again`);
      return 'again';
    }
    // Nobody need have what was sent before it entered.
    if (after > 0 && afterAt > place.since && !seen.numbers.has(after) && !(seen.numbers.full && after < seen.high - REMEMBERED)) {
      seen.owed.add(after);
    }
    // Only what was confirmed before a later one was sent must come before it.
    const late = seen.owed.delete(n);
    seen.high = Math.max(seen.high, n);
    seen.numbers.add(n);
    return late ? 'late' : 'first';
  }

  /** A member came back and was told that it was not recovered: what it missed is not held against anybody. */
  excuse(member, now) {
    for (const own of this._own.values()) {
      for (const [n, message] of own.flying) {
        if (message.missing.delete(member)) this.found.excused += 1;
        this._forget(own, n, message);
      }
    }
    this._members.get(member).since = now;
  }

  /** Whether everything that was sent has been answered, and what was confirmed has come to everybody. */
  quiet() {
    return this.outstanding() === 0;
  }

  /** It is stored, so everybody must have it: somebody was told so, or has received it. */
  _due(message) {
    return message.state === 'confirmed' || message.came;
  }

  /** How many of this VU's messages are not yet answered, or not yet where they must go. */
  outstanding() {
    let count = 0;
    for (const own of this._own.values()) count += own.flying.size - own.idle;
    return count;
  }

  /** Whether everybody has those of the stored messages that other VUs sent. */
  caughtUp(stored) {
    return [...this._members.values()].every((place) => this._missing(place, stored).length === 0);
  }

  _missing(place, stored) {
    const has = ({ stream, n }) => {
      const seen = place.foreign.get(stream);
      return seen !== undefined && seen.numbers.has(n);
    };
    return stored.filter((stamp) => stamp && stamp.run === this._run && !this._own.has(stamp.stream) && stamp.at > place.since && !has(stamp));
  }

  /**
   * The end: what has not come by now is lost. `stored` are the newest messages in the store, newest first, as stamps;
   * `complete` says whether these are all there are, and undefined stands for a store that cannot be asked.
   */
  close(stored, complete) {
    for (const [stream, own] of this._own) {
      for (const [n, message] of own.flying) {
        if (message.state === 'sent') own.unconfirmed.add(n);
        if (!this._due(message)) continue;
        for (const member of message.missing) this._find('lost', `${stream} ${n} never came to ${member}`);
      }
    }
    for (const [member, place] of this._members) {
      for (const [stream, { owed }] of place.foreign) {
        for (const n of owed) this._find('lost', `${stream} ${n} was confirmed and never came to ${member}`);
      }
    }
    if (stored !== undefined) this._reconcile(stored, complete);
  }

  _reconcile(stored, complete) {
    const numbers = new Map();
    for (const stamp of stored) {
      if (!stamp || stamp.run !== this._run) continue;
      const seen = numbers.get(stamp.stream) || new Set();
      numbers.set(stamp.stream, seen);
      if (seen.has(stamp.n)) this._find('duplicated', `${stamp.stream} ${stamp.n} is stored twice`);
      seen.add(stamp.n);
    }
    for (const [stream, own] of this._own) {
      const seen = numbers.get(stream) || new Set();
      const oldest = complete ? 1 : Math.min(...seen);
      for (let n = own.last; n >= oldest; n -= 1) {
        if (seen.has(n) && own.sure.has(n)) this._find('phantom', `${stream} ${n} was refused, and is stored`);
        if (!seen.has(n) && !own.unconfirmed.has(n) && !own.unconfirmed.full) this._find('lost', `${stream} ${n} was confirmed and is not stored`);
      }
    }
    for (const [member, place] of this._members) {
      const owed = ({ stream, n }) => place.foreign.has(stream) && place.foreign.get(stream).owed.has(n);
      for (const stamp of this._missing(place, stored).filter((other) => !owed(other))) this._find('lost', `${stamp.stream} ${stamp.n} is stored and never came to ${member}`);
    }
  }
}
