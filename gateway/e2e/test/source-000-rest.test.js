// Source 000's REST table, its health check and statistics, and its CORS policy.

import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from './support/away.js';
import { gatewayUrl, state } from './support/cluster.js';
import { allows, preflight } from './support/cors.js';
import { client } from './support/dialects.js';
import { curl } from './support/documented.js';
import { privateGateway } from './support/gateways.js';
import { nobody, people, slug, unique } from './support/people.js';
import { as, failed, nextPage, ok, request } from './support/rest.js';
import { id, keys, time } from './support/shapes.js';
import { succeed } from './support/socket.js';
import { promote } from './support/truth.js';

const cast = people('ann', 'ben', 'adm');
const limit = { timeout: 360_000 };
const SLUG = /^[a-z0-9][a-z0-9_-]{0,63}$/;

function room(value) {
  keys(value, ['id', 'slug', 'name', 'description', 'maxUsers', 'userCount', 'createdBy', 'createdAt', 'lastActivity'], [], '(room)');
  id(value.id, 'id');
  assert.match(value.slug, SLUG);
  id(value.name, 'name');
  assert.ok(Number.isSafeInteger(value.userCount) && value.userCount >= 0, `userCount ${value.userCount}`);
  time(value.createdAt, 'createdAt');
  time(value.lastActivity, 'lastActivity');
  return value;
}

async function create(user, more = {}, options) {
  return room(ok(await as(user, 'POST', '/api/rooms', { name: unique('Room'), ...more }, options), 201));
}

const shown = async (idOrSlug, gateway = 0) => room(ok(await request('GET', `/api/rooms/${idOrSlug}`, { gateway }), 200));

test('GET /api/rooms lists all chat rooms, page by page, open to guests', limit, async () => {
  const { ann } = await cast();
  const mine = [];
  for (let index = 0; index < 3; index += 1) mine.push((await create(ann)).id);
  const found = [];
  let path = '/api/rooms?limit=2';
  for (let pages = 0; path && pages < 2_000; pages += 1) {
    const answer = await request('GET', path, { gateway: pages % 2 });
    const rooms = ok(answer, 200);
    assert.ok(Array.isArray(rooms), 'a bare array');
    rooms.forEach(room);
    found.push(...rooms.map((entry) => entry.id));
    path = nextPage(answer)?.replace(/limit=2\b/, 'limit=100');
  }
  for (const wanted of mine) assert.equal(found.filter((entry) => entry === wanted).length, 1, 'each once');
  const slugs = ok(await request('GET', '/api/rooms?limit=100'), 200);
  assert.ok(slugs.length <= 100);
  for (const bad of ['0', 'x', '-1', '']) failed(await request('GET', `/api/rooms?limit=${bad}`), 400, 'VALIDATION_FAILED');
  failed(await request('GET', '/api/rooms?cursor=nonsense'), 400, 'VALIDATION_FAILED');
});

test('POST /api/rooms creates a new room', limit, async () => {
  const { ann } = await cast();
  const name = unique('Support Room');
  const made = await create(ann, { name, description: 'Where help is', maxUsers: 25 });
  assert.deepEqual(
    [made.name, made.description, made.maxUsers, made.userCount, made.createdBy],
    [name, 'Where help is', 25, 0, ann.id],
  );
  for (const gateway of [0, 1]) {
    assert.deepEqual(await shown(made.id, gateway), made);
    assert.deepEqual(await shown(made.slug, gateway), made, 'by its slug as well');
  }
  const bare = await create(ann);
  assert.equal(bare.description, null);
});

test('names may repeat, slugs do not, though many ask at once', limit, async () => {
  const { ann } = await cast();
  const name = unique('Same Name');
  const made = await Promise.all(Array.from({ length: 6 }, (_, index) => create(ann, { name }, { gateway: index % 2 })));
  for (const one of made) assert.equal(one.name, name);
  assert.equal(new Set(made.map((one) => one.slug)).size, made.length, made.map((one) => one.slug).join(' '));
  for (const odd of ['Ünïcödé ✓', '漢字', '...', 'UPPER', 'x'.repeat(100)]) assert.match((await create(ann, { name: odd })).slug, SLUG);
});

