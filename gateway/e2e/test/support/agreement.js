// Several clients in one conversation: what they do all at once, and how it is compared that each of them heard all of it, in one order.

import assert from 'node:assert/strict';
import { unique } from './people.js';
import { as, ok } from './rest.js';
import { succeed } from './socket.js';
import { storedMessages } from './truth.js';

export const edit = (user, id, content, gateway) => as(user, 'PUT', `/messages/${id}`, { content }, { gateway });
export const remove = (user, id, gateway) => as(user, 'DELETE', `/messages/${id}`, undefined, { gateway });

/** What every voice is to have heard when `last`, the last message, has reached all. */
export async function agree(voices, thread, expected, ...missing) {
  const last = unique('the last');
  await voices[0].say(last);
  await Promise.all(voices.slice(1).map((one) => one.hears(last)));
  const stored = await storedMessages(thread.id);
  const ids = new Set(stored.map(({ id }) => id));
  const [first, ...others] = voices.map((one) => one.log(ids));
  for (const [index, log] of others.entries()) {
    assert.deepEqual(log, first, `${voices[index + 1].dialect} heard what ${voices[0].dialect} heard, in its order`);
  }
  const order = first.filter((line) => line.startsWith('sent ')).map((line) => line.split(' ')[1]);
  assert.deepEqual(order, stored.map(({ id }) => id), 'which is PostgreSQL’s');
  for (const line of expected) assert.equal(first.filter((entry) => entry === line).length, 1, `${line}, once, in\n${first.join('\n')}`);
  for (const line of missing) assert.ok(!first.some((entry) => entry.startsWith(line)), `no ${line}`);
  for (const one of voices) one.keepsToItself();
}

/** Every voice speaks; every message of the first round is edited, of the second deleted, of the third left; all at once. */
export async function uproar(voices, conversations) {
  const expected = [];
  const gateway = (index) => index % 2;
  await Promise.all(voices.map(async (one, index) => {
    const improved = `improved by ${one.dialect} ${index}`;
    const [kept, fleeting] = [await one.say(), await one.say()];
    await Promise.all([
      (async () => {
        if (one === conversations) await succeed(one.socket, 'editMessage', { conversationId: one.threadId, messageId: kept, content: improved });
        else ok(await edit(one.user, kept, improved, gateway(index)), 200);
      })(),
      (async () => {
        if (one === conversations) await succeed(one.socket, 'deleteMessage', { conversationId: one.threadId, messageId: fleeting });
        else ok(await remove(one.user, fleeting, gateway(index)), 200);
      })(),
    ]);
    await one.say();
    expected.push(`updated ${kept} ${improved}`, `deleted ${fleeting}`);
  }));
  return expected;
}

/** Each of `users` in turn reads what another has just said; the lines that everybody is to hear. */
export async function readings(voices, users, conversations) {
  const expected = [];
  for (const [index, user] of users.entries()) {
    const speaker = voices.find((one) => one.user !== user);
    const last = await speaker.say();
    if (conversations.user === user) await succeed(conversations.socket, 'markAsRead', { conversationId: conversations.threadId, messageId: last });
    else ok(await as(user, 'PUT', '/messages/mark-as-read', { conversationId: conversations.threadId }, { gateway: index % 2 }), 200);
    expected.push(`read ${user.id}`);
  }
  return expected;
}
