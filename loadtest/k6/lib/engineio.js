// One Engine.IO v4 session: handshake, heartbeat, both transports, and the upgrade from one to the other.
// Knows no Socket.IO: its messages are text. Binary messages are not spoken: Confab's dialects have none.

import http from 'k6/http';
import { WebSocket } from 'k6/websockets';
import { SEPARATOR } from './packet.js';
import { after, cancel } from './timers.js';

const [OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP] = '0123456';

const CONNECTING = 0;
const OPENED = 1;

/** How long a handshake may take, in ms: as long as socket.io-client lets it. */
const OPEN_LIMIT = 20000;
/** A waiting GET is answered when the server pings; this is far longer. */
const POLL_LIMIT = '120s';

/** Where a session's requests go. A session stays with one address, or, roaming, each request goes to the next one. */
export class Route {
  constructor(urls, first, roam) {
    this._urls = urls;
    this._at = first % urls.length;
    this._roam = roam;
  }

  /** Another address for whatever comes next. */
  advance() {
    this._at = (this._at + 1) % this._urls.length;
  }

  url(transport, sid) {
    if (sid && this._roam) this.advance();
    const base = transport === 'websocket' ? this._urls[this._at].replace(/^http/, 'ws') : this._urls[this._at];
    return `${base}/socket.io/?EIO=4&transport=${transport}${sid ? `&sid=${sid}` : ''}`;
  }
}

/**
 * A session. It says what happens through `onopen()`, `onmessage(text, at)` and, once and last, `onclose(reason, detail)`; reasons are
 * those of socket.io-client: transport close, transport error, ping timeout, parse error, forced close. Times are when the bytes
 * came, not when the script got round to them.
 */
export class Engine {
  constructor(route, transports) {
    this._route = route;
    this._transports = transports;
    this._closed = false;
    this._waiting = [];
    this._limit = after(OPEN_LIMIT, () => this._end('transport error', 'the handshake took too long'));
    /** How many pings of the server were answered. */
    this.pings = 0;
    if (transports[0] === 'websocket') this._webSocket();
    else this._handshake();
  }

  /** What carries messages now. */
  get transport() {
    return this._ws ? 'websocket' : 'polling';
  }

  /** Sends one message; what is sent during an upgrade goes out after it. */
  send(text) {
    this._packet(MESSAGE + text);
  }

  /** Ends the session, as a client does that does not want to come back; `words` are its last messages. */
  close(words = []) {
    this._leave(words.map((text) => MESSAGE + text));
    this._end('forced close');
  }

  /** Breaks the connection as a lost network does: nothing is said on the layers above. */
  cut() {
    this._leave([]);
    this._end('transport close', 'cut');
  }

  /** Ends with a reason of this or the upper layer's. */
  fail(detail) {
    this._leave([]);
    this._end('parse error', detail);
  }

  _leave(packets) {
    if (this._closed) return;
    if (this._ws) {
      if (this._ws.readyState === OPENED) for (const packet of packets) this._ws.send(packet);
    } else if (this._sid) {
      // The server answers the waiting GET then, which could not be taken back from here.
      this._post([...packets, CLOSE].join(SEPARATOR));
    }
  }

  _packet(packet) {
    if (this._closed) return;
    if (this._ws && this._ws.readyState === OPENED) this._ws.send(packet);
    else this._buffer(packet);
  }

  _opened(json) {
    const { sid, upgrades, pingInterval, pingTimeout, maxPayload } = JSON.parse(json);
    cancel(this._limit);
    this._sid = sid;
    this._patience = pingInterval + pingTimeout;
    this._maxPayload = maxPayload;
    this._beat();
    this.onopen();
    if (!this._ws && this._transports.includes('websocket') && upgrades.includes('websocket')) this._upgrade();
  }

  _beat() {
    cancel(this._death);
    this._death = after(this._patience, () => this._end('ping timeout'));
  }

  _receive(packet, at) {
    if (this._closed) return;
    const rest = packet.slice(1);
    switch (packet[0]) {
      case OPEN: return this._opened(rest);
      case CLOSE: return this._end('transport close', 'the server closed the session');
      case PING:
        this.pings += 1;
        this._beat();
        return this._packet(PONG + rest);
      case MESSAGE: return this.onmessage(rest, at);
      case NOOP: return undefined;
      default: return this._end('parse error', `a packet that nobody expects: ${packet.slice(0, 20)}`);
    }
  }

  _end(reason, detail) {
    if (this._closed) return;
    this._closed = true;
    cancel(this._limit);
    cancel(this._death);
    for (const ws of [this._ws, this._probe]) abandon(ws);
    this.onclose(reason, detail);
  }

