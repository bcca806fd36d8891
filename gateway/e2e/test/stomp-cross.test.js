// Clients that speak STOMP beside those of the four dialects of Socket.IO: one conversation, one order, each in its own words.

import assert from 'node:assert/strict';
import test from 'node:test';
import { agree, readings, uproar } from './support/agreement.js';
import { until } from './support/away.js';
import { client, guest, userStatus } from './support/dialects.js';
import { people, register, slug, unique } from './support/people.js';
import { as, ok } from './support/rest.js';
import { heard, once, quiet, succeed } from './support/socket.js';
import { about, refuses, saying, session, WAYS } from './support/stomp.js';
import { barrier, chatBody } from './support/stomp-bodies.js';
import { publicThreads, stompVoice } from './support/stomp-voice.js';
import { voice } from './support/voices.js';

const limit = { timeout: 360_000 };

/** A voice of `user` in `thread` over Socket.IO, entered. */
async function speaks(t, dialect, user, thread, options) {
  const made = voice(dialect, await client(t, dialect, user, options), user, thread);
  await made.enter();
  return made;
}

test('a direct conversation: every dialect of Socket.IO, and STOMP in private and by its topic', limit, async (t) => {
  const [ann, ben] = await Promise.all([register('ann'), register('ben')]);
  const made = ok(await as(ann, 'POST', '/conversations', { participantIds: [ben.id], type: 'direct' }), 201);
  const thread = (partner) => ({ id: made.id, called: made.id, partner });
  const voices = [
    await speaks(t, 'direct', ann, thread(ben)),
    await speaks(t, 'conversations', ann, thread(ben), { gateway: 1 }),
    await stompVoice(t, ann, thread(ben), { privately: true, way: 'eventsource' }),
    await stompVoice(t, ben, thread(ann), { privately: true, gateway: 1 }),
    await stompVoice(t, ben, thread(ann), { way: 'xhr-polling' }),
    await speaks(t, 'rooms', ben, thread(ann), { gateway: 1 }),
    await speaks(t, 'namespaced', ben, thread(ann)),
  ];
  const conversations = Object.assign(voices[1], { threadId: made.id });
  const expected = await uproar(voices, conversations);
  expected.push(...(await readings(voices, [ann, ben], conversations)));
  await agree(voices, thread(ben), expected);
});

test('a group', limit, async (t) => {
  const [ann, ben, cat, dan, eve] = await Promise.all(['ann', 'ben', 'cat', 'dan', 'eve'].map((name) => register(name)));
  const made = ok(await as(ann, 'POST', '/conversations', { participantIds: [ben, cat, dan, eve].map(({ id }) => id), type: 'group', name: unique('group') }), 201);
  const thread = { id: made.id, called: made.id };
  const voices = [
    await speaks(t, 'conversations', ann, thread),
    await speaks(t, 'rooms', ben, thread, { gateway: 1 }),
    await speaks(t, 'namespaced', cat, thread, { gateway: 1 }),
    ...(await Promise.all(WAYS.map((way, index) => stompVoice(t, index % 2 ? dan : eve, thread, { way, gateway: index % 2 })))),
  ];
  const conversations = Object.assign(voices[0], { threadId: made.id });
  const expected = await uproar(voices, conversations);
  expected.push(...(await readings(voices, [ann, ben, cat, dan, eve], conversations)));
  await agree(voices, thread, expected);
});

test('a public room, by its slug and by its id', limit, async (t) => {
  const [ann, ben, cat, dan, eve] = await Promise.all(['ann', 'ben', 'cat', 'dan', 'eve'].map((name) => register(name)));
  const { bySlug, byId } = await publicThreads(ann);
  const voices = [
    await speaks(t, 'conversations', ann, byId),
    await speaks(t, 'rooms', ben, bySlug, { gateway: 1 }),
    await speaks(t, 'namespaced', cat, bySlug),
    ...(await Promise.all(WAYS.map((way, index) => stompVoice(t, index % 2 ? dan : eve, index % 2 ? bySlug : byId, { way, gateway: index % 2 })))),
  ];
  const conversations = Object.assign(voices[0], { threadId: byId.id });
  await agree(voices, byId, await uproar(voices, conversations), 'read');
});

