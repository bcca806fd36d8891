// /api/rooms: public rooms through REST.

import assert from 'node:assert/strict';
import test from 'node:test';
import { people, nobody, unique } from './support/people.js';
import { as, failed, nextPage, ok, request } from './support/rest.js';
import { entered } from './support/rooms.js';
import * as shapes from './support/shapes.js';

const cast = people('ann', 'ben');
const limit = { timeout: 240_000 };
const ROOM = ['id', 'slug', 'name', 'description', 'maxUsers', 'userCount', 'createdBy', 'createdAt', 'lastActivity'];

test('a room is made, shown, changed and ended', limit, async () => {
  const { ann, ben } = await cast();
  const name = unique('Tea & Cake');
  const made = ok(await as(ann, 'POST', '/api/rooms', { name, description: ' for all ', maxUsers: 3 }), 201);
  shapes.keys(made, ROOM);
  assert.deepEqual([made.name, made.description, made.maxUsers, made.userCount, made.createdBy], [name, 'for all', 3, 0, ann.id]);
  assert.match(made.slug, /^tea-cake-[a-z0-9-]+$/);
  for (const reference of [made.id, made.slug]) {
    for (const gateway of [0, 1]) assert.deepEqual(ok(await request('GET', `/api/rooms/${reference}`, { gateway }), 200), made);
  }
  for (const messageIds of [undefined, []]) {
    assert.deepEqual(ok(await as(ben, 'PUT', '/messages/mark-as-read', { conversationId: made.id, messageIds }), 200), { unreadCount: 0 });
  }
  const changed = ok(await as(ann, 'PUT', `/api/rooms/${made.slug}`, { name: 'Coffee', description: null, maxUsers: null }), 200);
  assert.deepEqual([changed.name, changed.slug, changed.description, changed.maxUsers], ['Coffee', made.slug, null, null]);
  assert.deepEqual(ok(await as(ann, 'PUT', `/api/rooms/${made.id}`, {}), 200), changed);
  failed(await as(ben, 'PUT', `/api/rooms/${made.id}`, { name: 'Mine' }), 403, 'FORBIDDEN');
  failed(await as(ben, 'DELETE', `/api/rooms/${made.id}`), 403, 'FORBIDDEN');
  ok(await as(ann, 'DELETE', `/api/rooms/${made.id}`), 204);
  for (const reference of [made.id, made.slug]) failed(await as(ann, 'GET', `/api/rooms/${reference}`), 404, 'NOT_FOUND');
  failed(await as(ann, 'DELETE', `/api/rooms/${made.id}`), 404, 'NOT_FOUND');
});

test('names may repeat, slugs do not, and one that was given free is had again', limit, async () => {
  const { ann, ben } = await cast();
  const name = unique('Twin');
  const made = await Promise.all([ann, ben, ann].map((user, gateway) => as(user, 'POST', '/api/rooms', { name }, { gateway: gateway % 2 })));
  const rooms = made.map((answer) => ok(answer, 201));
  const [slug] = rooms.map((room) => room.slug).sort();
  assert.deepEqual(rooms.map((room) => room.slug).sort(), [slug, `${slug}-2`, `${slug}-3`]);
  const first = rooms.find((room) => room.slug === slug);
  ok(await as(first.createdBy === ann.id ? ann : ben, 'DELETE', `/api/rooms/${slug}`), 204);
  assert.equal(ok(await as(ben, 'POST', '/api/rooms', { name }), 201).slug, slug);
});

test('what cannot be a room is said field by field', limit, async () => {
  const { ann } = await cast();
  const details = (answer) => failed(answer, 400, 'VALIDATION_FAILED').details.map((detail) => detail.field);
  assert.deepEqual(details(await as(ann, 'POST', '/api/rooms', { description: 'x'.repeat(501), maxUsers: 0 })), ['name', 'description', 'maxUsers']);
  for (const maxUsers of ['5', 1.5, -1, 100_001, true]) {
    assert.deepEqual(details(await as(ann, 'POST', '/api/rooms', { name: 'x', maxUsers })), ['maxUsers']);
  }
  for (const reference of ['No-Such', 'a b', nobody(), 'x'.repeat(65)]) {
    failed(await as(ann, 'GET', `/api/rooms/${encodeURIComponent(reference)}`), 404, 'NOT_FOUND');
  }
});

test('public and lobby always exist', limit, async () => {
  const { ann } = await cast();
  for (const slug of ['public', 'lobby']) {
    assert.equal(ok(await request('GET', `/api/rooms/${slug}`), 200).slug, slug);
    failed(await as(ann, 'DELETE', `/api/rooms/${slug}`), 403, 'FORBIDDEN');
  }
});

test('the list shows all rooms, page by page', limit, async () => {
  const { ann } = await cast();
  const made = new Set();
  for (let n = 0; n < 5; n += 1) made.add(ok(await as(ann, 'POST', '/api/rooms', { name: unique('Listed') }), 201).id);
  const seen = [];
  let path = '/api/rooms?limit=2';
  for (let page = 0; path && made.size > 0 && page < 50; page += 1) {
    const answer = await request('GET', path, { gateway: page % 2 });
    for (const room of ok(answer, 200)) {
      shapes.keys(room, ROOM);
      assert.ok(!seen.includes(room.id), 'each once');
      seen.push(room.id);
      made.delete(room.id);
    }
    path = nextPage(answer);
  }
  assert.equal(made.size, 0);
});

test('those who are present are counted and listed', limit, async (t) => {
  const { ann } = await cast();
  const room = ok(await as(ann, 'POST', '/api/rooms', { name: unique('Busy') }), 201);
  const guests = [];
  for (let n = 0; n < 3; n += 1) guests.push(await entered(t, room.slug));
  assert.equal(ok(await request('GET', `/api/rooms/${room.id}`), 200).userCount, 3);
  const first = await request('GET', `/api/rooms/${room.slug}/users?limit=2`);
  const listed = [...ok(first, 200), ...ok(await request('GET', nextPage(first), { gateway: 1 }), 200)];
  assert.deepEqual(listed.map(({ id }) => id).sort(), guests.sort());
  for (const user of listed) {
    shapes.keys(user, ['id', 'username', 'name', 'avatar', 'isOnline', 'lastSeen', 'createdAt']);
    assert.equal(user.isOnline, true);
  }
});

test('the statistics have a figure for everything', limit, async () => {
  const stats = ok(await request('GET', '/api/rooms/system/stats'), 200);
  const figures = ['totalRooms', 'activeRooms', 'totalUsers', 'onlineUsers', 'totalMessages', 'messagesPerMinute', 'gateways', 'workers', 'uptimeSeconds'];
  shapes.keys(stats, figures);
  for (const figure of figures) assert.ok(stats[figure] >= 0, `${figure}: ${stats[figure]}`);
  assert.ok(stats.gateways >= 2 && stats.workers >= 1 && stats.totalRooms >= 2, JSON.stringify(stats));
});
