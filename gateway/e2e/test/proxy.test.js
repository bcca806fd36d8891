// The suite's own load balancer: what every other test takes for granted of it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import test from 'node:test';
import { freePort } from './support/gateways.js';
import { startProxy } from './support/proxy.js';
import { soon } from './support/wire.js';

const limit = { timeout: 120_000 };

/** A server that answers with its name and what it was sent; `hang` paths are never answered. */
async function server(t, name) {
  const seen = { aborted: [], requests: 0 };
  const it = http.createServer(async (request, response) => {
    seen.requests += 1;
    if (request.url.startsWith('/hang')) {
      seen.aborted.push(once(response, 'close'));
      if (request.url === '/hang/halfway') response.write('half');
      seen.arrived?.();
      return;
    }
    let body = '';
    for await (const chunk of request) body += chunk;
    response.end(`${name} ${body}`);
  });
  it.on('upgrade', (_request, socket, head) => {
    socket.on('error', () => {});
    seen.tunnel = socket;
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.write(head);
    socket.pipe(socket);
  });
  await new Promise((resolve) => { it.listen(0, '127.0.0.1', resolve); });
  t.after(() => {
    it.closeAllConnections();
    it.close();
  });
  return { seen, stop: () => it.closeAllConnections(), url: `http://127.0.0.1:${it.address().port}`, arrival: () => new Promise((resolve) => { seen.arrived = resolve; }) };
}

async function front(t, ...urls) {
  const proxy = await startProxy(urls);
  t.after(() => proxy.close());
  return proxy;
}

/** Where nobody listens: an address of this machine that no program is told to use, whatever ports others take meanwhile. */
const refusing = async () => `http://127.77.0.1:${await freePort()}`;

const post = async (url, body) => (await fetch(url, { method: 'POST', body })).text();

test('each request goes to the next server, with its body', limit, async (t) => {
  const servers = await Promise.all(['a', 'b', 'c'].map((name) => server(t, name)));
  const { url } = await front(t, ...servers.map((each) => each.url));
  const answers = [];
  for (let count = 0; count < 6; count += 1) answers.push(await post(url, `${count}`));
  assert.deepEqual(answers, ['a 0', 'b 1', 'c 2', 'a 3', 'b 4', 'c 5']);
  assert.equal(await post(url, 'x'.repeat(3_000_000)), `a ${'x'.repeat(3_000_000)}`);
});

test('a server that refuses the connection is passed over, body and all; none left is 502', limit, async (t) => {
  const living = await server(t, 'a');
  const nobody = await refusing();
  const { url } = await front(t, nobody, living.url);
  for (let count = 0; count < 4; count += 1) assert.equal(await post(url, 'body'), 'a body');
  const dead = await front(t, nobody, nobody);
  assert.equal((await fetch(dead.url, { method: 'POST', body: 'body' })).status, 502);
});

test('a GET whose server dies is asked again, a POST is not', limit, async (t) => {
  const [one, two] = await Promise.all(['a', 'b'].map((name) => server(t, name)));
  const { url } = await front(t, one.url, two.url);
  const arrived = one.arrival();
  const got = fetch(`${url}/hang`);
  got.catch(() => {});
  await arrived;
  const again = two.arrival();
  one.stop();
  await soon(again, 'the second attempt');
  two.stop();

  const posts = await server(t, 'c');
  const other = await front(t, posts.url, one.url);
  const posted = posts.arrival();
  const answer = fetch(`${other.url}/hang`, { method: 'POST', body: 'once' });
  await posted;
  const before = one.seen.requests;
  posts.stop();
  assert.equal((await answer).status, 502);
  assert.equal(one.seen.requests, before);
});

test('who hangs up is heard on the other side, in both directions', limit, async (t) => {
  const one = await server(t, 'a');
  const { url } = await front(t, one.url);
  const arrived = one.arrival();
  const abort = new AbortController();
  const asked = fetch(`${url}/hang`, { signal: abort.signal });
  await arrived;
  abort.abort();
  await assert.rejects(asked);
  await soon(one.seen.aborted[0], 'the abort');

  for (const path of ['/hang', '/hang/halfway']) {
    const again = one.arrival();
    const answer = fetch(url + path).then(async (response) => [response.status, await response.text()]);
    answer.catch(() => {});
    await again;
    const before = one.seen.requests;
    one.stop();
    // There is no other server to ask.
    const outcome = await answer.catch(() => 'broken');
    assert.ok(outcome === 'broken' || outcome[0] === 502, `${path}: ${outcome}`);
    assert.ok(one.seen.requests <= before + 1);
  }
});

async function tunnel(url) {
  const { hostname, port } = new URL(url);
  const socket = net.connect({ host: hostname, port: Number(port) });
  socket.on('error', () => {});
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst');
  let text = '';
  socket.on('data', (chunk) => { text += chunk; });
  const until = async (what) => {
    while (!text.includes(what)) await soon(once(socket, 'data'), what);
  };
  await until('first');
  return { socket, until };
}

test('an upgraded connection carries both ways, and ends on both sides', limit, async (t) => {
  const one = await server(t, 'a');
  const nobody = await refusing();
  const { url } = await front(t, nobody, one.url);
  const first = await tunnel(url);
  first.socket.write('second');
  await first.until('second');
  const gone = once(one.seen.tunnel, 'close');
  first.socket.destroy();
  await soon(gone, 'the server’s side');

  const other = await tunnel(url);
  const over = once(other.socket, 'close');
  one.seen.tunnel.destroy();
  await soon(over, 'the client’s side');
});

test('sever breaks both sides, abandon leaves the servers’ side open', limit, async (t) => {
  const one = await server(t, 'a');
  const proxy = await front(t, one.url);
  const first = await tunnel(proxy.url);
  const sides = [once(first.socket, 'close'), once(one.seen.tunnel, 'close')];
  proxy.sever();
  await soon(Promise.all(sides), 'both sides');

  const second = await tunnel(proxy.url);
  let closed = false;
  one.seen.tunnel.once('close', () => { closed = true; });
  const gone = once(second.socket, 'close');
  const over = proxy.abandon();
  await soon(gone, 'the client’s side');
  await new Promise((resolve) => { setTimeout(resolve, 200); });
  assert.equal(closed, false);
  one.seen.tunnel.destroy();
  await soon(over, 'the end');
});
