// Source 001: its example flow with curl, its tables of endpoints row by row, its CORS section.

import assert from 'node:assert/strict';
import test from 'node:test';
import { allows, preflight, shake, upgrade } from './support/cors.js';
import { curl } from './support/documented.js';
import { privateGateway } from './support/gateways.js';
import { newcomer, people, register, unique } from './support/people.js';
import { as, failed, ok, request } from './support/rest.js';
import { keys, page, restMessage, user as userShape } from './support/shapes.js';

const cast = people('ann', 'ben', 'cat');
const limit = { timeout: 360_000 };

/** A table as the document has it: `{method, path, description, auth}` of each row. */
function table(text) {
  return text.trim().split('\n').map((line) => {
    const [, method, path, description, auth] = /^\| (\w+) \| `([^`]+)` \| (.+?) \| (Yes|No) \|$/.exec(line);
    return { method, path, description, auth };
  });
}

const TABLES = {
  authentication: table(`
| POST | \`/auth/register\` | Register new user | No |
| POST | \`/auth/login\` | User login | No |
| GET | \`/auth/me\` | Get current user profile | Yes |
| PUT | \`/auth/profile\` | Update user profile | Yes |
| PUT | \`/auth/change-password\` | Change password | Yes |
| PUT | \`/auth/online-status\` | Update online status | Yes |
`),
  users: table(`
| GET | \`/users/search?q={query}\` | Search users | Yes |
`),
  messages: table(`
| POST | \`/messages\` | Create new message | Yes |
| GET | \`/messages/conversation/{id}\` | Get conversation messages | Yes |
| PUT | \`/messages/{id}\` | Update message | Yes |
| DELETE | \`/messages/{id}\` | Delete message | Yes |
| PUT | \`/messages/mark-as-read\` | Mark messages as read | Yes |
`),
  conversations: table(`
| POST | \`/conversations\` | Create new conversation | Yes |
| GET | \`/conversations\` | Get user conversations | Yes |
| GET | \`/conversations/{id}\` | Get conversation details | Yes |
`),
  health: table(`
| GET | \`/health\` | Application health check | No |
| GET | \`/health/db\` | Database health check | No |
`),
};
const EVERY_ROW = Object.values(TABLES).flat();

/** Calls the row of that description as `user`; every call goes to another gateway than the one before. */
let turn = 0;
function row(user, description, { id, query, body } = {}) {
  const { method, path } = EVERY_ROW.find((entry) => entry.description === description);
  turn += 1;
  const real = path.replace('{id}', id).replace('{query}', encodeURIComponent(query));
  return request(method, real, { token: user?.token, body, gateway: turn % 2 });
}

function grant(body, account) {
  keys(body, ['user', 'accessToken', 'tokenType', 'expiresIn']);
  userShape(body.user);
  assert.deepEqual([body.user.email, body.user.username, body.tokenType], [account.email, account.username, 'Bearer']);
  assert.ok(Number.isInteger(body.expiresIn) && body.expiresIn > 0);
  return body;
}

/** A conversation of ann and ben with some messages of ann's: its id and theirs. */
async function talk(count = 3) {
  const { ann, ben } = await cast();
  const body = { participantIds: [ben.id], type: 'group', name: unique('talk') };
  const id = ok(await row(ann, 'Create new conversation', { body }), 201).id;
  const messages = [];
  for (let index = 0; index < count; index += 1) {
    messages.push(ok(await row(ann, 'Create new message', { body: { conversationId: id, content: `message ${index}` } }), 201));
  }
  return { ann, ben, id, messages };
}

test('the example authentication flow', limit, async () => {
  const { email, username } = newcomer();
  const own = (command) => command.replaceAll('user@example.com', email).replaceAll('johndoe', username);

  // 1. Register a new user
  const registered = await curl(own(`curl -X POST http://localhost:3000/auth/register \\
  -H "Content-Type: application/json" \\
  -d '{
    "email": "user@example.com",
    "username": "johndoe",
    "password": "securepassword"
  }'`));
  grant(ok(registered, 201), { email, username });

  // 2. Login
  const loggedIn = await curl(own(`curl -X POST http://localhost:3000/auth/login \\
  -H "Content-Type: application/json" \\
  -d '{
    "email": "user@example.com",
    "password": "securepassword"
  }'`));
  const { accessToken, user } = grant(ok(loggedIn, 200), { email, username });

  // 3. Use the token for authenticated requests
  const me = await curl(`curl -X GET http://localhost:3000/auth/me \\
  -H "Authorization: Bearer <your-jwt-token>"`.replace('<your-jwt-token>', accessToken));
  const body = ok(me, 200);
  userShape(body);
  assert.deepEqual([body.id, body.email, body.username], [user.id, email, username]);
});