test('what is wrong with a room is said field by field', limit, async () => {
  const { ann } = await cast();
  const made = await create(ann);
  const bad = {
    name: [7, '', '   ', 'x'.repeat(101), 'nul\u0000'],
    description: [7, {}, 'x'.repeat(501), 'nul\u0000'],
    maxUsers: [0, -1, 1.5, '7', {}],
  };
  for (const [field, values] of Object.entries(bad)) {
    for (const value of values) {
      for (const answer of [
        await as(ann, 'POST', '/api/rooms', { name: unique('room'), [field]: value }),
        await as(ann, 'PUT', `/api/rooms/${made.id}`, { [field]: value }, { gateway: 1 }),
      ]) {
        const body = failed(answer, 400, 'VALIDATION_FAILED');
        assert.ok(JSON.stringify(body.details ?? '').includes(field), `${field}=${JSON.stringify(value)}: ${answer.text}`);
      }
    }
  }
  for (const body of [{}, { name: null }]) failed(await as(ann, 'POST', '/api/rooms', body), 400, 'VALIDATION_FAILED');
  assert.deepEqual(await shown(made.id), made);
});

test('GET /api/rooms/:id, and what is not there', limit, async () => {
  for (const fixed of ['public', 'lobby']) assert.equal((await shown(fixed)).slug, fixed);
  for (const missing of [nobody(), slug('missing'), 'Not%20a%20slug']) {
    failed(await request('GET', `/api/rooms/${missing}`), 404, 'NOT_FOUND');
    failed(await request('GET', `/api/rooms/${missing}/users`), 404, 'NOT_FOUND');
  }
});

test('PUT and DELETE /api/rooms/:id are for its creator and for administrators', limit, async () => {
  const { ann, ben, adm } = await cast();
  await promote(adm.id);
  const made = await create(ann);
  failed(await as(ben, 'PUT', `/api/rooms/${made.id}`, { name: 'mine now' }, { gateway: 1 }), 403, 'FORBIDDEN');
  failed(await as(ben, 'DELETE', `/api/rooms/${made.id}`), 403, 'FORBIDDEN');
  for (const [method, body] of [['PUT', { name: 'mine now' }], ['DELETE', undefined]]) {
    failed(await request(method, `/api/rooms/${made.id}`, { body }), 401, 'UNAUTHORIZED');
    failed(await as(ann, method, `/api/rooms/${nobody()}`, body), 404, 'NOT_FOUND');
  }
  for (const [index, user] of [ann, adm].entries()) {
    const name = unique('Renamed');
    const changed = room(ok(await as(user, 'PUT', `/api/rooms/${made.id}`, { name, description: `by ${index}`, maxUsers: 7 + index }, { gateway: index }), 200));
    assert.deepEqual([changed.id, changed.name, changed.description, changed.maxUsers], [made.id, name, `by ${index}`, 7 + index]);
    assert.deepEqual([changed.createdBy, changed.slug], [ann.id, made.slug]);
    assert.equal((await shown(made.id, 1 - index)).name, name);
  }
  ok(await as(ann, 'DELETE', `/api/rooms/${made.id}`, undefined, { gateway: 1 }), 204);
  for (const gone of [made.id, made.slug]) failed(await request('GET', `/api/rooms/${gone}`), 404, 'NOT_FOUND');
  failed(await as(ann, 'DELETE', `/api/rooms/${made.id}`), 404, 'NOT_FOUND');
  const second = await create(ann);
  ok(await as(adm, 'DELETE', `/api/rooms/${second.id}`), 204);
});

test('GET /api/rooms/:id/users tells who is present, on every gateway', limit, async (t) => {
  const { ann, ben } = await cast();
  const made = await create(ann);
  const sockets = await Promise.all(state.gateways.map((_, gateway) => client(t, 'rooms', ann, { gateway, direct: true })));
  const b = await client(t, 'rooms', ben, { gateway: 1, direct: true });
  for (const socket of [...sockets, b]) await succeed(socket, 'chat.addUser', { roomId: made.slug });
  const present = async (gateway) => {
    const answer = await request('GET', `/api/rooms/${made.id}/users`, { gateway });
    const users = ok(answer, 200);
    assert.ok(Array.isArray(users), 'a bare array');
    for (const account of [ann, ben]) assert.ok(!answer.text.includes(account.email), 'without anybody’s email');
    const { userCount } = await shown(made.id, gateway);
    return [userCount, ...users.map((user) => user.id).sort()].join(' ');
  };
  const both = [2, ...[ann.id, ben.id].sort()].join(' ');
  for (const gateway of [0, 1]) await until(async () => (await present(gateway)) === both, `both are present, says gateway ${gateway}`);
  await succeed(b, 'chat.removeUser', { roomId: made.slug });
  for (const gateway of [0, 1]) await until(async () => (await present(gateway)) === `1 ${ann.id}`, `ann alone, says gateway ${gateway}`);
});

