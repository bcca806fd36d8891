// A Socket.IO v5 client: namespaces, acknowledgements, reconnection with back-off, and recovery of what was missed meanwhile.
// Knows no chat. Like socket.io-client it comes back by itself, and asks for recovery with the private id and the last offset.

import { Engine, Route } from './engineio.js';
import { ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, decode, encode } from './packet.js';
import { after, cancel } from './timers.js';

/** The reason after which socket.io-client does not come back by itself. */
export const SENT_AWAY = 'io server disconnect';

/** socket.io-client's own, in ms. */
const BACKOFF = { first: 1000, longest: 5000, jitter: 0.5 };

/** How long to wait before the next attempt, in ms; `chance` is from 0 to 1. */
export function pause(attempts, { first, longest, jitter }, chance = Math.random()) {
  return Math.min(longest, first * 2 ** attempts * (1 + jitter * (2 * chance - 1)));
}

/** A client's connection, with a socket for each namespace. */
export class Client {
  /**
   * `urls`: one or several addresses; `first`: which of them to begin with; `transports`: ['websocket'], ['polling'] or both;
   * `roam`: whether each request of a session goes to the next address.
   */
  constructor({ urls, first = 0, transports = ['websocket'], roam = false, backoff = {} }) {
    this._route = new Route(urls, first, roam);
    this._transports = transports;
    this._backoff = { ...BACKOFF, ...backoff };
    this._sockets = new Map();
    this._attempts = 0;
    this._closed = false;
    /** How many pings of all sessions were answered. */
    this.pings = 0;
    /** Called with the reason and a detail when a session has ended, or an attempt at one. */
    this.onclose = () => {};
  }

  /** What carries the session now, or undefined. */
  get transport() {
    return this._engine && this._engine.transport;
  }

  /** The socket of a namespace; `auth` goes with each CONNECT. */
  socket(namespace, auth) {
    const socket = new Socket(this, namespace, auth);
    this._sockets.set(namespace, socket);
    if (this._open) socket._connect();
    return socket;
  }

  /** Connects, and from then on comes back whenever the connection is lost. */
  open() {
    if (this._engine || this._closed) return;
    const engine = new Engine(this._route, this._transports);
    this._engine = engine;
    this._open = false;
    engine.onopen = () => {
      this._open = true;
      this._attempts = 0;
      for (const socket of this._sockets.values()) socket._connect();
    };
    engine.onmessage = (text, at) => this._receive(text, at);
    engine.onclose = (reason, detail) => this._lost(engine, reason, detail);
  }

  /** Leaves for good. */
  close() {
    this._closed = true;
    cancel(this._return);
    if (!this._engine) return;
    const joined = [...this._sockets.values()].filter((socket) => socket.connected);
    this._engine.close(joined.map((socket) => encode(DISCONNECT, socket.namespace)));
  }

  /** Breaks the connection without a word, and comes back after `delay` ms, elsewhere if there is another address. */
  cut(delay) {
    if (!this._engine || this._closed) return;
    this._next = delay;
    this._engine.cut();
  }

  _send(text) {
    if (this._engine && this._open) this._engine.send(text);
  }

  _receive(text, at) {
    let packet;
    try {
      packet = decode(text);
    } catch (error) {
      this._engine.fail(error.message);
      return;
    }
    const socket = this._sockets.get(packet.namespace);
    if (socket) socket._packet(packet, at);
  }

  _lost(engine, reason, detail) {
    this.pings += engine.pings;
    if (this._engine === engine) this._engine = undefined;
    this._open = false;
    for (const socket of this._sockets.values()) socket._lost(reason, detail);
    this.onclose(reason, detail);
    if (this._closed) return;
    const wait = this._next === undefined ? pause(this._attempts, this._backoff) : this._next;
    this._attempts += 1;
    this._route.advance();
    this._return = after(wait, () => this.open());
    this._next = undefined;
  }
}

/** One namespace of a client's. */
export class Socket {
  constructor(client, namespace, auth) {
    this._client = client;
    this._auth = auth;
    this._handlers = new Map();
    this._asked = new Map();
    this._lastId = 0;
    this.namespace = namespace;
    this.connected = false;
    /** Its id while it is connected. */
    this.id = undefined;
    /** Called with `{recovered, again}` whenever the namespace has accepted it: again if it had before. */
    this.onconnect = () => {};
    /** Called with CONNECT_ERROR's data. */
    this.onrefused = () => {};
    /** Called when it was connected and is no more, with a reason of socket.io-client's and a detail. */
    this.ondisconnect = () => {};
  }

  /** Calls `handler(at, argument)` for events of a name: the first argument, as no dialect has more. */
  on(name, handler) {
    this._handlers.set(name, handler);
  }

  /** Sends an event that wants no answer; says whether it was sent. */
  emit(name, ...args) {
    if (!this.connected) return false;
    this._client._send(encode(EVENT, this.namespace, [name, ...args]));
    return true;
  }

  /**
   * Sends an event and waits for its acknowledgement: `{outcome, reply, at}`, where outcome is `answered`, `timeout` (none came in
   * time) or `disconnected` (none can come any more, whatever became of the event).
   */
  request(name, args, timeoutMs) {
    if (!this.connected) return Promise.resolve({ outcome: 'disconnected' });
    return new Promise((resolve) => {
      const id = this._lastId;
      this._lastId += 1;
      const settle = (answer) => {
        this._asked.delete(id);
        cancel(timer);
        resolve(answer);
      };
      const timer = after(timeoutMs, () => settle({ outcome: 'timeout' }));
      this._asked.set(id, settle);
      this._client._send(encode(EVENT, this.namespace, [name, ...args], id));
    });
  }

  _connect() {
    const recovery = this._pid === undefined ? {} : { pid: this._pid, offset: this._offset };
    this._client._send(encode(CONNECT, this.namespace, { ...recovery, ...this._auth }));
  }

  _packet({ type, data, id }, at) {
    switch (type) {
      case CONNECT: {
        const recovered = data.pid !== undefined && data.pid === this._pid;
        const again = this.id !== undefined;
        this._pid = data.pid;
        this.id = data.sid;
        this.connected = true;
        return this.onconnect({ recovered, again });
      }
      case CONNECT_ERROR: return this.onrefused(data);
      case DISCONNECT: return this._lost(SENT_AWAY, 'the server said so');
      case ACK: {
        const settle = this._asked.get(id);
        return settle && settle({ outcome: 'answered', reply: data[0], at });
      }
      default: {
        // Any event that ends in a string ends in an offset.
        const last = data[data.length - 1];
        if (this._pid !== undefined && typeof last === 'string') this._offset = last;
        const handler = this._handlers.get(data[0]);
        // Somebody else's question is none of this client's business: no dialect asks one.
        return handler && handler(at, data[1]);
      }
    }
  }

  _lost(reason, detail) {
    const was = this.connected;
    this.connected = false;
    for (const settle of [...this._asked.values()]) settle({ outcome: 'disconnected' });
    if (was) this.ondisconnect(reason, detail);
  }
}
