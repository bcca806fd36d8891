// What PostgreSQL says. The only module that knows table names.

import assert from 'node:assert/strict';
import pg from 'pg';
import { PATIENCE_MS, state } from './cluster.js';
import { as, ok } from './rest.js';

const pool = new pg.Pool({ connectionString: state.postgres.url, max: 2, allowExitOnIdle: true, connectionTimeoutMillis: PATIENCE_MS });

async function rows(sql, ...values) {
  return (await pool.query(sql, values)).rows;
}

/** Stored messages of a conversation in its order: `{id, seq, ordinal, sender_id, content, deleted}`. */
export async function storedMessages(conversationId) {
  const found = await rows(
    `SELECT id::text AS id, seq::int AS seq, ordinal::int AS ordinal, sender_id::text AS sender_id, content,
            deleted_at IS NOT NULL AS deleted
       FROM messages WHERE conversation_id = $1 ORDER BY seq`,
    conversationId,
  );
  return found;
}

/** `{last_seq, message_count}` of a conversation. */
export async function counters(conversationId) {
  const [found] = await rows(
    'SELECT last_seq::int AS last_seq, message_count::int AS message_count FROM conversations WHERE id = $1',
    conversationId,
  );
  return found;
}

/** How many conversations `userId` is a member of. */
export async function membershipCount(userId) {
  const [found] = await rows('SELECT count(*)::int AS n FROM memberships WHERE user_id = $1 AND left_at IS NULL', userId);
  return found.n;
}

/** Roles of a conversation's present members, by user id. */
export async function roles(conversationId) {
  const found = await rows(
    'SELECT user_id::text AS id, role::text AS role FROM memberships WHERE conversation_id = $1 AND left_at IS NULL',
    conversationId,
  );
  return Object.fromEntries(found.map(({ id, role }) => [id, role]));
}

/** How many messages `userId` has not read, counted one by one. */
export async function unreadTruth(conversationId, userId) {
  const [found] = await rows(
    `SELECT count(m.id)::int AS unread
       FROM memberships s
       LEFT JOIN messages m
         ON m.conversation_id = s.conversation_id AND m.ordinal > s.read_count AND m.deleted_at IS NULL
      WHERE s.conversation_id = $1 AND s.user_id = $2 AND s.left_at IS NULL
      GROUP BY s.user_id`,
    conversationId,
    userId,
  );
  assert.ok(found, `${userId} is a member of ${conversationId}`);
  return found.unread;
}

/** What both lists, each from another gateway, call the user's unread count. */
async function unreadShown(conversationId, user) {
  const [plain, chats] = await Promise.all([
    as(user, 'GET', '/conversations?limit=100', undefined, { gateway: 0 }),
    as(user, 'GET', '/chats/conversations?limit=100', undefined, { gateway: 1 }),
  ]);
  const inPlain = ok(plain, 200).find((entry) => entry.id === conversationId);
  const inChats = ok(chats, 200).find((entry) => entry._id === conversationId);
  assert.ok(inPlain && inChats, `${conversationId} is among ${user.username}'s latest conversations`);
  return { conversations: inPlain.unreadCount, chats: inChats.unreadCount };
}

/**
 * Asserts, for every `[user, expected]`, that the lists, PostgreSQL and the test's own arithmetic agree. `expected`
 * may be undefined where the contract leaves the number open: then the lists need only agree with PostgreSQL.
 */
export async function unreadIs(step, conversationId, ...expectations) {
  for (const [user, expected] of expectations) {
    const truth = await unreadTruth(conversationId, user.id);
    const shown = await unreadShown(conversationId, user);
    const where = `unread of ${user.username} after: ${step}`;
    assert.deepEqual(shown, { conversations: truth, chats: truth }, where);
    if (expected !== undefined) assert.equal(truth, expected, where);
  }
}

/** Accounts that nobody can log into, all at once: hashing a thousand passwords takes longer than what they are wanted for. `{id, username}`. */
export function populate(usernames) {
  return rows(
    `INSERT INTO users (id, email, username, name, password_hash)
     SELECT gen_random_uuid(), name || '@example.com', name, name, '!' FROM unnest($1::text[]) AS name
     RETURNING id::text AS id, username`,
    usernames,
  );
}

/** Has every token of an account end, as a change of its password does, without anybody being told; or takes that back. */
export async function setTokens(userId, { end }) {
  await rows('UPDATE users SET token_version = token_version + $2 WHERE id = $1', userId, end ? 1 : -1);
}

/** Makes an account an admin's, as the worker's command does. */
export async function promote(userId) {
  await rows("UPDATE users SET role = 'admin' WHERE id = $1", userId);
}

/** Until what this answers is called, or the test `t` is over, no message can be stored; for some seconds, or statements exceed their time. */
export async function stalled(t) {
  const client = await pool.connect();
  await client.query('BEGIN');
  await client.query('LOCK TABLE messages IN SHARE MODE');
  let isOver = false;
  const over = async () => {
    if (isOver) return;
    isOver = true;
    await client.query('ROLLBACK');
    client.release();
  };
  t.after(over);
  return over;
}
