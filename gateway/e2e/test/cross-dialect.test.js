// Four clients of four dialects in one conversation: each sees everything in its own words, all in one order, whoever causes it.

import assert from 'node:assert/strict';
import test from 'node:test';
import { agree, edit, readings, remove, uproar } from './support/agreement.js';
import { cut, recoverably, recovers, stays } from './support/away.js';
import { client, refuses } from './support/dialects.js';
import { people, register, unique } from './support/people.js';
import { as, ok } from './support/rest.js';
import { connect, succeed } from './support/socket.js';
import { voice } from './support/voices.js';

const limit = { timeout: 480_000 };

/** A voice of `user` in `thread`, entered. */
async function speaks(t, dialect, user, thread, options) {
  const made = voice(dialect, await client(t, dialect, user, options), user, thread);
  await made.enter();
  return made;
}

test('a direct conversation of two people with two sockets each', limit, async (t) => {
  const [ann, ben] = await Promise.all([register('ann'), register('ben')]);
  const made = ok(await as(ann, 'POST', '/conversations', { participantIds: [ben.id], type: 'direct' }), 201);
  const thread = { id: made.id, called: made.id, partner: ben };
  const voices = [
    await speaks(t, 'direct', ann, thread),
    await speaks(t, 'conversations', ann, thread, { gateway: 1 }),
    await speaks(t, 'rooms', ben, thread, { gateway: 1 }),
    await speaks(t, 'namespaced', ben, thread),
  ];
  const conversations = Object.assign(voices[1], { threadId: made.id });
  const expected = await uproar(voices, conversations);
  expected.push(...(await readings(voices, [ann, ben], conversations)));
  await agree(voices, thread, expected);
});

test('a group of four people', limit, async (t) => {
  const [ann, ben, cat, dan] = await Promise.all(['ann', 'ben', 'cat', 'dan'].map((name) => register(name)));
  const made = ok(await as(ann, 'POST', '/chats/conversations', { participantIds: [ben.id, cat.id, dan.id], type: 'group', name: unique('group') }), 201);
  const thread = { id: made._id, called: made._id };
  const quiet = voice('direct', await client(t, 'direct', dan), dan, thread);
  const voices = [
    await speaks(t, 'conversations', ann, thread),
    await speaks(t, 'rooms', ben, thread, { gateway: 1 }),
    await speaks(t, 'namespaced', cat, thread, { gateway: 1 }),
  ];
  // Source 002 writes to people, so a group hears its client over REST; the client itself hears the group all the same.
  quiet.say = async (content = unique('direct')) => {
    const { id } = ok(await as(dan, 'POST', '/messages', { conversationId: made._id, content }), 201);
    await quiet.hears(content);
    return id;
  };
  const everybody = [...voices, quiet];
  const conversations = Object.assign(voices[0], { threadId: made._id });
  const expected = await uproar(everybody, conversations);
  expected.push(...(await readings(everybody, [ann, ben, cat, dan], conversations)));
  await agree(everybody, thread, expected);
});

test('a public room, in the three dialects that have rooms', limit, async (t) => {
  const [ann, ben, cat, eve] = await Promise.all(['ann', 'ben', 'cat', 'eve'].map((name) => register(name)));
  const made = ok(await as(ann, 'POST', '/api/rooms', { name: unique('public room') }), 201);
  const [byId, bySlug] = [{ id: made.id, called: made.id }, { id: made.id, called: made.slug }];
  const voices = [
    await speaks(t, 'conversations', ann, byId),
    await speaks(t, 'rooms', ben, bySlug, { gateway: 1 }),
    await speaks(t, 'namespaced', cat, bySlug),
    await speaks(t, 'rooms', eve, byId, { gateway: 1 }),
  ];
  const conversations = Object.assign(voices[0], { threadId: made.id });
  // Joining a room is no membership: nothing in it is unread, and nobody is told of reading.
  await agree(voices, byId, await uproar(voices, conversations), 'read');
});