test('"Auth Required", row by row', limit, async () => {
  assert.equal(EVERY_ROW.length, 17);
  for (const { description, method, auth } of EVERY_ROW) {
    const body = method === 'GET' || method === 'DELETE' ? undefined : {};
    for (const token of [undefined, '<your-jwt-token>']) {
      const answer = await row(token && { token }, description, { id: '1', query: 'x', body });
      if (auth === 'Yes') failed(answer, 401, 'UNAUTHORIZED');
      else assert.notEqual(answer.status, 401, `${answer.request}: ${answer.text}`);
    }
  }
});

test('Authentication: register, login, me, profile', limit, async () => {
  const account = newcomer('profile');
  const { accessToken: token } = grant(ok(await row(undefined, 'Register new user', { body: account }), 201), account);
  grant(ok(await row(undefined, 'User login', { body: account }), 200), account);
  const me = ok(await row({ token }, 'Get current user profile'), 200);
  assert.deepEqual([me.name, me.avatar], [account.name, null]);

  const { username } = newcomer('renamed');
  const changes = { username, name: 'John Doe', avatar: 'https://example.com/john.png' };
  const changed = ok(await row({ token }, 'Update user profile', { body: changes }), 200);
  userShape(changed);
  assert.deepEqual(changed, { ...changed, ...changes, id: me.id, email: account.email });
  const partly = ok(await row({ token }, 'Update user profile', { body: { name: 'Jack' } }), 200);
  assert.deepEqual([partly.username, partly.name, partly.avatar], [username, 'Jack', changes.avatar]);
  for (let gateway = 0; gateway < 2; gateway += 1) {
    assert.deepEqual(ok(await request('GET', '/auth/me', { token, gateway }), 200).username, username);
  }
  const { ann } = await cast();
  failed(await row({ token }, 'Update user profile', { body: { username: ann.username.toUpperCase() } }), 409, 'CONFLICT');
  for (const [field, value] of [['username', 'ab'], ['username', 'with space'], ['name', 'x'.repeat(101)], ['avatar', 7]]) {
    const { details } = failed(await row({ token }, 'Update user profile', { body: { [field]: value } }), 400, 'VALIDATION_FAILED');
    assert.ok(JSON.stringify(details).includes(field), field);
  }
});

test('Authentication: change-password, online-status', limit, async () => {
  const account = await register('changer');
  const newPassword = 'a-better-password';
  for (const body of [{ currentPassword: 'not it, certainly', newPassword }, { currentPassword: account.password, newPassword: 'short' }, {}]) {
    failed(await row(account, 'Change password', { body }), 400, 'VALIDATION_FAILED');
  }
  ok(await row(account, 'Change password', { body: { currentPassword: account.password, newPassword } }), 204);
  failed(await row(undefined, 'User login', { body: account }), 401, 'UNAUTHORIZED');
  grant(ok(await row(undefined, 'User login', { body: { email: account.email, password: newPassword } }), 200), account);

  for (const isOnline of [false, true]) {
    const body = ok(await row(account, 'Update online status', { body: { isOnline } }), 200);
    userShape(body);
    assert.equal(body.id, account.id);
  }
  for (const body of [{}, { isOnline: 'yes' }]) failed(await row(account, 'Update online status', { body }), 400, 'VALIDATION_FAILED');
});

