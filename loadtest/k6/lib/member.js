// A member of a room: a client that enters it, stays, comes back when its connection is lost, and tells the room what it hears.

import { Client, SENT_AWAY } from './socketio.js';
import { verdict } from './dialect.js';
import * as metrics from './metrics.js';
import { after, cancel } from './timers.js';

/** How long a member may take to be in the room, from its first attempt, in ms. */
const ENTER_LIMIT = 30000;

export class Member {
  /** `dialect` is one of DIALECTS; `place` is the room's id; `first` is the address to begin with; `client` carries it. */
  constructor({ settings, dialect, place, user, name, stream, first, client = connection(settings, first) }) {
    this._settings = settings;
    this._dialect = dialect;
    this._place = place;
    this.user = user;
    this.name = name;
    /** The stream of what it sends here. */
    this.stream = stream;
    this._client = client;
    this._socket = this._client.socket(dialect.namespace, dialect.auth(user.token));
    this._waiting = [];
    /** Whether it has been in the room. */
    this.entered = false;
    /** Whether its session is in the room, connected or not. */
    this._inside = false;
    /** Called with the time and the message when one comes. */
    this.onheard = () => {};
    /** Called when it has entered again without being recovered. */
    this.onmissed = () => {};
  }

  /** Connects and enters; says whether that succeeded in time. */
  open() {
    this._askedAt = Date.now();
    this._socket.onconnect = ({ recovered, again }) => this._connected(recovered, again);
    this._socket.onrefused = ({ message }) => this._giveUp(`refused: ${message}`);
    this._socket.ondisconnect = (reason, detail) => this._lost(reason, detail);
    this._socket.on(this._dialect.heard, (at, message) => this.onheard(at, message));
    this._client.onclose = (reason, detail) => this._ended(reason, detail);
    const opened = new Promise((resolve) => { this._resolve = resolve; });
    this._limit = after(ENTER_LIMIT, () => this._opened(false, 'it took too long'));
    this._client.open();
    return opened;
  }

  _opened(success, why) {
    if (!this._resolve) return;
    cancel(this._limit);
    metrics.connected.add(success);
    if (success) {
      this.entered = true;
      metrics.connectMs.add(Date.now() - this._askedAt);
    } else {
      console.error(`${this.name} could not enter: ${why}`);
      this.close();
    }
    const resolve = this._resolve;
    this._resolve = undefined;
    resolve(success);
  }

  /** Whoever cannot get in, or back, and will not try again. */
  _giveUp(why) {
    if (this._resolve) this._opened(false, why);
    if (this._left) return;
    metrics.connected.add(false);
    console.error(`${this.name} could not come back: ${why}`);
    this.close();
  }

  async _connected(recovered, again) {
    const back = again && this.entered;
    if (back) {
      metrics.reconnects.add(1);
      metrics.recovered.add(recovered);
      if (!recovered) metrics.notRecovered.add(1);
    }
    if (!recovered) this._inside = false;
    if (!this._inside) {
      const answer = verdict(await this._socket.request(...this._asked(this._dialect.enter(this._place))));
      // Without a connection it begins anew when there is one.
      if (answer.code === 'disconnected' || this._left) return;
      if (answer.verdict !== 'confirmed') {
        this._giveUp(answer.code);
        return;
      }
      this._inside = true;
      if (this.entered) this.onmissed(Date.now());
      else this._opened(true);
    }
    if (back) metrics.reconnectMs.add(Date.now() - this._lostAt);
    this._lostAt = undefined;
    for (const resolve of this._waiting.splice(0)) resolve();
  }

  _asked([name, payload]) {
    return [name, [payload], this._settings.ackTimeoutMs];
  }

  /** It was connected, and is no more. */
  _lost(reason, detail) {
    if (this._left) return;
    // Who is lost again on the way back has been away since the first time.
    if (this._lostAt === undefined) this._lostAt = Date.now();
    metrics.disconnects.add(1, { reason: detail === 'cut' ? detail : reason });
    if (reason === SENT_AWAY) this._giveUp(reason);
  }

  /** A session has ended, or an attempt at one. */
  _ended(reason, detail) {
    if (!this._left && detail !== 'cut' && this._settings.verbose) console.warn(`${this.name} has no connection: ${reason}: ${detail}`);
  }

  /** What carries its session. */
  get transport() {
    return this._client.transport;
  }

  /** Whether it can send now. */
  get present() {
    return this._inside && this._socket.connected && !this._left;
  }

  /** Resolves when it is connected again, or has left. */
  back() {
    if (this.present || this._left) return Promise.resolve();
    return new Promise((resolve) => this._waiting.push(resolve));
  }

  /** Sends, and resolves to the answer. */
  send(content, tempId) {
    return this._socket.request(...this._asked(this._dialect.send(this._place, content, tempId)));
  }

  /** Loses its connection, and comes back after some ms. */
  cut(delay) {
    if (this.present) this._client.cut(delay);
  }

  /** Leaves for good. */
  close() {
    if (this._left) return;
    this._left = true;
    cancel(this._limit);
    this._client.close();
    metrics.pings.add(this._client.pings);
    for (const resolve of this._waiting.splice(0)) resolve();
  }
}

function connection({ urls, transports, roam, backoff }, first) {
  return new Client({ urls, first, transports, roam, backoff });
}