  // --- WebSocket

  _webSocket() {
    const ws = new WebSocket(this._route.url('websocket'), null, { tags: { name: 'socket.io websocket' } });
    this._ws = ws;
    this._listen(ws);
  }

  _listen(ws) {
    let failure = '';
    ws.onmessage = ({ data, timestamp }) => {
      if (typeof data === 'string') this._receive(data, timestamp);
      else this._end('parse error', 'a binary message');
    };
    ws.onerror = ({ error }) => { failure = error; };
    ws.onclose = ({ code }) => this._end(failure ? 'transport error' : 'transport close', failure || `code ${code}`);
  }

  // --- Polling

  async _handshake() {
    const answer = await this._request('GET', this._route.url('polling'));
    if (this._closed || !this._ok(answer, 'handshake')) return;
    this._take(answer);
    this._poll();
  }

  async _poll() {
    while (!this._closed && !this._ws && !this._moving) {
      this._polling = this._request('GET', this._route.url('polling', this._sid));
      const answer = await this._polling;
      this._polling = undefined;
      // What a poll brings while it is moved to a WebSocket counts like any other.
      if (this._closed || !this._ok(answer, 'poll')) return;
      this._take(answer);
    }
    this._moved();
  }

  _take({ body, at }) {
    for (const packet of body.split(SEPARATOR)) this._receive(packet, at);
  }

  _buffer(packet) {
    this._waiting.push(packet);
    this._flush();
  }

  async _flush() {
    if (this._posting || this._moving || !this._waiting.length || !this._sid || this._ws) return;
    // As much as one request may carry.
    let body = this._waiting.shift();
    while (this._waiting.length && body.length + this._waiting[0].length < this._maxPayload / 4) body += SEPARATOR + this._waiting.shift();
    this._posting = true;
    const answer = await this._post(body);
    this._posting = false;
    if (this._closed || !this._ok(answer, 'post')) return;
    if (this._moving) this._moved();
    else this._flush();
  }

  _post(body) {
    return this._request('POST', this._route.url('polling', this._sid), body);
  }

  async _request(method, url, body = null) {
    const begun = Date.now();
    try {
      const answer = await http.asyncRequest(method, url, body, {
        headers: body === null ? {} : { 'Content-Type': 'text/plain;charset=UTF-8' },
        tags: { name: `socket.io ${method === 'GET' ? 'poll' : 'post'}` },
        timeout: POLL_LIMIT,
        // A session that is over answers 400, which is no failure of the server.
        responseCallback: null,
      });
      return { status: answer.status, body: answer.body, error: answer.error, at: arrival(begun, answer.timings) };
    } catch (error) {
      return { status: 0, body: '', error: `${error}` };
    }
  }

  _ok(answer, what) {
    if (answer.status === 200) return true;
    this._end('transport error', `${what}: ${answer.status} ${answer.error || answer.body}`);
    return false;
  }

  // --- From polling to a WebSocket

  _upgrade() {
    const ws = new WebSocket(this._route.url('websocket', this._sid), null, { tags: { name: 'socket.io upgrade' } });
    this._probe = ws;
    ws.onopen = () => ws.send(`${PING}probe`);
    ws.onmessage = ({ data }) => {
      if (data !== `${PONG}probe` || this._closed) return abandon(ws);
      // Nothing may be under way on the old transport: the server releases the waiting GET.
      this._moving = true;
      return this._moved();
    };
    // Then the session stays with polling.
    ws.onclose = () => { this._probe = undefined; };
  }

  _moved() {
    if (!this._moving || this._polling || this._posting || this._closed || this._ws) return;
    const ws = this._probe;
    if (!ws || ws.readyState !== OPENED) {
      this._moving = false;
      this._poll();
      this._flush();
      return;
    }
    this._probe = undefined;
    this._ws = ws;
    this._listen(ws);
    ws.send(UPGRADE);
    for (const packet of this._waiting.splice(0)) ws.send(packet);
    this._moving = false;
  }
}

/** When an answer was there: the script may get round to it later. */
function arrival(begun, { blocked, connecting, tls_handshaking: handshaking, duration }) {
  return Math.min(Date.now(), Math.ceil(begun + blocked + connecting + handshaking + duration));
}

/** Takes no notice of a WebSocket any more. One that is being made cannot be closed before it is. */
function abandon(ws) {
  if (!ws) return;
  ws.onmessage = null;
  ws.onerror = null;
  ws.onclose = null;
  if (ws.readyState === CONNECTING) ws.onopen = () => ws.close();
  else if (ws.readyState === OPENED) ws.close();
}
