// The users and rooms of a run, made once in setup().
//
// Users are registered, or, where registering thousands would take its time (each password is hashed), taken from those that
// `confab-worker seed` made: with their password, or, given the cluster's secret, with tokens signed here.

import crypto from 'k6/crypto';
import encoding from 'k6/encoding';
import http from 'k6/http';
import { Api, json } from './api.js';
import { ofRoom } from './settings.js';

/** How many requests of setup are under way at a time. */
const AT_ONCE = 8;
/** Users as a search lists them. */
const PAGE = 100;
const TOKEN_SECONDS = 24 * 3600;

/** A run's users and rooms, for `roomOf` and `only`: `{run, rooms: [text]}`. Each VU gets a copy of it, and texts are small. */
export function populate(settings) {
  const run = Math.floor(Math.random() * 2 ** 40).toString(36).padStart(8, '0');
  const api = new Api(settings.urls);
  const users = people(api, settings, run);
  const rooms = Array.from({ length: settings.rooms }, (_, index) => ({
    members: Array.from({ length: settings.members }, (__, member) => index * settings.members + member),
  }));
  const made = inTurns(rooms, (room, index) => prepareRoom(api, ofRoom(settings, index).dialect, users, room, `k6 ${run} ${index}`));
  made.forEach((answer, index) => {
    const body = demand(answer, [200, 201], 'a room could not be made');
    rooms[index].id = body._id || body.id;
  });
  return { run, rooms: rooms.map(({ id, members }) => JSON.stringify({ id, users: members.map((member) => users[member]) })) };
}

/** One of a run's rooms with its members: `{id, users: [{id, username, token}]}`. */
export function roomOf({ rooms }, index) {
  return JSON.parse(rooms[index]);
}

/** The same for a VU that wants no other: it forgets them. */
export function only(population, index) {
  const room = roomOf(population, index);
  population.rooms = null;
  return room;
}

function prepareRoom(api, dialect, users, { members }, name) {
  const [owner, ...others] = members.map((member) => users[member]);
  if (dialect === 'rooms') return api.prepare('POST', '/api/rooms', { name: 'setup', token: owner.token, body: { name } });
  const body = { participantIds: others.map(({ id }) => id), type: 'group', name };
  return api.prepare('POST', '/conversations', { name: 'setup', token: owner.token, body });
}

function people(api, settings, run) {
  const { like, password, secret, most } = settings.accounts;
  if (like) return secret ? signed(api, settings) : loggedIn(api, named(settings), password);
  if (settings.users > most) {
    throw new Error(`USERS=${settings.users}: more than MAX_REGISTERED=${most} are not registered; have \`confab-worker seed --users\` make them, and give USERS_LIKE`);
  }
  const wanted = Array.from({ length: settings.users }, (_, index) => `k6_${run}_${index}`);
  const register = (username) => api.prepare('POST', '/auth/register', {
    name: 'setup', body: { email: `${username}@load.invalid`, username, password: `k6-${run}-password` },
  });
  return inTurns(wanted, register).map((answer) => account(demand(answer, [201], 'a user could not be registered')));
}

/** seed's users are called demo-<its run>-<number>. */
function named({ users, accounts }) {
  return Array.from({ length: users }, (_, index) => `${accounts.like}${index + 1}`);
}

function loggedIn(api, usernames, password) {
  const login = (username) => api.prepare('POST', '/auth/login', { name: 'setup', body: { email: `${username}@example.com`, password } });
  return inTurns(usernames, login).map((answer) => account(demand(answer, [200], 'a user could not log in')));
}

/** One logs in, finds the others, and their tokens are signed here. */
function signed(api, settings) {
  const { like, password, secret } = settings.accounts;
  const [first] = loggedIn(api, [`${like}1`], password);
  const found = [];
  let path = `/users/search?q=${encodeURIComponent(like)}&limit=${PAGE}`;
  while (path && found.length < settings.users) {
    const answer = api.request('GET', path, { name: 'setup', token: first.token });
    found.push(...demand(answer, [200], 'users could not be found'));
    const next = /<([^>]+)>; *rel="next"/.exec(answer.headers.Link || '');
    path = next && next[1];
  }
  if (found.length < settings.users) throw new Error(`USERS=${settings.users}: USERS_LIKE=${like} finds only ${found.length}`);
  return found.slice(0, settings.users).map(({ id, username }) => ({ id, username, token: token(id, secret) }));
}

function token(sub, secret) {
  const part = (value) => encoding.b64encode(JSON.stringify(value), 'rawurl');
  const now = Math.floor(Date.now() / 1000);
  const content = `${part({ typ: 'JWT', alg: 'HS256' })}.${part({ sub, iat: now, exp: now + TOKEN_SECONDS })}`;
  return `${content}.${crypto.hmac('sha256', secret, content, 'base64rawurl')}`;
}

function account({ user, accessToken }) {
  return { id: user.id, username: user.username, token: accessToken };
}

function inTurns(items, prepare) {
  const answers = [];
  for (let at = 0; at < items.length; at += AT_ONCE) {
    answers.push(...http.batch(items.slice(at, at + AT_ONCE).map((item, index) => prepare(item, at + index))));
  }
  return answers;
}

function demand(answer, statuses, complaint) {
  const body = json(answer);
  if (statuses.includes(answer.status) && body) return body;
  if (answer.status === 429) {
    throw new Error(`${complaint}: the cluster limits rates; start it with CONFAB_RATE_LIMITS__ENABLED=false, or with the higher limits that loadtest/README.md names`);
  }
  throw new Error(`${complaint}: ${answer.status} ${answer.error || String(answer.body).slice(0, 300)}`);
}
