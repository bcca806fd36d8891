// Users of the tests: registered through REST, named so that runs never meet.

import { randomBytes, randomUUID } from 'node:crypto';
import { ok, request } from './rest.js';

const run = randomBytes(4).toString('hex');
let count = 0;

/** Details of an account that does not exist yet. */
export function newcomer(name = 'user') {
  count += 1;
  const username = `${name}_${run}_${count}`;
  return { email: `${username}@example.com`, username, password: `secret-of-${username}`, name: `${name} ${run}` };
}

/** Registers one user: `{id, token, email, username, password, name}`. */
export async function register(name = 'user', { gateway } = {}) {
  const account = newcomer(name);
  const answer = ok(await request('POST', '/auth/register', { body: account, gateway }), 201);
  return { ...account, id: answer.user.id, token: answer.accessToken };
}

/**
 * A file's cast, registered at the first call and shared by its tests: hashing a password is the dearest thing the
 * suite asks for, and a fresh conversation separates tests well enough.
 */
export function people(...names) {
  let cast;
  return () =>
    (cast ??= Promise.all(names.map((name) => register(name))).then((users) =>
      Object.fromEntries(names.map((name, index) => [name, users[index]])),
    ));
}

/** A well-formed id that nobody has. */
export function nobody() {
  return randomUUID();
}

/** A string that no other test sends. */
export function unique(prefix = 'text') {
  count += 1;
  return `${prefix} ${run} ${count}`;
}

/** A room's slug that no other test has. */
export function slug(prefix = 'room') {
  count += 1;
  return `${prefix}-${run}-${count}`;
}

/** Logs `user` in once more: the same person, with a token of its own. */
export async function login(user, { password = user.password, gateway } = {}) {
  const answer = ok(await request('POST', '/auth/login', { body: { email: user.email, password }, gateway }), 200);
  return { ...user, password, token: answer.accessToken };
}
