// The protocol without chat, with the real clients: text and binary, both ways, over each transport, on one node and on three.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Socket } from 'engine.io-client';
import { io } from 'socket.io-client';
import { next, until } from './support/away.js';
import { echo, echoProgram } from './support/echo.js';
import { quiet } from './support/socket.js';
import { soon } from './support/wire.js';

const KINDS = [['polling'], ['polling', 'websocket'], ['websocket']];
const skip = echoProgram() ? false : 'the example is not built: cargo build -p confab-gateway --example echo';
/** Quick enough to be seen, slow enough for a busy machine. */
const FLAGS = ['--ping-interval-ms', '500', '--ping-timeout-ms', '20000', '--connect-timeout-ms', '20000'];

function dial(t, url, transports, { namespace = '/', ...options } = {}) {
  const socket = io(url + namespace, { transports, forceNew: true, reconnection: false, ...options });
  t.after(() => socket.disconnect());
  return socket;
}

async function connected(t, url, transports, options) {
  const socket = dial(t, url, transports, options);
  await next(socket, 'connect');
  return socket;
}

const back = (socket) => new Promise((resolve) => { socket.once('message-back', (...args) => resolve(args)); });

async function echoed(socket, ...args) {
  const answer = back(socket);
  socket.emit('message', ...args);
  return soon(answer, 'the echo');
}

const bytes = (length, seed = 0) => Buffer.from(Array.from({ length }, (_, index) => (index * 7 + seed) % 256));

const CASES = {
  nothing: [],
  'a number, a string, an object': [1, '2', { 3: [true, null] }],
  'characters of every length': ['aé漢😀', '\u0000\u001e\u2028"\\', 'b', '[', '-', '4'],
  'what looks like an attachment': [{ _placeholder: true, num: 'x' }, '{"_placeholder":true,"num":0}'],
  'a buffer': [bytes(5)],
  'an empty buffer': [Buffer.alloc(0)],
  'every byte': [bytes(256)],
  'buffers inside': [{ a: bytes(3), b: [bytes(4, 1), { c: bytes(1, 2) }] }, 'text', bytes(2)],
  'ten buffers': Array.from({ length: 10 }, (_, index) => bytes(index, index)),
  'half a megabyte of text': ['漢'.repeat(160_000)],
  'half a megabyte of bytes': [bytes(500_000)],
};

for (const count of [1, 3]) {
  test(`on ${count} ${count > 1 ? 'nodes, each request to the next one' : 'node'}`, { skip, concurrency: 4, timeout: 720_000 }, async (t) => {
    const url = await echo(t, { count, flags: FLAGS });
    const tests = [];
    for (const transports of KINDS) {
      const check = (name, body) => tests.push(t.test(`${name}, over ${transports}`, { timeout: 360_000 }, body));

      check('the handshake’s credentials arrive as they are', async (t) => {
        for (const namespace of ['/', '/custom']) {
          const auth = { token: 'x', list: [1, { deep: 'é' }] };
          const socket = dial(t, url, transports, { namespace, auth });
          assert.deepEqual(await next(socket, 'auth'), auth);
        }
        assert.deepEqual(await next(dial(t, url, transports), 'auth'), {});
      });

      check('an unknown namespace', async (t) => {
        const error = await next(dial(t, url, transports, { namespace: '/random' }), 'connect_error');
        assert.equal(error.message, 'Invalid namespace');
      });

      check('events, text and binary', async (t) => {
        const socket = await connected(t, url, transports);
        for (const [what, args] of Object.entries(CASES)) assert.deepEqual(await echoed(socket, ...args), args, what);
      });

      check('acknowledgements, text and binary', async (t) => {
        const socket = await connected(t, url, transports);
        for (const [what, args] of Object.entries(CASES)) {
          const answer = await soon(
            new Promise((resolve) => { socket.emit('message-with-ack', ...args, (...back) => resolve(back)); }),
            'the acknowledgement',
          );
          assert.deepEqual(answer, args, what);
        }
      });

      check('five hundred events, every fifth with attachments, in order', async (t) => {
        const socket = await connected(t, url, transports);
        const answers = [];
        socket.on('message-back', (...args) => answers.push(args));
        const sent = Array.from({ length: 500 }, (_, index) => (index % 5 === 0 ? [index, bytes(index, index), { x: bytes(1) }] : [index]));
        for (const [index, args] of sent.entries()) {
          socket.emit('message', ...args);
          if (index % 25 === 0) await quiet(2);
        }
        await until(() => answers.length >= sent.length, 'all echoes', 30_000);
        assert.deepEqual(answers, sent);
        assert.equal(socket.io.engine.transport.name, transports.at(-1));
      });

      check('eleven attachments are too many', async (t) => {
        const socket = await connected(t, url, transports);
        const gone = next(socket, 'disconnect');
        socket.emit('message', ...Array.from({ length: 11 }, () => bytes(1)));
        assert.match(await gone, /^transport (close|error)$/);
      });

      check('leaving a namespace and coming back over the same connection', async (t) => {
        const socket = await connected(t, url, transports);
        const session = socket.io.engine.id;
        const neighbour = socket.io.socket('/custom');
        await next(neighbour, 'connect');
        socket.disconnect();
        await quiet(50);
        socket.connect();
        await next(socket, 'connect');
        assert.equal(socket.io.engine.id, session);
        assert.deepEqual(await echoed(socket, 'again'), ['again']);
        neighbour.disconnect();
      });

      check('heartbeats keep a quiet connection', async (t) => {
        const socket = await connected(t, url, transports);
        let pings = 0;
        socket.io.engine.on('ping', () => { pings += 1; });
        await until(() => pings >= 3, 'three pings');
        assert.deepEqual(await echoed(socket, 'still here'), ['still here']);
      });

      check('Engine.IO alone: text and bytes', async (t) => {
        const engine = new Socket(url, { path: '/engine.io/', transports });
        t.after(() => engine.close());
        const answers = [];
        engine.on('message', (message) => answers.push(message));
        await next(engine, 'open');
        const sent = Array.from({ length: 100 }, (_, index) => (index % 3 === 0 ? bytes(index, index) : `text ${index} 漢`));
        for (const [index, message] of sent.entries()) {
          engine.send(message);
          if (index % 10 === 0) await quiet(2);
        }
        await until(() => answers.length >= sent.length, 'all echoes');
        assert.deepEqual(answers.map((answer) => (typeof answer === 'string' ? answer : Buffer.from(answer))), sent);
      });
    }
    await Promise.all(tests);
  });
}
