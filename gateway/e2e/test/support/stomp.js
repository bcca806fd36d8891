// The real STOMP client, over each of its transports, with an inbox for every subscription: nothing that arrives is lost between two
// awaits, and every MESSAGE is looked at as it comes.

import assert from 'node:assert/strict';
import { Client, Versions } from '@stomp/stompjs';
import SockJS from 'sockjs-client';
import WebSocket from 'ws';
import { until } from './away.js';
import { entryUrl, gatewayUrl, PATIENCE_MS } from './cluster.js';
import { keys } from './shapes.js';
import { soon } from './wire.js';

/** How a client may reach `/ws`: by a WebSocket of its own, or by one of SockJS' transports. */
export const WAYS = ['native', 'websocket', 'xhr-streaming', 'eventsource', 'xhr-polling'];

/** What is given to `webSocketFactory` to open a connection to `url` in this way. */
export function socketFactory(way, url, { protocols = Versions.default.protocolVersions(), headers } = {}) {
  if (way === 'native') return () => new WebSocket(`${url.replace(/^http/, 'ws')}/ws`, protocols, { headers });
  // Without `timeout` it gives a transport less than a second, and takes the next one.
  return () => new SockJS(`${url}/ws`, null, { transports: [way], timeout: PATIENCE_MS });
}

/** What came by one subscription, in order. */
class Listener {
  entries = [];
  faults = [];
  id;
  #waiters = new Set();
  #ids = new Set();

  constructor(destination) {
    this.destination = destination;
  }

  take(frame) {
    const entry = { frame, body: undefined, taken: false };
    try {
      entry.body = JSON.parse(frame.body);
      this.#check(frame);
    } catch (error) {
      this.faults.push(new Error(`${error.message}\nin ${frame}`, { cause: error }));
    }
    this.entries.push(entry);
    for (const waiter of this.#waiters) waiter(entry);
  }

  #check({ headers, body }) {
    // `ack` where the client is to acknowledge, `receipt-id` where a refusal answers what asked for one.
    keys(headers, ['subscription', 'message-id', 'destination', 'content-type', 'content-length'], ['ack', 'receipt-id'], '(headers of a MESSAGE)');
    assert.equal(headers.subscription, this.id);
    assert.equal(headers.destination, this.destination, 'what was subscribed to');
    assert.match(headers['content-type'], /^application\/json(;charset=utf-8)?$/i);
    assert.equal(Number(headers['content-length']), Buffer.byteLength(body));
    assert.ok(headers['message-id'], 'an id that is not empty');
    assert.ok(!this.#ids.has(headers['message-id']), `message-id ${headers['message-id']} came before`);
    this.#ids.add(headers['message-id']);
  }

  /** Fails if anything that came was not as every MESSAGE is to be. */
  sound() {
    if (this.faults.length > 0) throw this.faults[0];
  }

  /** The first body not yet taken for which `matches` holds: one that is already here, or the next one to come. */
  async next(matches = () => true, ms = PATIENCE_MS) {
    this.sound();
    const here = this.entries.find(({ taken, body }) => !taken && matches(body));
    if (here) {
      here.taken = true;
      return here.body;
    }
    let waiter;
    const coming = new Promise((resolve) => {
      waiter = (entry) => {
        if (entry.taken || !matches(entry.body)) return;
        entry.taken = true;
        this.#waiters.delete(waiter);
        resolve(entry.body);
      };
      this.#waiters.add(waiter);
    });
    try {
      const body = await soon(coming, `a MESSAGE on ${this.destination}`, ms);
      this.sound();
      return body;
    } catch (error) {
      this.#waiters.delete(waiter);
      this.sound();
      const tail = this.entries.slice(-8).map(({ body }) => JSON.stringify(body));
      throw new Error(`${error.message}; last received:\n  ${tail.join('\n  ') || 'nothing'}`, { cause: error });
    }
  }

  /** All bodies received so far for which `matches` holds, taken or not, in order. */
  heard(matches = () => true) {
    this.sound();
    return this.entries.map(({ body }) => body).filter(matches);
  }
}

/** One client: it connects once, or, if `reconnectDelay` is set, again and again. */
class Session {
  connects = 0;
  closes = [];
  errors = [];
  receipts = new Set();
  /** Headers of the last CONNECTED, and when everything is subscribed to again that is to last. */
  welcome;
  listening;
  #asked = new Map();
  #count = 0;
  #lasting = [];

