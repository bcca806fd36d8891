// Clients that cost next to nothing, for crowds: a WebSocket, a namespace that is joined, heartbeats that are answered. What they
// hear they forget.

import WebSocket from 'ws';
import { entryUrl } from './cluster.js';
import { soon } from './wire.js';

const RETRY_MS = 100;

export class LightClient {
  /** Whether it is in its namespace. */
  connected = false;
  /** Whether it comes back by itself, through the common door, when it lost its connection. */
  returns = false;
  /** When it lost its connection, and when it was there again, each time that it came back by itself. */
  absences = [];
  #lost;
  #socket;
  #token;
  #namespace;

  constructor(t, token, namespace = '/chat') {
    this.#token = token;
    this.#namespace = namespace;
    t.after(() => this.leave());
  }

  /** Connects at `url` and waits until the namespace accepted it. */
  connect(url) {
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false });
    this.#socket = socket;
    const accepted = new Promise((resolve, reject) => {
      socket.on('message', (data) => {
        const frame = data.toString();
        if (frame[0] === '2') socket.send('3');
        else if (frame[0] === '0') socket.send(`40${this.#namespace},${JSON.stringify({ token: this.#token })}`);
        else if (frame.startsWith(`40${this.#namespace},`)) {
          this.connected = true;
          if (this.#lost) this.absences.push({ from: this.#lost, to: Date.now() });
          this.#lost = undefined;
          resolve();
        } else if (frame.startsWith('44')) reject(new Error(frame));
      });
      socket.on('error', reject);
      socket.once('close', (code) => {
        reject(new Error(`closed (${code}) before it was accepted`));
        if (this.#socket !== socket) return;
        if (this.connected) this.#lost = Date.now();
        this.connected = false;
        if (this.returns) setTimeout(() => this.#comeBack(), RETRY_MS * (0.5 + Math.random()));
      });
    });
    accepted.catch(() => {});
    return soon(accepted, 'the namespace of a light client');
  }

  #comeBack() {
    // Whether it worked shows in `connected`; if not, its close has asked for the next attempt.
    if (this.returns) this.connect(entryUrl()).catch(() => {});
  }

  /** Goes, and stays away. */
  leave() {
    this.returns = false;
    this.connected = false;
    this.#socket?.close();
  }
}
