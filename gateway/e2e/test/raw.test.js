// Engine.IO and Socket.IO by hand, over WebSocket.

import assert from 'node:assert/strict';
import test from 'node:test';
import { gatewayUrl, PATIENCE_MS } from './support/cluster.js';
import { people } from './support/people.js';
import { refusal, session } from './support/wire.js';

const cast = people('ann');

const REFUSALS = {
  'EIO=3&transport=websocket': [5, 'Unsupported protocol version'],
  'EIO=44&transport=websocket': [5, 'Unsupported protocol version'],
  'transport=websocket': [5, 'Unsupported protocol version'],
  'EIO=4&transport=carrier-pigeon': [0, 'Transport unknown'],
  'EIO=4': [0, 'Transport unknown'],
  'EIO=4&transport=websocket&sid=nobody': [1, 'Session ID unknown'],
};

test('the wire', { concurrency: 8, timeout: 480_000 }, async (t) => {
  const { ann } = await cast();
  const credentials = JSON.stringify({ token: ann.token });
  const tests = [];
  const check = (name, body) => tests.push(t.test(name, { timeout: 360_000 }, body));

  check('the open packet has its five fields and no other', async (t) => {
    const { open } = await session(t, 1);
    assert.deepEqual(Object.keys(open), ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
    assert.equal(typeof open.sid, 'string');
    assert.deepEqual(open.upgrades, []);
    for (const field of ['pingInterval', 'pingTimeout', 'maxPayload']) assert.ok(Number.isInteger(open[field]) && open[field] > 0, field);
  });

  for (const [query, [code, message]] of Object.entries(REFUSALS)) {
    check(`?${query} is refused with ${code}`, async (t) => {
      assert.deepEqual(await refusal(t, query), { status: 400, body: { code, message } });
    });
  }

  check('an unknown transport is refused over plain HTTP as well', async () => {
    const response = await fetch(`${gatewayUrl(1)}/socket.io/?EIO=4&transport=carrier-pigeon`, { signal: AbortSignal.timeout(PATIENCE_MS) });
    assert.equal(response.status, 400);
    assert.deepEqual(await response.json(), { code: 0, message: 'Transport unknown' });
  });

  check('the server pings, a pong keeps the session', async (t) => {
    const link = await session(t);
    link.send(`40/chat,${credentials}`);
    assert.match(await link.next(), /^40\/chat,\{/);
    assert.equal(await link.next(link.open.pingInterval + 20_000), '2');
    link.send('3');
    link.send('42/chat,1["noSuchEvent"]');
    const frames = [await link.next(), await link.next()];
    assert.ok(frames.some((frame) => frame.startsWith('43/chat,1[')), frames.join(' '));
  });

  check('CONNECT is answered with a socket id of its own', async (t) => {
    const link = await session(t);
    link.send(`40${credentials}`);
    const root = await link.next();
    assert.equal(root.slice(0, 2), '40');
    link.send(`40/chat,${credentials}`);
    const chat = await link.next();
    assert.equal(chat.slice(0, 8), '40/chat,');
    const ids = [JSON.parse(root.slice(2)).sid, JSON.parse(chat.slice(8)).sid, link.open.sid];
    for (const id of ids) assert.equal(typeof id, 'string');
    assert.equal(new Set(ids).size, 3);
  });

  check('the namespace’s comma is optional at the end, a query is not its name', async (t) => {
    const link = await session(t);
    link.send('40/chat');
    assert.match(await link.next(), /^4[04]\/chat,\{/);
    link.send('40/nowhere');
    assert.equal(await link.next(), '44/nowhere,{"message":"Invalid namespace"}');
  });

  check('an acknowledgement carries its id', async (t) => {
    const link = await session(t, 1);
    link.send(`40/chat,${credentials}`);
    await link.next();
    link.send('42/chat,4711["joinRoom",{"conversationId":"nope"}]');
    const frames = [await link.next(), await link.next()];
    const ack = frames.find((frame) => frame.startsWith('43/chat,4711['));
    const error = frames.find((frame) => frame.startsWith('42/chat,["error",'));
    assert.ok(ack && error, frames.join(' '));
    assert.equal(JSON.parse(ack.slice('43/chat,4711'.length))[0].error.code, 'VALIDATION_FAILED');
  });

  check('41 leaves the session open', async (t) => {
    const link = await session(t);
    for (const [arriving, leaving] of [['40', '41'], ['40/chat,', '41/chat,'], ['40', '41'], ['40/chat,', undefined]]) {
      link.send(arriving + credentials);
      assert.ok((await link.next()).startsWith(arriving));
      if (leaving) link.send(leaving);
    }
    assert.ok(link.isOpen());
  });

  check('a message over maxPayload closes the session', async (t) => {
    const link = await session(t);
    link.send(`40/chat,${credentials}`);
    await link.next();
    link.send(`42/chat,["sendMessage","${'x'.repeat(link.open.maxPayload)}"]`);
    await link.over();
  });

  const invalid = {
    'no packet type': 'hello',
    'nothing at all': '',
    'no Socket.IO type': '4',
    'an unknown Socket.IO type': '49',
    'an event that is no list': '42{"event":1}',
    'an event without a name': '42[]',
    'an event whose name is an object': '42[{}]',
    'an event of a reserved name': '42["disconnect"]',
    'half an event': '42["joinRoom"',
    'attachments that are no number': '45x-["joinRoom"]',
    'a namespace not joined': '42/chat,["joinRoom",{}]',
  };
  for (const [what, frame] of Object.entries(invalid)) {
    check(`invalid: ${what} closes the session`, async (t) => {
      const link = await session(t);
      link.send(`40${credentials}`);
      await link.next();
      link.send(frame);
      await link.over();
    });
  }

  await Promise.all(tests);
});
