// Who may do what: every route of the document × everybody who may come along.

import assert from 'node:assert/strict';
import test from 'node:test';
import { jwtSecret } from './support/cluster.js';
import { privateGateway } from './support/gateways.js';
import { resign, seconds } from './support/jwt.js';
import { operations } from './support/openapi.js';
import { newcomer, nobody, people, register, unique } from './support/people.js';
import { as, ok, request } from './support/rest.js';
import { entered } from './support/rooms.js';
import { promote } from './support/truth.js';

const limit = { timeout: 1200_000 };

/** Those whose token is good. */
const KNOWN = ['owner', 'member', 'stranger', 'admin'];
/** Those who are nobody to REST: no token, or one that is not good. */
const UNKNOWN = ['guest', 'none', 'expired', 'revoked', 'HS512', 'alg none', 'forged'];

const cast = people('owner', 'member', 'stranger', 'admin');

/** A group of owner and member, with a message of the owner. */
async function group({ owner, member }) {
  const made = ok(await as(owner, 'POST', '/conversations', { participantIds: [member.id], type: 'group', name: unique('group') }), 201);
  const message = ok(await as(owner, 'POST', '/messages', { conversationId: made.id, content: 'hello' }), 201);
  return { id: made.id, message: message.id };
}

/** A room that the owner made. */
async function room({ owner }) {
  return ok(await as(owner, 'POST', '/api/rooms', { name: unique('room') }), 201);
}

const all = (status) => ({ owner: status, member: status, stranger: status, admin: status });
const members = (status) => ({ owner: status, member: status, stranger: 404, admin: 404 });
const owners = (status) => ({ owner: status, member: 403, stranger: 404, admin: 404 });
const makers = (status) => ({ owner: status, member: 403, stranger: 403, admin: status });

/** Takes a fresh account, for what would spoil the cast's. */
const fresh = (call) => async (world, actor) => {
  if (!KNOWN.includes(actor)) return call(world);
  const user = await register(actor);
  return { ...(await call(world, user)), token: user.token };
};

/**
 * Route → who gets what, and a way to call it: `(world, actor) → {path?, body?, token?}`. `open` routes ask nobody who they are;
 * `readable` ones ask those alone who say that they are somebody.
 */
const ROUTES = {
  'POST /auth/register': { open: 201, call: () => ({ body: newcomer() }) },
  'POST /auth/login': { open: 200, call: ({ owner }) => ({ body: { email: owner.email, password: owner.password } }) },
  'POST /auth/logout': { known: all(204), call: fresh(() => ({})) },
  'GET /auth/me': { known: all(200) },
  'PUT /auth/profile': { known: all(200), call: () => ({ body: { name: 'Somebody' } }) },
  'PUT /auth/change-password': {
    known: all(204),
    call: fresh((_, user) => ({ body: { currentPassword: user?.password ?? 'whatever', newPassword: 'another password' } })),
  },
  'PUT /auth/online-status': { known: all(200), call: () => ({ body: { isOnline: true } }) },
  'GET /users/search': { known: all(200), call: () => ({ path: '/users/search?q=own' }) },

  'POST /messages': {
    known: members(201),
    call: async (world) => ({ body: { conversationId: world.group.id, content: unique() } }),
  },
  'GET /messages/conversation/{id}': { known: members(200), call: ({ group: { id } }) => ({ path: `/messages/conversation/${id}` }) },
  'PUT /messages/mark-as-read': { known: members(200), call: ({ group: { id } }) => ({ body: { conversationId: id } }) },
  'PUT /messages/{id}': {
    known: owners(200),
    call: ({ group: { message } }) => ({ path: `/messages/${message}`, body: { content: unique() } }),
  },
  'DELETE /messages/{id}': { known: owners(200), call: async (world) => ({ path: `/messages/${(await group(world)).message}` }) },

  'POST /conversations': {
    known: { ...all(201) },
    call: ({ bystander }) => ({ body: { participantIds: [bystander.id], type: 'group' } }),
  },
  'GET /conversations': { known: all(200) },
  'GET /conversations/{id}': { known: members(200), call: ({ group: { id } }) => ({ path: `/conversations/${id}` }) },

  'POST /chats/conversations': {
    known: all(201),
    call: ({ bystander }) => ({ body: { participantIds: [bystander.id], type: 'group' } }),
  },
  'GET /chats/conversations': { known: all(200) },
  'GET /chats/conversations/{id}': { known: members(200), call: ({ group: { id } }) => ({ path: `/chats/conversations/${id}` }) },
  'GET /chats/conversations/{id}/messages': {
    known: members(200),
    call: ({ group: { id } }) => ({ path: `/chats/conversations/${id}/messages` }),
  },
  'POST /chats/conversations/{id}/read': { known: members(200), call: ({ group: { id } }) => ({ path: `/chats/conversations/${id}/read` }) },
  'POST /chats/conversations/{id}/participants': {
    known: owners(200),
    call: ({ group: { id }, bystander }) => ({ path: `/chats/conversations/${id}/participants`, body: { userIds: [bystander.id] } }),
  },
  'DELETE /chats/conversations/{id}/participants/{user}': {
    known: owners(204),
    call: async (world) => {
      const { id } = await group(world);
      ok(await as(world.owner, 'POST', `/chats/conversations/${id}/participants`, { userIds: [world.bystander.id] }), 200);
      return { path: `/chats/conversations/${id}/participants/${world.bystander.id}` };
    },
  },
  'POST /chats/conversations/{id}/leave': {
    known: members(204),
    call: async (world) => ({ path: `/chats/conversations/${(await group(world)).id}/leave` }),
  },
  'DELETE /chats/messages/{id}': { known: owners(200), call: async (world) => ({ path: `/chats/messages/${(await group(world)).message}` }) },

  'GET /api/rooms': { known: all(200), readable: 200 },
  'POST /api/rooms': { known: all(201), call: () => ({ body: { name: unique('room') } }) },
  'GET /api/rooms/{id}': { known: all(200), readable: 200, call: (world) => ({ path: `/api/rooms/${world.room.slug}` }) },
  'PUT /api/rooms/{id}': {
    known: makers(200),
    call: (world) => ({ path: `/api/rooms/${world.room.id}`, body: { description: unique() } }),
  },
  'DELETE /api/rooms/{id}': { known: makers(204), call: async (world) => ({ path: `/api/rooms/${(await room(world)).id}` }) },
  'GET /api/rooms/{id}/users': { known: all(200), readable: 200, call: (world) => ({ path: `/api/rooms/${world.room.id}/users` }) },
  'GET /api/rooms/system/stats': { known: all(200), readable: 200 },
  'POST /api/rooms/system/cleanup': { known: { ...all(403), admin: 200 } },

  'GET /health': { open: 200 },
  'GET /health/db': { open: 200 },
  'GET /api': { open: 200 },
  'GET /api/openapi.json': { open: 200 },
  'GET /api/asyncapi.json': { open: 200 },
  'GET /api/docs/{file}': { open: 200, call: () => ({ path: '/api/docs/start.js' }) },
};