test('Users: search', limit, async () => {
  const [one, two] = await Promise.all([register('Searched'), register('Searched')]);
  const find = async (query) => {
    const users = ok(await row(one, 'Search users', { query }), 200);
    assert.ok(Array.isArray(users), 'a bare array');
    for (const found of users) {
      keys(found, ['id', 'username', 'name', 'avatar', 'isOnline', 'lastSeen', 'createdAt'], [], '(a user without email)');
    }
    return users.map(({ id }) => id);
  };
  const prefix = one.username.replace(/_\d+$/, '');
  const both = await find(prefix.toUpperCase());
  for (const account of [one, two]) assert.ok(both.includes(account.id), 'by the beginning of the username, in any case');
  assert.deepEqual(await find(two.username), [two.id]);
  assert.deepEqual(await find(two.email.slice(0, two.email.indexOf('@') + 3)), [two.id], 'by email');
  assert.deepEqual(await find('%'), [], 'no wildcard');
  assert.deepEqual(await find(prefix.slice(1)), [], 'a prefix, not a part');
  failed(await row(one, 'Search users', { query: '' }), 400, 'VALIDATION_FAILED');
  failed(await as(one, 'GET', '/users/search'), 400, 'VALIDATION_FAILED');
  const limited = await as(one, 'GET', `/users/search?q=${prefix}&limit=1`);
  assert.equal(ok(limited, 200).length, 1);
  failed(await as(one, 'GET', `/users/search?q=${prefix}&limit=0`), 400, 'VALIDATION_FAILED');
});

test('Messages: create, get, update, delete', limit, async () => {
  const { ann, ben, id, messages } = await talk();
  messages.forEach(restMessage);
  assert.deepEqual(messages.map(({ content }) => content), ['message 0', 'message 1', 'message 2']);
  for (const message of messages) {
    assert.deepEqual(
      [message.senderId, message.conversationId, message.messageType, message.isEdited, message.isDeleted],
      [ann.id, id, 'text', false, false],
    );
  }
  const shown = ok(await row(ben, 'Get conversation messages', { id }), 200);
  page(shown, restMessage);
  assert.deepEqual(shown.messages.map((message) => message.id), messages.map((message) => message.id).reverse());

  const edited = ok(await row(ann, 'Update message', { id: messages[0].id, body: { content: 'improved' } }), 200);
  restMessage(edited);
  assert.deepEqual([edited.id, edited.content, edited.isEdited], [messages[0].id, 'improved', true]);
  failed(await row(ben, 'Update message', { id: messages[0].id, body: { content: 'not mine' } }), 403, 'FORBIDDEN');
  failed(await row(ben, 'Delete message', { id: messages[1].id }), 403, 'FORBIDDEN');
  const tombstone = ok(await row(ann, 'Delete message', { id: messages[1].id }), 200);
  assert.deepEqual([tombstone.id, tombstone.isDeleted, Boolean(tombstone.content)], [messages[1].id, true, false]);

  const after = ok(await row(ben, 'Get conversation messages', { id }), 200).messages;
  assert.deepEqual(after.map((message) => message.isDeleted), [false, true, false]);
  assert.equal(after[2].content, 'improved');
  const { cat } = await cast();
  failed(await row(cat, 'Get conversation messages', { id }), 404, 'NOT_FOUND');
  failed(await row(cat, 'Create new message', { body: { conversationId: id, content: 'let me in' } }), 404, 'NOT_FOUND');
});

test('Messages: mark-as-read', limit, async () => {
  const { ann, ben, id, messages } = await talk(4);
  const unread = async () => ok(await row(ben, 'Get conversation details', { id }), 200).unreadCount;
  assert.equal(await unread(), 4);
  const partly = ok(await row(ben, 'Mark messages as read', { body: { conversationId: id, messageIds: [messages[1].id, messages[0].id] } }), 200);
  assert.deepEqual(partly, { unreadCount: 2 });
  assert.equal(await unread(), 2);
  const seen = ok(await row(ann, 'Get conversation messages', { id }), 200).messages.map((message) => message.isRead);
  assert.deepEqual(seen, [false, false, true, true], 'one’s own are read when all others have read them');
  assert.deepEqual(ok(await row(ben, 'Mark messages as read', { body: { conversationId: id } }), 200), { unreadCount: 0 });
  assert.equal(await unread(), 0);
  failed(await row(ben, 'Mark messages as read', { body: {} }), 400, 'VALIDATION_FAILED');
});

