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

/** The answer's JSON, or null. */
export function json(answer) {
  try {
    return JSON.parse(answer.body);
  } catch {
    return null;
  }
}
