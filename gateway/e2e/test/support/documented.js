// What the sources' examples take for granted: a server at the address they name, a console, a shell with curl.

import http from 'node:http';
import { io as connect } from 'socket.io-client';
import { entryUrl, PATIENCE_MS, transports } from './cluster.js';
import { watch } from './socket.js';

/**
 * `io` for a document's example: it may name any host, its path is kept. Whatever options the example has are its own; those of
 * this run stand behind them. `sockets` are those it made, watched, and closed with the test `t`.
 */
export function documentedIo(t, { gateway } = {}) {
  const sockets = [];
  const io = (address, options = {}) => {
    const { pathname } = new URL(address);
    const socket = watch(t, connect(entryUrl(gateway) + pathname, { transports, forceNew: true, ...options }));
    sockets.push(socket);
    return socket;
  };
  return Object.assign(io, { sockets });
}

/** A console that keeps what it is told, as arrays of arguments. */
export function quietConsole() {
  const said = [];
  const say = (...args) => { said.push(args); };
  return { log: say, error: say, said };
}

/** The words of a shell command: quotes are taken off, lines continued. */
function words(command) {
  const found = [];
  const pattern = /\s*((?:'[^']*'|"[^"]*"|[^\s'"]+)+)/gy;
  const text = command.replaceAll('\\\n', ' ').trim();
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    found.push(match[1].replaceAll(/'([^']*)'|"([^"]*)"/g, (_, single, double) => single ?? double));
  }
  return found;
}

/** Runs a `curl` command as the documents have them (-X, -H, -d): `{status, headers, text, body}`. */
export function curl(command, { base = entryUrl() } = {}) {
  const [program, ...rest] = words(command);
  if (program !== 'curl') throw new Error(`no curl command: ${command}`);
  const call = { method: undefined, headers: {}, body: undefined, url: undefined };
  while (rest.length > 0) {
    const word = rest.shift();
    if (word === '-X') call.method = rest.shift();
    else if (word === '-d') call.body = rest.shift();
    else if (word === '-H') {
      const [, name, value] = /^([^:]+):\s*(.*)$/s.exec(rest.shift());
      call.headers[name.toLowerCase()] = value;
    } else if (word.startsWith('-')) throw new Error(`${word} is not known here: ${command}`);
    else call.url = new URL(word);
  }
  const method = call.method ?? (call.body === undefined ? 'GET' : 'POST');
  return plain(`${base}${call.url.pathname}${call.url.search}`, { method, headers: call.headers, body: call.body });
}

/** One HTTP request with exactly these headers, `Origin` among them if wanted; `localAddress` is where it comes from. */
export function plain(url, { method = 'GET', headers = {}, body, localAddress } = {}) {
  return new Promise((resolve, reject) => {
    const call = http.request(url, { method, headers, localAddress, agent: false, timeout: PATIENCE_MS }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const isJson = (response.headers['content-type'] ?? '').startsWith('application/json');
        const named = new Headers(Object.entries(response.headers).map(([name, value]) => [name, String(value)]));
        resolve({ request: `${method} ${url}`, status: response.statusCode, headers: named, text, body: isJson && text !== '' ? JSON.parse(text) : undefined });
      });
    });
    call.on('timeout', () => call.destroy(new Error(`${method} ${url}: no answer in time`)));
    call.on('error', reject);
    call.end(body);
  });
}