test('who was away comes back to all of it, in every dialect', limit, recoverably(async (t) => {
  const [ann, ben, cat, dan, eve] = await Promise.all(['ann', 'ben', 'cat', 'dan', 'eve'].map((name) => register(name)));
  const made = ok(await as(eve, 'POST', '/conversations', { participantIds: [ann, ben, cat, dan].map(({ id }) => id), type: 'group', name: unique('group') }), 201);
  const thread = { id: made.id, called: made.id };
  const voices = [
    await speaks(t, 'conversations', ann, thread, stays),
    await speaks(t, 'rooms', ben, thread, { gateway: 1, ...stays }),
    await speaks(t, 'namespaced', cat, thread, stays),
    await speaks(t, 'direct', dan, thread, { gateway: 1, ...stays }),
  ];
  const writer = await speaks(t, 'conversations', eve, thread, { gateway: 1 });
  const before = unique('before');
  await writer.say(before);
  await Promise.all(voices.map((one) => one.hears(before)));
  const was = voices.map(({ socket }) => socket.id);
  await Promise.all(voices.map(({ socket }) => cut(socket)));
  const [kept, fleeting] = [await writer.say(), await writer.say()];
  ok(await edit(eve, kept, 'edited meanwhile', 0), 200);
  ok(await remove(eve, fleeting, 1), 200);
  ok(await as(ann, 'PUT', '/messages/mark-as-read', { conversationId: made.id }), 200);
  await Promise.all(voices.map(({ socket, dialect }, index) => recovers(socket, was[index], undefined, `in ${dialect}`)));
  await agree([writer, ...voices], thread, [`updated ${kept} edited meanwhile`, `deleted ${fleeting}`, `read ${ann.id}`]);
}));

const cast = people('ann', 'ben');

test('the first event decides which dialect a socket speaks, and it speaks no other', limit, async (t) => {
  const { ann, ben } = await cast();
  const first = {
    conversations: ['createConversation', { participantIds: [ben.id], type: 'direct' }],
    direct: ['get_messages', { otherUserId: ben.id }],
    rooms: ['chat.addUser', { roomId: 'public' }],
    namespaced: ['chat:room:join', 'public'],
  };
  for (const [dialect, event] of Object.entries(first)) {
    for (const namespace of ['/', '/chat']) {
      const socket = await connect(t, ann, { namespace, gateway: namespace === '/' ? 0 : 1 });
      await succeed(socket, ...event);
      for (const [other, foreign] of Object.entries(first)) {
        if (other !== dialect) await refuses(socket, dialect, 'VALIDATION_FAILED', ...foreign);
      }
      await succeed(socket, ...event);
    }
  }
});

test('a dialect that was named is spoken, whatever the first event is', limit, async (t) => {
  const { ann, ben } = await cast();
  for (const [dialect, event] of [['rooms', 'send_message'], ['direct', 'chat.addUser'], ['namespaced', 'sendMessage'], ['conversations', 'chat:message']]) {
    for (const options of [{ auth: { token: ann.token, dialect } }, { query: { dialect } }]) {
      const socket = await connect(t, ann, { namespace: '/', ...options });
      await refuses(socket, dialect, 'VALIDATION_FAILED', event, { receiverId: ben.id, roomId: 'public', content: 'x' });
    }
  }
});

test('until it has said anything, a socket hears what its namespace speaks', limit, async (t) => {
  const [ann, ben] = await Promise.all([register('ann'), register('ben')]);
  const [root, chat] = [await connect(t, ben, { namespace: '/' }), await connect(t, ben, { gateway: 1 })];
  const writer = await client(t, 'direct', ann);
  const content = unique();
  const { messageId } = await succeed(writer, 'send_message', { receiverId: ben.id, content });
  const heardAt = (socket) => voice(socket === root ? 'direct' : 'conversations', socket, ben, {});
  assert.equal((await heardAt(root).hears(content)).id, messageId);
  const made = ok(await as(ben, 'GET', '/conversations'), 200)[0];
  await succeed(chat, 'joinRoom', { conversationId: made.id });
  const second = unique();
  await succeed(writer, 'send_message', { receiverId: ben.id, content: second });
  await heardAt(chat).hears(second);
  for (const socket of [root, chat]) heardAt(socket).keepsToItself();
});
