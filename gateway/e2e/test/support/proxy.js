// A load balancer without any affinity: each request, whoever sends it, goes to the next gateway in turn.
//
// It is as dumb as the dumbest one allowed: it knows no session and looks into no message. It tries the next gateway when a
// connection is refused, and for a GET also when it breaks, and passes on that either side went away. Tests also use it as the network that fails.

import http from 'node:http';
import net from 'node:net';

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']);
const MAX_CONNECTIONS = 8_192;
/** Shorter than any server's patience with an idle connection, so that none is reused in the moment it is closed. */
const IDLE_MS = 2_000;
/** Longer than any client's. */
const CLIENT_IDLE_MS = 120_000;

function endToEnd(rawHeaders) {
  const kept = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (!HOP_BY_HOP.has(rawHeaders[index].toLowerCase())) kept.push(rawHeaders[index], rawHeaders[index + 1]);
  }
  return kept;
}

/**
 * Starts one on a free port of 127.0.0.1 in front of `upstreams` (base URLs). `upgradeDelayMs` holds every WebSocket
 * upgrade back for so long. Hands back:
 *
 * - `url`, `close()`
 * - `sever()`: breaks all connections at once, on both sides
 * - `abandon()`: breaks the clients' sides only, and tells when the gateways have closed theirs
 * - `turnTo(upstreams)`: passes on to these from now on
 * - `loseProbes(wanted)`: whether a WebSocket breaks from now on as soon as its client has been told `3probe`
 */
export async function startProxy(upstreams, { port = 0, upgradeDelayMs = 0 } = {}) {
  let targets = upstreams.map((url) => new URL(url));
  const agent = new http.Agent({ keepAlive: true, timeout: IDLE_MS });
  const clients = new Set();
  /** What is open towards the gateways, as `{destroy, over}`; and whose client was broken off without telling them. */
  const upward = new Set();
  const orphans = new Set();
  let turn = 0;
  let losesProbes = false;

  /** Whose turn it is; when somebody could not be reached, whoever comes behind. */
  const next = (attempt, first) => {
    const at = attempt === 1 ? turn++ : first + attempt - 1;
    return { target: targets[at % targets.length], first: first ?? at };
  };

  function track(emitter, destroy) {
    const link = { destroy, over: new Promise((resolve) => { emitter.once('close', resolve); }) };
    upward.add(link);
    link.over.then(() => { upward.delete(link); orphans.delete(link); });
    return link;
  }

  function pass(request, response, attempt = 1, before) {
    const { target, first } = next(attempt, before);
    let begun = false;
    const outgoing = http.request({
      agent,
      host: target.hostname,
      port: target.port,
      method: request.method,
      path: request.url,
      headers: [...endToEnd(request.rawHeaders), 'X-Forwarded-For', request.socket.remoteAddress ?? '127.0.0.1'],
      setHost: false,
    });
    const link = track(outgoing, () => outgoing.destroy());
    const clientGone = () => {
      if (!response.writableFinished && !orphans.has(link)) outgoing.destroy();
    };
    response.once('close', clientGone);
    // Nothing of the request's body is read before there is somebody to give it to; so another one may be asked.
    const begin = () => {
      begun = true;
      request.pipe(outgoing);
    };
    outgoing.on('socket', (socket) => {
      socket.setNoDelay(true);
      if (socket.connecting) socket.once('connect', begin);
      else begin();
    });
    outgoing.on('response', (answer) => {
      response.writeHead(answer.statusCode, answer.statusMessage, endToEnd(answer.rawHeaders));
      answer.pipe(response);
      answer.on('error', () => response.destroy());
      answer.on('aborted', () => response.destroy());
    });
    outgoing.on('error', () => {
      response.off('close', clientGone);
      if (response.destroyed) return;
      if (response.headersSent) return void response.destroy();
      // Common proxies ask for a GET again when its connection broke before the answer, though it may well have arrived.
      const again = !begun || request.method === 'GET';
      if (again && attempt < targets.length) return void pass(request, response, attempt + 1, first);
      response.writeHead(502, { 'content-type': 'text/plain' });
      response.end('no gateway');
    });
  }

  function tunnel(request, client, head, attempt = 1, before) {
    const { target, first } = next(attempt, before);
    const gateway = net.connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    const link = track(gateway, () => gateway.destroy());
    const clientGone = () => {
      // Read on into the void: unread, the gateway's end would never show.
      if (orphans.has(link)) setImmediate(() => gateway.resume());
      else gateway.destroy();
    };
    client.once('close', clientGone);
    let connected = false;
    gateway.once('connect', () => {
      connected = true;
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let index = 0; index < request.rawHeaders.length; index += 2) {
        lines.push(`${request.rawHeaders[index]}: ${request.rawHeaders[index + 1]}`);
      }
      gateway.write(`${lines.join('\r\n')}\r\n\r\n`);
      gateway.write(head);
      client.pipe(gateway);
      gateway.pipe(client);
      gateway.on('data', (chunk) => {
        if (losesProbes && chunk.includes('3probe')) client.destroySoon();
      });
    });
    gateway.on('error', () => {});
    gateway.once('close', () => {
      client.off('close', clientGone);
      if (!connected && attempt < targets.length && !client.destroyed) return void tunnel(request, client, head, attempt + 1, first);
      client.destroy();
    });
  }

  const server = http.createServer({ keepAliveTimeout: CLIENT_IDLE_MS }, (request, response) => pass(request, response));
  server.maxConnections = MAX_CONNECTIONS;
  server.on('connection', (socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => {});
    clients.add(socket);
    socket.once('close', () => clients.delete(socket));
  });
  server.on('upgrade', (request, socket, head) => {
    const held = setTimeout(() => tunnel(request, socket, head), upgradeDelayMs);
    socket.once('close', () => clearTimeout(held));
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port, backlog: 4_096 }, resolve);
  });

  const breakClients = () => {
    for (const socket of clients) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    sever() {
      breakClients();
      for (const { destroy } of upward) destroy();
    },
    abandon() {
      const left = [...upward];
      for (const link of left) orphans.add(link);
      breakClients();
      return Promise.all(left.map(({ over }) => over));
    },
    turnTo(others) {
      targets = others.map((url) => new URL(url));
    },
    loseProbes(wanted) {
      losesProbes = wanted;
    },
    async close() {
      breakClients();
      for (const { destroy } of upward) destroy();
      agent.destroy();
      await new Promise((resolve) => { server.close(resolve); });
    },
  };
}
