// Engine.IO over long-polling, by hand: every request of a session goes to the next gateway, on purpose.

import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from './support/away.js';
import { group } from './support/chat.js';
import { gatewayUrl, state } from './support/cluster.js';
import { attempts } from './support/patience.js';
import { people, register, unique } from './support/people.js';
import { quiet } from './support/socket.js';
import { ask, isPresence, poller, raw, refusal } from './support/wire.js';

const cast = people('ann');
const ORIGIN = 'http://localhost:5173';
const UNKNOWN = { code: 1, message: 'Session ID unknown' };
const json = ({ status, text }) => ({ status, body: JSON.parse(text) });

/** Packets of a payload but those about presence. */
const packets = (payload) => payload.split('\x1e').filter((packet) => !isPresence(packet));

/** The packets of an answer; of the next ones, as long as there is nothing in it but what who stood still is told again of who is online. */
async function something(link, text) {
  let all = packets(text);
  while (all.length === 0) all = packets(await link.read());
  return all;
}

/** Reads until `count` packets came. */
async function collect(link, count) {
  const all = [];
  while (all.length < count) all.push(...packets(await link.read()));
  return all;
}

/** A polling session in which /chat was joined, and which has been told who is online. */
async function joined(t, first, user) {
  const { token } = user ?? (await cast()).ann;
  const link = await poller(t, first);
  await link.send(`40/chat,${JSON.stringify({ token })}`);
  // Who is online is told once to whoever comes. What is written down here begins after it.
  const all = [];
  while (!all.some((packet) => packet.startsWith('42/chat,["onlineUsers",'))) all.push(...(await link.read()).split('\x1e'));
  assert.match(all[0], /^40\/chat,\{/);
  return link;
}

const code = async (answer) => {
  const { status, text } = await answer;
  return [status, status === 200 ? text : JSON.parse(text).code];
};
/** How often a request may come too late, or another one too early, for what is to be seen. */
const ROUNDS = 5;

test('long-polling, by hand', { concurrency: 8, timeout: 720_000 }, async (t) => {
  await cast();
  const tests = [];
  const check = (name, body) => tests.push(t.test(name, { timeout: 360_000 }, body));

  check('the open packet has its five fields, and offers the upgrade', async (t) => {
    const { open, shake } = await poller(t);
    assert.deepEqual(Object.keys(open), ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
    assert.deepEqual(open.upgrades, ['websocket']);
    assert.match(shake.headers['content-type'], /^text\/plain; *charset=utf-8$/i);
    assert.equal(shake.headers['cache-control'], 'no-store');
    assert.ok(!/127|localhost|1\d{4}/.test(Buffer.from(open.sid, 'base64url').toString('latin1')), 'no address in a session id');
  });

  for (const [query, expected] of Object.entries({
    'EIO=3&transport=polling': { code: 5, message: 'Unsupported protocol version' },
    'transport=polling': { code: 5, message: 'Unsupported protocol version' },
    'EIO=4&transport=pigeon': { code: 0, message: 'Transport unknown' },
    'EIO=4&transport=polling&sid=nobody': UNKNOWN,
  })) {
    check(`GET ?${query} is refused with ${expected.code}`, async () => {
      assert.deepEqual(json(await ask(0, 'GET', query).answer), { status: 400, body: expected });
    });
  }

  check('a handshake by any other method than GET is refused with 2', async () => {
    for (const method of ['POST', 'PUT', 'DELETE']) {
      assert.deepEqual(json(await ask(1, method, 'EIO=4&transport=polling').answer), { status: 400, body: { code: 2, message: 'Bad handshake method' } }, method);
    }
  });

  check('a session id that was tampered with is unknown everywhere', async (t) => {
    const { open } = await poller(t);
    const other = open.sid.at(5) === 'A' ? 'B' : 'A';
    for (const sid of [open.sid.slice(0, -1), `${open.sid}A`, open.sid.slice(0, 5) + other + open.sid.slice(6)]) {
      for (const index of state.gateways.keys()) {
        assert.deepEqual(json(await ask(index, 'GET', `EIO=4&transport=polling&sid=${sid}`).answer), { status: 400, body: UNKNOWN });
      }
    }
  });

  for (const first of state.gateways.keys()) {
    check(`packets come joined by a record separator, acknowledgements find their way (gateway ${first} first)`, async (t) => {
      const link = await joined(t, first);
      await link.send('42/chat,1["joinRoom",{"conversationId":"nope"}]\x1e42/chat,2["joinRoom",{"conversationId":"nope"}]');
      const all = await collect(link, 4);
      for (const id of [1, 2]) assert.ok(all.some((packet) => packet.startsWith(`43/chat,${id}[`)), all.join(' '));
      assert.equal(all.filter((packet) => packet.startsWith('42/chat,["error",')).length, 2);
    });
  }

  check('a waiting GET is answered by what another gateway’s POST caused', async (t) => {
    const link = await joined(t, 1);
    const { answer } = link.get();
    await quiet(100);
    await link.send('42/chat,7["joinRoom",{"conversationId":"nope"}]');
    assert.ok((await something(link, (await answer).text)).length > 0);
  });

  check('a second GET closes the session: the first gets 1, the next request 400', async (t) => {
    await attempts(ROUNDS, 'the first GET waited', async () => {
      const link = await joined(t, 0);
      const first = link.get().answer;
      await quiet(200);
      await link.get().answer;
      const { status, text } = await first;
      if (status === 400 || packets(text).length === 0) return false;
      assert.equal(status, 200);
      assert.equal(text.split('\x1e').at(-1), '1');
      assert.deepEqual(await code(link.get().answer), [400, 1]);
      return true;
    });
  });

  check('a GET that comes again, when the connection that carried it is gone, gets the answer that was lost on the way', async (t) => {
    const link = await attempts(ROUNDS, 'the connection was gone', async (attempt) => {
      const link = await joined(t, 1);
      await link.send('42/chat,7["joinRoom",{"conversationId":"nope"}]');
      // At its own gateway: on the way through another one the connection between the two would live on.
      const named = () => ask(1, 'GET', `${link.query}&t=lost`).answer;
      const { status, text } = await named();
      assert.equal(status, 200);
      await quiet(100 * attempt);
      return (await named()).text === text && link;
    });
    await link.send('42/chat,8["joinRoom",{"conversationId":"nope"}]');
    const next = await something(link, (await ask(link.next(), 'GET', `${link.query}&t=next`).answer).text);
    assert.ok(next.some((packet) => packet.startsWith('43/chat,8[') || packet.startsWith('42/chat,')), next.join(' '));
  });

  check('POST 1 answers a waiting GET with 6, then 400', async (t) => {
    await attempts(ROUNDS, 'the GET waited', async () => {
      const link = await joined(t, 2);
      const { answer } = link.get();
      await quiet(200);
      await link.send('1');
      const { status, text } = await answer;
      if (status === 400 || packets(text).length === 0) return false;
      assert.equal(text.split('\x1e').at(-1), '6');
      assert.deepEqual(await code(link.get().answer), [400, 1]);
      return true;
    });
  });

  check('a GET that the client aborts closes the session', async (t) => {
    await attempts(ROUNDS, 'the GET waited, and its abort closed the session', async () => {
      const link = await joined(t, 1);
      const { abort } = link.get();
      await quiet(300);
      abort();
      // A pong does no harm while there is a session.
      const isGone = async () => {
        const [status, what] = await code(link.post('3').answer);
        if (status === 200) return quiet(100);
        assert.deepEqual([status, what], [400, 1]);
        return true;
      };
      return until(isGone, 'the session is gone', 5_000).then(() => true, (error) => { if (error.code === 'ERR_ASSERTION') throw error; });
    });
  });

  check('the server pings over polling, a pong by POST keeps the session', async (t) => {
    const link = await joined(t, 0);
    const waiting = link.get();
    assert.deepEqual(await something(link, (await waiting.answer).text), ['2']);
    await link.send('3');
    await link.send('42/chat,9["joinRoom",{"conversationId":"nope"}]');
    assert.equal((await collect(link, 2)).length, 2);
  });

  for (const [what, body] of Object.entries({ 'no packet type': 'hello', 'an unknown type': '9', 'bad base64': 'b*', 'a Socket.IO packet that is none': '4x' })) {
    check(`a POST with ${what} closes the session`, async (t) => {
      const link = await joined(t, 0);
      await link.post(body).answer;
      await quiet(200);
      // The close may still be fetched, once; after it nobody is there.
      await link.get().answer;
      assert.deepEqual(await code(link.get().answer), [400, 1]);
    });
  }

  check('a POST of more than maxPayload is 413', async (t) => {
    const link = await joined(t, 1);
    assert.equal((await link.post(`4${'x'.repeat(link.open.maxPayload + 1)}`).answer).status, 413);
  });

  check('a POST of exactly maxPayload is read', async (t) => {
    const link = await joined(t, 2);
    const head = '42/chat,5["joinRoom",{"conversationId":"';
    const tail = '"}]';
    await link.send(head + 'x'.repeat(link.open.maxPayload - head.length - tail.length) + tail);
    assert.ok((await collect(link, 2)).some((packet) => packet.startsWith('43/chat,5[')));
  });

  check('an answer is compressed for who accepts it, and only then', async (t) => {
    // People of its own: what these are told the other sessions must not be told.
    const [eve, fay] = await Promise.all([register('eve'), register('fay')]);
    const link = await joined(t, 0, eve);
    const conversationId = await group(eve, [fay]);
    const content = unique('long').padEnd(3_000, '.');
    await link.send(`42/chat,1${JSON.stringify(['joinRoom', { conversationId }])}\x1e42/chat,2${JSON.stringify(['sendMessage', { conversationId, content }])}`);
    let [response, text] = [];
    do {
      response = await fetch(`${gatewayUrl(link.next())}/socket.io/?${link.query}`, { headers: { 'accept-encoding': 'gzip' } });
      assert.equal(response.status, 200);
      text = await response.text();
    } while (!text.includes(content));
    assert.equal(response.headers.get('content-encoding'), 'gzip');
    assert.match(response.headers.get('vary') ?? '', /accept-encoding/i);
    assert.equal(link.shake.headers['content-encoding'], undefined);
  });

  check('browsers of an allowed origin are told so, on each kind of answer', async (t) => {
    const link = await poller(t, 1);
    const query = link.query;
    for (const [method, q, more] of [['GET', 'EIO=4&transport=polling', {}], ['POST', query, { body: '3' }], ['GET', 'EIO=4&transport=polling&sid=nobody', {}]]) {
      const { headers } = await ask(link.next(), method, q, { headers: { origin: ORIGIN }, ...more }).answer;
      assert.equal(headers['access-control-allow-origin'], ORIGIN, `${method} ?${q}`);
      assert.equal(headers['access-control-allow-credentials'], 'true', `${method} ?${q}`);
      assert.match(headers.vary ?? '', /origin/i);
    }
    const preflight = await ask(0, 'OPTIONS', query, {
      headers: { origin: ORIGIN, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' },
    }).answer;
    assert.ok([200, 204].includes(preflight.status), `${preflight.status}`);
    assert.equal(preflight.headers['access-control-allow-origin'], ORIGIN);
    assert.match(preflight.headers['access-control-allow-methods'] ?? '', /POST/);
    assert.match(preflight.headers['access-control-allow-headers'] ?? '', /content-type|\*/i);
  });

  check('the upgrade: probe, waiting polls released with 6, then WebSocket alone', async (t) => {
    const link = await joined(t, 0);
    const websocket = `EIO=4&transport=websocket&sid=${link.open.sid}`;
    const carrier = raw(t, websocket, 1);
    await carrier.opened();
    const waiting = link.get();
    carrier.send('2probe');
    assert.equal(await carrier.next(), '3probe');
    assert.deepEqual(await something(link, (await waiting.answer).text), ['6']);
    assert.deepEqual(await something(link, await link.read()), ['6'], 'and not once only');
    carrier.send('5');
    carrier.send('42/chat,3["joinRoom",{"conversationId":"nope"}]');
    const frames = [await carrier.next(), await carrier.next()];
    assert.ok(frames.some((frame) => frame.startsWith('43/chat,3[')), frames.join(' '));

    assert.deepEqual(await code(link.get().answer), [400, 3]);
    assert.deepEqual(await code(link.post('42/chat,["x"]').answer), [400, 3]);
    for (const index of state.gateways.keys()) assert.equal((await refusal(t, websocket, index)).status, 400);
    carrier.send('42/chat,4["joinRoom",{"conversationId":"nope"}]');
    await carrier.next();
    await carrier.next();
    assert.ok(carrier.isOpen(), 'no stranger harmed it');
  });

  check('a probe that dies leaves polling alive', async (t) => {
    const link = await joined(t, 2);
    const carrier = raw(t, `EIO=4&transport=websocket&sid=${link.open.sid}`, 1);
    await carrier.opened();
    carrier.send('2probe');
    assert.equal(await carrier.next(), '3probe');
    carrier.terminate();
    await quiet(200);
    await link.send('42/chat,3["joinRoom",{"conversationId":"nope"}]');
    const all = [];
    while (!all.some((packet) => packet.startsWith('43/chat,3['))) all.push(...packets(await link.read()));
  });

  check('what follows the 5 in the same breath is not lost', async (t) => {
    const link = await joined(t, 1);
    const carrier = raw(t, `EIO=4&transport=websocket&sid=${link.open.sid}`, 0);
    await carrier.opened();
    carrier.send('2probe');
    await carrier.next();
    carrier.send('5');
    for (let id = 0; id < 20; id += 1) carrier.send(`42/chat,${id}["joinRoom",{"conversationId":"nope"}]`);
    const frames = [];
    while (frames.length < 40) frames.push(await carrier.next());
    const acks = frames.filter((frame) => frame.startsWith('43')).map((frame) => Number(/^43\/chat,(\d+)/.exec(frame)[1]));
    assert.deepEqual(acks.sort((x, y) => x - y), Array.from({ length: 20 }, (_, id) => id));
  });

  await Promise.all(tests);
});