let prepared;

/** The cast, what they have, and everybody's token. */
function world(t) {
  prepared ??= (async () => {
    const users = await cast();
    await promote(users.admin.id);
    const bystander = await register('bystander');
    const secret = jwtSecret();
    const leaver = await register('leaver');
    ok(await as(leaver, 'POST', '/auth/logout'), 204);
    const guest = await entered(t, 'public');
    const expired = { claims: { iat: seconds(-7200), exp: seconds(-3600) }, secret };
    const tokens = {
      guest: resign(users.owner.token, { claims: { sub: guest, jti: nobody() }, secret }),
      none: undefined,
      expired: resign(users.owner.token, expired),
      revoked: leaver.token,
      HS512: resign(users.owner.token, { algorithm: 'HS512', secret }),
      'alg none': resign(users.owner.token, { algorithm: 'none', secret }),
      forged: resign(users.owner.token, { secret: 'some other secret, long enough to count' }),
      ...Object.fromEntries(KNOWN.map((name) => [name, users[name].token])),
    };
    const made = { ...users, bystander, tokens };
    return { ...made, group: await group(made), room: await room(made) };
  })();
  return prepared;
}

function expected({ open, readable, known }, actor) {
  if (open) return open;
  if (KNOWN.includes(actor)) return known[actor];
  return actor === 'none' && readable ? readable : 401;
}

test('the table knows every route of the document, and no other', limit, async () => {
  const { all: documented } = await operations();
  assert.deepEqual(Object.keys(ROUTES).sort(), documented.map(({ name }) => name).sort());
});

test('the document says of each route whether it asks for a token', limit, async () => {
  for (const { name, operation } of (await operations()).all) {
    const { open, readable } = ROUTES[name];
    const ways = operation.security?.map((way) => Object.keys(way).join()) ?? ['nobody asks'];
    assert.deepEqual(ways, open ? ['nobody asks'] : readable ? ['token', ''] : ['token'], name);
  }
});

for (const [name, route] of Object.entries(ROUTES)) {
  test(`${name}: who may, and who may not`, limit, async (t) => {
    const here = await world(t);
    for (const [index, actor] of [...UNKNOWN, ...KNOWN].entries()) {
      const [method, pattern] = name.split(' ');
      const { path = pattern, body, token = here.tokens[actor] } = (await route.call?.(here, actor)) ?? {};
      const answer = await request(method, path, { token, body, gateway: index % 2 });
      const status = expected(route, actor);
      assert.equal(answer.status, status, `${actor}: ${answer.request}: ${answer.status} ${answer.text.slice(0, 300)}`);
      if (status === 401) {
        assert.equal(answer.body.code, 'UNAUTHORIZED');
        assert.equal(answer.headers.get('www-authenticate'), 'Bearer', actor);
      }
    }
  });
}

test('where there are no guests, nobody reads without a token', limit, async (t) => {
  const url = await privateGateway(t, { CONFAB_AUTH__GUESTS: 'false' });
  const { owner } = await cast();
  const document = await (await fetch(`${url}/api/openapi.json`)).json();
  for (const [name, { readable }] of Object.entries(ROUTES)) {
    if (!readable) continue;
    const path = name.split(' ')[1];
    assert.deepEqual(document.paths[path].get.security, [{ token: [] }], name);
    const target = `${url}${path.replace('{id}', 'public')}`;
    assert.equal((await fetch(target)).status, 401, name);
    assert.equal((await fetch(target, { headers: { authorization: `Bearer ${owner.token}` } })).status, 200, name);
  }
});