test('who comes and goes is told to both sides', limit, async (t) => {
  const [ann, ben] = await Promise.all([register('ann'), register('ben')]);
  const roomId = slug();
  const [a, b] = await Promise.all([client(t, 'rooms', ann), session(t, ben, { way: 'xhr-streaming', gateway: 1 })]);
  const inbox = await b.listen(`/topic/${roomId}`);
  const status = (type, username) => once(a, 'userStatus', (told) => told.type === type && told.username === username);
  await succeed(a, 'chat.addUser', { roomId });
  chatBody(await inbox.next(about('JOIN')), { sender: ann.username, roomId });
  await b.send('/app/chat.addUser', { roomId });
  const joined = await status('JOIN', ben.username);
  userStatus(joined);
  assert.deepEqual([joined.userId, joined.activeUsers], [ben.id, 2]);
  // The same person with a socket of the other kind is the same person.
  const second = await client(t, 'rooms', ben);
  await succeed(second, 'chat.addUser', { roomId });
  await b.leave();
  await succeed(a, 'chat.sendMessage', { roomId, content: 'still here?' });
  await once(second, 'message', saying('still here?'));
  assert.equal(heard(a, 'userStatus', ({ type }) => type === 'LEAVE').length, 0);
  second.disconnect();
  assert.equal((await status('LEAVE', ben.username)).userId, ben.id);

  const visitor = await guest(t, 'rooms');
  const again = await session(t, ben);
  const listening = await again.listen(`/topic/room/${roomId}`);
  const username = slug('guest').replaceAll('-', '_').slice(0, 32);
  await succeed(visitor, 'chat.addUser', { roomId, username });
  await listening.next(about('JOIN', username));
  visitor.disconnect();
  await listening.next(about('LEAVE', username));
});

const cast = people('ann', 'ben', 'cat');

/** ann's group with ben and cat, who listen over STOMP. */
async function scene(t, ways) {
  const { ann, ben, cat } = await cast();
  const { id } = ok(await as(ann, 'POST', '/conversations', { participantIds: [ben.id, cat.id], type: 'group', name: unique('group') }), 201);
  const [a, b, c] = await Promise.all([session(t, ann), session(t, ben, { way: ways[0], gateway: 1 }), session(t, cat, { way: ways[1] })]);
  const [own, inbox, other] = await Promise.all([a, b, c].map((one) => one.listen(`/topic/${id}`)));
  return { ann, ben, cat, id, a, b, c, own, inbox, other };
}

test('who is removed from a group, or leaves it, hears nothing more of it', limit, async (t) => {
  for (const [ways, act] of [
    [['native', 'eventsource'], ({ ann, ben, id }) => as(ann, 'DELETE', `/chats/conversations/${id}/participants/${ben.id}`, undefined, { gateway: 1 })],
    [['xhr-polling', 'websocket'], ({ ben, id }) => as(ben, 'POST', `/chats/conversations/${id}/leave`)],
  ]) {
    const stage = await scene(t, ways);
    const { id, a, b, own, inbox, other } = stage;
    const errors = await b.listen('/user/queue/errors');
    await barrier(a, id, own, inbox, other);
    ok(await act(stage), 204);
    await until(() => other.heard().some((body) => JSON.stringify(body).includes(stage.ben.id) && body.type !== 'CHAT'), 'the others are told');
    const after = unique('after');
    await a.send(`/app/chat/${id}/sendMessage`, { content: after });
    await Promise.all([own, other].map((listener) => listener.next(saying(after))));
    await quiet(300);
    assert.deepEqual(inbox.heard(saying(after)), [], 'not for who is gone');
    await refuses(b, errors, ['NOT_FOUND', 'FORBIDDEN'], `/app/chat/${id}/sendMessage`, { content: 'let me in' });
    const known = errors.entries.length;
    b.client.subscribe(`/topic/room/${id}`, () => assert.fail('nothing is shown'));
    await until(() => errors.entries.length > known, 'nor may it subscribe again');
    // Who is let in again subscribes again.
    ok(await as(stage.ann, 'POST', `/chats/conversations/${id}/participants`, { userIds: [stage.ben.id] }), 200);
    const back = await b.listen(`/topic/${id}`);
    await barrier(a, id, own, back, other);
    assert.deepEqual(inbox.heard(saying(after)), []);
  }
});

test('a room that ends is over for those who listen', limit, async (t) => {
  const { ann, ben } = await cast();
  const { byId, bySlug } = await publicThreads(ann);
  const sessions = await Promise.all(WAYS.map((way, gateway) => session(t, ben, { way, gateway: gateway % 2 })));
  const stages = await Promise.all(sessions.map(async (one) => [one, await one.listen('/user/queue/errors'), await one.listen(`/topic/${bySlug.called}`)]));
  const a = await session(t, ann);
  await barrier(a, byId.id, ...stages.map(([, , inbox]) => inbox));
  ok(await as(ann, 'DELETE', `/api/rooms/${byId.id}`, undefined, { gateway: 1 }), 204);
  for (const [one, errors, inbox] of stages) {
    await until(() => inbox.heard().at(-1).type !== 'CHAT', `${one.way} is told`);
    await refuses(one, errors, ['NOT_FOUND', 'FORBIDDEN'], `/app/chat/${byId.id}/sendMessage`, { content: 'anybody?' });
  }
});