test('GET /api/rooms/system/stats', limit, async () => {
  const { ann } = await cast();
  const stats = async (gateway) => ok(await as(ann, 'GET', '/api/rooms/system/stats', undefined, { gateway }), 200);
  for (const gateway of [0, 1]) {
    await until(async () => (await stats(gateway)).gateways >= state.gateways.length, `all gateways, says gateway ${gateway}`);
    const told = ok(await curl('curl http://localhost:3001/api/rooms/system/stats', { base: gatewayUrl(gateway) }), 200);
    keys(told, [
      'totalRooms', 'activeRooms', 'totalUsers', 'onlineUsers', 'totalMessages', 'messagesPerMinute', 'gateways', 'workers', 'uptimeSeconds',
    ]);
    for (const [name, value] of Object.entries(told)) assert.ok(Number.isFinite(value) && value >= 0, `${name}: ${value}`);
    assert.ok(told.totalRooms >= 2 && told.activeRooms <= told.totalRooms, 'public and lobby at least');
    assert.ok(told.gateways >= state.gateways.length, `${told.gateways} gateways`);
    assert.ok(told.workers >= 1, `${told.workers} workers`);
    assert.ok(told.totalUsers >= 1);
  }
  const before = await stats(0);
  // Others make rooms and remove them at the same time.
  await until(async () => {
    await create(ann);
    return (await stats(0)).totalRooms > before.totalRooms;
  }, 'a room more');
});

test('POST /api/rooms/system/cleanup is an administrator’s', limit, async () => {
  const { ann, adm } = await cast();
  await promote(adm.id);
  failed(await request('POST', '/api/rooms/system/cleanup'), 401, 'UNAUTHORIZED');
  failed(await as(ann, 'POST', '/api/rooms/system/cleanup'), 403, 'FORBIDDEN');
  const kept = await create(ann);
  for (const gateway of [0, 1]) {
    const cleaned = ok(await as(adm, 'POST', '/api/rooms/system/cleanup', undefined, { gateway }), 200, 201);
    keys(cleaned, ['removedSessions', 'removedRooms']);
    for (const [name, value] of Object.entries(cleaned)) assert.ok(Number.isSafeInteger(value) && value >= 0, `${name}: ${value}`);
  }
  assert.deepEqual((await shown(kept.id)).id, kept.id, 'a room that was just made stays');
  for (const fixed of ['public', 'lobby']) await shown(fixed);
});

test('GET /health', limit, async () => {
  for (const gateway of [0, 1]) {
    const health = ok(await curl('curl http://localhost:3001/health', { base: gatewayUrl(gateway) }), 200);
    keys(health, ['status', 'version', 'uptime', 'checks']);
    keys(health.checks, ['redis', 'database']);
  }
});

test('everything but the GETs needs a token', limit, async () => {
  for (const [method, path, body] of [
    ['POST', '/api/rooms', { name: 'x' }], ['PUT', '/api/rooms/public', { name: 'x' }], ['DELETE', '/api/rooms/public'],
    ['POST', '/api/rooms/system/cleanup'],
  ]) {
    failed(await request(method, path, { body }), 401, 'UNAUTHORIZED');
    failed(await request(method, path, { body, token: 'garbage', gateway: 1 }), 401, 'UNAUTHORIZED');
  }
});

test('the CORS policy: FRONTEND_URL, its methods, credentials', limit, async (t) => {
  const origin = 'http://localhost:3000';
  const url = await privateGateway(t, { CORS_ORIGIN: undefined, FRONTEND_URL: origin });
  for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
    const answer = await preflight(url, '/api/rooms', origin, method);
    allows(answer, origin);
    assert.ok((answer.headers.get('access-control-allow-methods') ?? '').includes(method), method);
    assert.equal(answer.headers.get('access-control-allow-credentials'), 'true');
  }
  const stranger = await preflight(url, '/api/rooms', 'http://evil.example', 'GET');
  assert.equal(stranger.headers.get('access-control-allow-origin'), null);
});