  constructor(t, { user, token = user?.token, way = 'native', gateway = 0, direct = false, url, headers = {}, versions, upgrade, ...options }) {
    this.user = user;
    this.way = way;
    const base = url ?? (direct ? gatewayUrl(gateway) : entryUrl(gateway));
    const stompVersions = versions ? new Versions(versions) : Versions.default;
    this.client = new Client({
      stompVersions,
      webSocketFactory: () => socketFactory(way, this.url, { protocols: stompVersions.protocolVersions(), headers: upgrade })(),
      connectHeaders: { ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }), ...headers },
      reconnectDelay: 0,
      ...options,
      onConnect: (frame) => this.#connected(frame),
      onStompError: (frame) => {
        this.errors.push(frame);
        this.#giveUp(`ERROR ${frame.headers.message}: ${frame.body}`);
      },
      onWebSocketClose: (event) => {
        this.closes.push(event);
        this.#giveUp(`closed with ${event.code} ${event.reason}`);
      },
    });
    /** Where it goes; a test may send it elsewhere the next time. */
    this.url = base;
    t.after(() => this.client.deactivate({ force: true }));
  }

  #connected(frame) {
    this.connects += 1;
    this.welcome = frame.headers;
    const again = (listener) => this.asks(`SUBSCRIBE ${listener.destination}, again`, (receipt) => this.#subscribe(listener, { receipt }));
    this.listening = Promise.all(this.#lasting.map(again));
    this.listening.catch(() => {}); // the connection is over once more: the next one asks again
  }

  #giveUp(why) {
    for (const { reject } of this.#asked.values()) reject(new Error(why));
    this.#asked.clear();
  }

  /** Connects, and waits for CONNECTED. */
  async open() {
    const before = this.connects;
    this.client.activate();
    await until(() => this.connects > before || this.errors.length > 0 || this.closes.length > 0, `CONNECTED over ${this.way}`);
    if (this.connects === before) {
      throw new Error(`not connected over ${this.way}: ${this.errors[0] ?? `${this.closes[0].code} ${this.closes[0].reason}`}`);
    }
    return this;
  }

  /** Does something with a receipt's id; resolves with its RECEIPT, and fails with an ERROR or the end of the connection. */
  asks(what, act) {
    this.#count += 1;
    const receipt = `receipt-${this.#count}`;
    const answer = new Promise((resolve, reject) => {
      this.#asked.set(receipt, { reject });
      this.client.watchForReceipt(receipt, (frame) => {
        this.receipts.add(receipt);
        this.#asked.delete(receipt);
        resolve(frame);
      });
    });
    act(receipt);
    const inTime = soon(answer, `the RECEIPT for ${what}`);
    inTime.catch(() => {}); // who does not wait for it does not care
    return inTime;
  }

  #subscribe(listener, headers) {
    listener.id = this.client.subscribe(listener.destination, (frame) => listener.take(frame), headers).id;
  }

  /** Subscribes, and waits until it listens. */
  async listen(destination, headers = {}) {
    const listener = new Listener(destination);
    await this.asks(`SUBSCRIBE ${destination}`, (receipt) => this.#subscribe(listener, { receipt, ...headers }));
    return listener;
  }

  /** Subscribes now and whenever it has connected again, as applications do. */
  async follow(destination) {
    const listener = await this.listen(destination);
    this.#lasting.push(listener);
    return listener;
  }

  unlisten({ destination, id }) {
    return this.asks(`UNSUBSCRIBE ${destination}`, (receipt) => this.client.unsubscribe(id, { receipt }));
  }

  /** Sends, and waits for the RECEIPT. */
  send(destination, body, headers = {}) {
    return this.asks(`SEND ${destination}`, (receipt) => this.tell(destination, body, { receipt, ...headers }));
  }

  /** Sends. What is a string already goes out as it is. */
  tell(destination, body, headers = {}) {
    this.client.publish({ destination, headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
  }

  /** Waits for an ERROR and the end of the connection after it; the ERROR. */
  async failed() {
    await until(() => this.errors.length > 0 && this.closes.length > 0, `an ERROR and the end over ${this.way}`);
    return this.errors[0];
  }

  /** Waits for the end of the connection. */
  async over(count = 1, ms = PATIENCE_MS) {
    await until(() => this.closes.length >= count, `the end of a session over ${this.way}`, ms);
    return this.closes[count - 1];
  }

  /** Says DISCONNECT, waits for its RECEIPT, and closes. */
  leave() {
    return soon(this.client.deactivate(), `the goodbye over ${this.way}`);
  }

  /** Goes without a word. */
  vanish() {
    return soon(this.client.deactivate({ force: true }), `the end over ${this.way}`);
  }
}

/** A session that has not been opened yet. It goes through the load balancer if there is one; `direct` insists on `gateway`, `url` on any other place. */
export function dial(t, options = {}) {
  return new Session(t, options);
}

/** An open session of `user`, or of nobody in particular. */
export function session(t, user, options = {}) {
  return dial(t, { user, ...options }).open();
}

/** Sends something that is refused; what `errors`, a listener of the errors queue, is told. Nothing is confirmed. */
export async function refuses(speaker, errors, codes, destination, body) {
  const allowed = [codes].flat();
  const where = `${destination} ${typeof body === 'string' ? body : JSON.stringify(body)}`;
  const known = errors.entries.length;
  let confirmed = false;
  speaker.send(destination, body).then(() => { confirmed = true; }, () => {});
  await until(() => errors.entries.length > known, `the refusal of ${where}`);
  const told = await errors.next();
  refusal(told, where);
  assert.ok(allowed.includes(told.code), `${where}: ${allowed.join(' or ')} expected, got ${JSON.stringify(told)}`);
  assert.equal(confirmed, false, `${where} is refused and confirmed`);
  return told;
}

/** The body of a refusal. */
export function refusal(value, where = '') {
  keys(value, ['code', 'message'], ['retryAfterMs', 'destination'], where);
  assert.match(value.code, /^[A-Z_]+$/, where);
  assert.equal(typeof value.message, 'string', where);
  assert.notEqual(value.message, '', where);
}

export const saying = (content) => (body) => body.content === content;
export const about = (type, sender) => (body) => body.type === type && (sender === undefined || body.sender === sender);
