// Who is online, as clients and REST tell it.

import assert from 'node:assert/strict';
import { until } from './away.js';
import { as, ok } from './rest.js';
import { id, keys, time } from './shapes.js';
import { once, quiet, received } from './socket.js';

/** How long somebody who went still counts as online, and how long it may take at the most until all know better. */
export const LINGER_MS = 5_000;
export const CONVERGED_MS = 10_000;

const WORDS = new Set(['onlineUsers', 'userStatusChanged', 'status:online', 'status:offline']);

/** `onlineUsers`. */
function onlineUsers(value) {
  assert.ok(Array.isArray(value), `onlineUsers: ${JSON.stringify(value)}`);
  for (const each of value) id(each, 'onlineUsers[…]');
  assert.equal(new Set(value).size, value.length, `each once: ${JSON.stringify(value)}`);
}

/** `userStatusChanged` of source 003. */
function userStatusChanged(value) {
  keys(value, ['userId', 'status', 'timestamp'], [], '(userStatusChanged)');
  id(value.userId, 'userId');
  assert.ok(['online', 'offline'].includes(value.status), `status ${value.status}`);
  time(value.timestamp, 'timestamp');
}

/** OnlineStatus of source 004, as `event` has it. */
function onlineStatus(value, event) {
  keys(value, ['userId', 'isOnline', 'lastSeen', 'userType'], [], '(OnlineStatus)');
  id(value.userId, 'userId');
  time(value.lastSeen, 'lastSeen');
  assert.deepEqual([value.isOnline, value.userType], [event === 'status:online', 'user'], event);
}

/**
 * All that `socket` was told of presence, in whichever dialect's words, checked: `{snapshot, at}` or `{userId, isOnline, when, at}`, with `isState`
 * where a dialect has no snapshots and is told of each user instead.
 */
export function news(socket) {
  return received(socket).flatMap(({ event, args, at }) => {
    if (!WORDS.has(event)) return [];
    const [value, ...more] = args;
    assert.deepEqual(more, [], `${event} is nothing that is recovered: it has no offset`);
    if (event === 'onlineUsers') {
      onlineUsers(value);
      return [{ snapshot: value, at }];
    }
    if (event === 'userStatusChanged') {
      userStatusChanged(value);
      return [{ userId: value.userId, isOnline: value.status === 'online', when: Date.parse(value.timestamp), at }];
    }
    onlineStatus(value, event);
    return [{ userId: value.userId, isOnline: value.isOnline, isState: true, when: Date.parse(value.lastSeen), at }];
  });
}

/** Who is online, for a client that puts together what it is told as source 003's hook does. */
export function online(socket) {
  let ids = new Set();
  for (const { snapshot, userId, isOnline } of news(socket)) {
    if (snapshot) ids = new Set(snapshot);
    else if (isOnline) ids.add(userId);
    else ids.delete(userId);
  }
  return ids;
}

/** The changes of `user` that `socket` was told of, in order. Whoever is told everything again, after its gateway stood still, is told no change. */
export const changes = (socket, user) =>
  news(socket)
    .filter(({ userId }) => userId === user.id)
    .filter(({ isOnline, isState }, index, all) => !isState || isOnline !== (all[index - 1]?.isOnline ?? false));

/** The same as words: `['online', 'offline']`. */
export const course = (socket, user) => changes(socket, user).map(({ isOnline }) => (isOnline ? 'online' : 'offline'));

/** Waits until `socket` has heard exactly this of `user`. */
export async function hears(socket, user, ...expected) {
  await until(() => course(socket, user).length >= expected.length, `${expected.join(', ')} of ${user.username}`).catch(() => {});
  assert.deepEqual(course(socket, user), expected, `what was told of ${user.username}`);
}

/** The ids of `users`, in their order. */
export const ids = (...users) => users.map((user) => user.id).sort();

/** Waits until `socket` is told that just these are online. It may have been told of others before: once more, if its gateway stood still. */
export async function isTold(socket, ...users) {
  const expected = ids(...users).join();
  let told;
  do told = [...(await once(socket, 'onlineUsers'))].sort().join();
  while (told !== expected);
}

/** Asserts that nobody told `socket` of anybody's presence, in no dialect's words. */
export function heardNothing(socket) {
  assert.deepEqual(received(socket).filter(({ event }) => WORDS.has(event)).map(({ event, args }) => [event, ...args]), []);
}

/** `user` as others find it: `{isOnline, lastSeen, …}`. */
export async function found(viewer, user, gateway = 0) {
  const users = ok(await as(viewer, 'GET', `/users/search?q=${encodeURIComponent(user.username)}&limit=100`, undefined, { gateway }), 200);
  const entry = users.find((each) => each.id === user.id);
  assert.ok(entry, `${user.username} is found`);
  return entry;
}

/** Waits until REST, on every gateway that is asked, shows each of `users` as online, or as offline. */
export async function shown(viewer, isOnline, users, gateways = [0, 1]) {
  for (const user of users) {
    for (const gateway of gateways) {
      await until(async () => (await found(viewer, user, gateway)).isOnline === isOnline || (await quiet(100)), `${user.username} isOnline: ${isOnline}`);
    }
  }
}
