// A gateway that lets no guests in: who comes without a token may log in, within ten seconds, and do nothing else.

import assert from 'node:assert/strict';
import test from 'node:test';
import { next } from './support/away.js';
import { client, guest, notification, refuses } from './support/dialects.js';
import { privateGateway } from './support/gateways.js';
import { nobody, people, slug, unique } from './support/people.js';
import { ok, request } from './support/rest.js';
import { once, quiet, succeed } from './support/socket.js';

const cast = people('ann', 'ben');
const KINDS = [['polling'], ['polling', 'websocket'], ['websocket']];
const DEADLINE_MS = 10_000;
/** How much later than promised a busy machine may be, and how much earlier its clock. */
const LATE_MS = 15_000;
const EARLY_MS = 500;
/** Longer than anybody may stay without a login. */
const SILENCE_MS = DEADLINE_MS + 5_000;

/** How long `socket` stays, from now on, or from an earlier moment. */
async function stay(socket, begun = Date.now()) {
  await next(socket, 'disconnect', DEADLINE_MS + 4 * LATE_MS);
  return Date.now() - begun;
}

const logIn = (socket, user) => succeed(socket, 'auth:login', { token: user.token, userType: 'user' });

test('a gateway without guests', { concurrency: 8, timeout: 480_000 }, async (t) => {
  const limit = { timeout: 360_000 };
  await cast();
  const url = await privateGateway(t, { CONFAB_AUTH__GUESTS: 'false' });
  const tests = [];
  const check = (name, body) => tests.push(t.test(name, limit, body));

  for (const transports of KINDS) {
    check(`who says nothing is disconnected after ten seconds, over ${transports}`, async (t) => {
      const begun = Date.now();
      const lasted = await stay(await guest(t, 'namespaced', { url, transports }), begun);
      assert.ok(lasted >= DEADLINE_MS - EARLY_MS && lasted <= DEADLINE_MS + LATE_MS, `${lasted} ms`);
    });

    check(`who logs in stays, over ${transports}`, async (t) => {
      const { ann } = await cast();
      const socket = await guest(t, 'namespaced', { url, transports });
      await logIn(socket, ann);
      notification(await once(socket, 'system:notification'));
      await quiet(SILENCE_MS);
      assert.equal(socket.connected, true);
      const content = unique();
      await succeed(socket, 'chat:message', { content });
      assert.equal((await once(socket, 'chat:message', (message) => message.content === content)).sender.userId, ann.id);
    });
  }

  check('failed logins buy no time', async (t) => {
    const socket = await guest(t, 'namespaced', { url });
    const gone = stay(socket);
    for (let count = 0; count < 3; count += 1) {
      await refuses(socket, 'namespaced', 'UNAUTHORIZED', 'auth:login', { token: 'your-jwt-token', userType: 'user' });
      await Promise.race([gone, quiet(1_500)]);
      if (!socket.connected) break;
    }
    const lasted = await gone;
    assert.ok(lasted <= DEADLINE_MS + LATE_MS, `${lasted} ms`);
  });

  check('one may do nothing before the login but log in', async (t) => {
    const { ann } = await cast();
    const socket = await guest(t, 'namespaced', { url });
    // At once, or the ten seconds may be over.
    await Promise.all([['chat:message', { content: unique() }], ['chat:room:create', { name: unique('room') }], ['chat:room:join', 'lobby']]
      .map(([event, payload]) => refuses(socket, 'namespaced', 'UNAUTHORIZED', event, payload)));
    await logIn(socket, ann);
    await succeed(socket, 'chat:message', { content: unique() });
  });

  check('the other dialects have no late login: each refuses in its own words', async (t) => {
    const { ann } = await cast();
    const staying = [];
    const come = async (dialect) => {
      const socket = await guest(t, dialect, { url });
      staying.push(stay(socket));
      return socket;
    };
    const rooms = await come('rooms');
    await refuses(rooms, 'rooms', 'UNAUTHORIZED', 'chat.addUser', { roomId: 'public', username: slug('guest') });
    const direct = await come('direct');
    await refuses(direct, 'direct', 'UNAUTHORIZED', 'send_message', { receiverId: ann.id, content: unique() });
    const conversations = await come('conversations');
    // At once, or the ten seconds may be over.
    const refused = ['joinRoom', 'sendMessage', 'markConversationAsRead'].map((event) => [event, { conversationId: nobody(), content: 'let me in' }]);
    await Promise.all([['createConversation', { participantIds: [ann.id], type: 'direct' }], ...refused]
      .map(([event, payload]) => refuses(conversations, 'conversations', 'UNAUTHORIZED', event, payload)));
    for (const ms of await Promise.all(staying)) assert.ok(ms <= DEADLINE_MS + LATE_MS, `${ms} ms`);
  });

  check('with a token nothing is different, and nobody is hurried', async (t) => {
    const { ann, ben } = await cast();
    const [a, b] = await Promise.all([client(t, 'direct', ann, { url }), client(t, 'direct', ben)]);
    await quiet(SILENCE_MS);
    const content = unique();
    await succeed(a, 'send_message', { receiverId: ben.id, content });
    await once(b, 'receive_message', (message) => message.content === content);
  });

  check('the GETs under /api/rooms ask for a token', async () => {
    const { ann } = await cast();
    for (const path of ['/api/rooms', '/api/rooms/public', '/api/rooms/public/users', '/api/rooms/system/stats']) {
      const at = (headers) => fetch(`${url}${path}`, { headers, signal: AbortSignal.timeout(15_000) });
      assert.equal((await at({})).status, 401, path);
      assert.equal((await at({ authorization: `Bearer ${ann.token}` })).status, 200, path);
    }
    // The cluster's own gateways let guests in.
    ok(await request('GET', '/api/rooms'), 200);
  });

  await Promise.all(tests);
});
