// REST: requests of one user, tagged by route so that ids do not make a metric each. Knows no sockets and no load.

import http from 'k6/http';

/** A client of REST; each of its requests goes to the next address. */
export class Api {
  /** `first` is the turn to begin with. */
  constructor(urls, first = 0) {
    this._urls = urls;
    this._next = first;
  }

  url() {
    this._next += 1;
    return this._urls[this._next % this._urls.length];
  }

  /** What `http.batch` and `http.request` take. Statuses that are `expected` are no failed requests; otherwise those below 400 are. */
  prepare(method, path, { name, token, body, headers = {}, expected, tags = {} } = {}) {
    return {
      method,
      url: `${this.url()}${path}`,
      body: body === undefined ? null : JSON.stringify(body),
      params: {
        tags: { name: name || `${method} ${path}`, ...tags },
        headers: {
          ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...(token ? { Authorization: `Bearer ${token}` } : {}),
          ...headers,
        },
        ...(expected ? { responseCallback: http.expectedStatuses(...expected) } : {}),
        timeout: '60s',
      },
    };
  }

  request(method, path, options) {
    const { url, body, params } = this.prepare(method, path, options);
    return http.request(method, url, body, params);
  }

  /** The same, beside which sockets go on. */
  later(method, path, options) {
    const { url, body, params } = this.prepare(method, path, options);
    return http.asyncRequest(method, url, body, params);
  }
}

/** The answer's JSON, or null if there is none, or none that has fields. */
export function json(answer) {
  try {
    const value = JSON.parse(answer.body);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

/** Sends a message; resolves to an answer for `verdict`, with the message if it was stored. `key` is to REST what a tempId is to sockets. */
export async function postMessage(api, { name = 'POST /messages', token, body, key }) {
  const answer = await api.later('POST', '/messages', { name, token, body, headers: { 'Idempotency-Key': key }, expected: [201, 429, 503] });
  const found = json(answer);
  const stored = answer.status === 201 && found !== null && found.content === body.content && found.conversationId === body.conversationId;
  if (stored) return { outcome: 'answered', reply: { success: true }, message: found, at: Date.now() };
  // Neither is an error's: nothing says what became of it.
  if (found === null || answer.status === 201) return { outcome: 'unreadable' };
  return { outcome: 'answered', reply: { error: found } };
}