test('Conversations: create, list, details', limit, async () => {
  const [one, two] = await Promise.all([register('one'), register('two')]);
  const body = { participantIds: [two.id] };
  const made = ok(await row(one, 'Create new conversation', { body }), 201);
  const again = ok(await row(two, 'Create new conversation', { body: { participantIds: [one.id] } }), 200);
  assert.equal(again.id, made.id, 'a direct conversation that exists');
  const later = ok(await row(one, 'Create new conversation', { body: { ...body, type: 'group', name: 'later' } }), 201);
  const message = ok(await row(two, 'Create new message', { body: { conversationId: made.id, content: 'latest' } }), 201);
  const listed = ok(await row(one, 'Get user conversations'), 200);
  assert.deepEqual(listed.map(({ id }) => id), [made.id, later.id], 'latest activity first');
  assert.deepEqual([listed[0].lastMessage.id, listed[0].unreadCount, listed[1].lastMessage], [message.id, 1, null]);
  assert.deepEqual(listed[0].participants.map(({ id }) => id).sort(), [one.id, two.id].sort());
  const details = ok(await row(one, 'Get conversation details', { id: made.id }), 200);
  assert.deepEqual([details.id, details.type], [made.id, 'direct']);
});

test('Health', limit, async () => {
  for (let round = 0; round < 2; round += 1) {
    const health = ok(await row(undefined, 'Application health check'), 200);
    keys(health, ['status', 'version', 'uptime', 'checks']);
    keys(health.checks, ['redis', 'database']);
    ok(await row(undefined, 'Database health check'), 200);
  }
});

/** Asserts what pages of `origin` may do at `url`, over HTTP and over both transports of a socket. */
async function isAllowed(t, url, origin, allowed) {
  const answer = await preflight(url, '/auth/login', origin, 'POST');
  const handshake = await shake(url, origin);
  const status = await upgrade(t, url, origin);
  if (allowed) {
    allows(answer, origin);
    assert.deepEqual([handshake.status, handshake.headers.get('access-control-allow-origin'), status], [200, origin, 101], origin);
  } else {
    assert.equal(answer.headers.get('access-control-allow-origin'), null, `no leave for ${origin}`);
    assert.equal(handshake.headers.get('access-control-allow-origin'), null);
    assert.deepEqual([handshake.status, handshake.body?.code, status], [403, 4, 403], origin);
  }
}

test('CORS configuration', { concurrency: 4, timeout: 480_000 }, async (t) => {
  const at = (CORS_ORIGIN) => privateGateway(t, { CORS_ORIGIN, FRONTEND_URL: undefined });
  const strangers = ['http://evil.example', 'http://localhost:3001', 'https://localhost:3000', 'http://localhost:3000.evil.example', 'null'];
  const tests = [];
  const check = (name, body) => tests.push(t.test(name, limit, body));

  check('a single origin', async (t) => {
    const url = await at('http://localhost:3000');
    await isAllowed(t, url, 'http://localhost:3000', true);
    for (const origin of strangers) await isAllowed(t, url, origin, false);
  });

  check('several origins, separated by commas without spaces', async (t) => {
    const origins = ['http://localhost:3000', 'http://localhost:5173', 'https://yourdomain.com'];
    const url = await at(origins.join(','));
    for (const origin of origins) await isAllowed(t, url, origin, true);
    for (const origin of ['http://yourdomain.com', 'https://sub.yourdomain.com', ...strangers]) await isAllowed(t, url, origin, false);
  });

  check('all origins, for development: without credentials', async (t) => {
    const url = await at('*');
    const answer = await preflight(url, '/auth/login', 'http://anywhere.example', 'POST');
    assert.ok(['*', 'http://anywhere.example'].includes(answer.headers.get('access-control-allow-origin')));
    assert.equal(answer.headers.get('access-control-allow-credentials'), null);
    assert.equal((await shake(url, 'http://anywhere.example')).status, 200);
    assert.equal(await upgrade(t, url, 'http://anywhere.example'), 101);
  });

  check('the fallback where nothing is set', async (t) => {
    const url = await at(undefined);
    await isAllowed(t, url, 'http://localhost:5173', true);
  });

  check('no browser, no origin, no question', async (t) => {
    const url = await at('https://yourdomain.com');
    assert.equal((await shake(url)).status, 200);
    assert.equal(await upgrade(t, url), 101);
    ok(await request('GET', '/health'), 200);
  });

  await Promise.all(tests);
});
