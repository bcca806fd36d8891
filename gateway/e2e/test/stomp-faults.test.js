// Sessions over STOMP when gateways are killed and replaced, and when Redis forgets: the real client notices, comes back by itself and
// subscribes again; from then on everything is as it was.

import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from './support/away.js';
import { entryUrl, gatewayUrl } from './support/cluster.js';
import { client } from './support/dialects.js';
import { kill, restart } from './support/gateways.js';
import { people, slug, unique } from './support/people.js';
import { startProxy } from './support/proxy.js';
import { flushAll } from './support/redis.js';
import { as, ok } from './support/rest.js';
import { once, quiet, succeed } from './support/socket.js';
import { stalls } from './support/stalls.js';
import { about, saying, session, WAYS } from './support/stomp.js';
import { barrier } from './support/stomp-bodies.js';
import { storedMessages } from './support/truth.js';

const cast = people('ann', 'ben', 'cat');
const limit = { timeout: 360_000 };
const returns = { reconnectDelay: 100, connectionTimeout: 15_000 };

/** One client of `user` over each transport, at gateway `index`; it comes back by the common door, and joins the room again. */
async function crowd(t, user, index, roomId) {
  return Promise.all(WAYS.map(async (way) => {
    const one = await session(t, user, { way, gateway: index, direct: true, ...returns });
    one.url = entryUrl();
    const [inbox, own] = [await one.follow(`/topic/${roomId}`), await one.follow('/user/queue/messages')];
    return { one, inbox, own };
  }));
}

/** Waits until all of them are there again. */
async function areBack(members, times = 1) {
  const begun = members.map(({ one }) => one.connects);
  await Promise.all(members.map(async ({ one }, index) => {
    const isBack = async () => {
      if (one.connects > times && one.client.connected) return true;
      if (one.way === 'xhr-streaming' && one.connects === begun[index]) one.nudge();
      return quiet(50);
    };
    await until(isBack, `${one.way} is back`, 60_000);
    await one.listening;
  }));
}

/** Waits until each of them can say something again, on its old session or on a new one. */
async function canSpeak(members, roomId) {
  await Promise.all(members.map(async ({ one }) => {
    const speaks = async () => {
      if (one.way === 'xhr-streaming') one.nudge();
      if (!one.client.connected) return quiet(50);
      const said = one.send('/app/chat.sendMessage', { roomId, content: unique('again') }).then(() => true, () => false);
      return Promise.race([said, quiet(2_000)]);
    };
    await until(speaks, `something is said over ${one.way}`);
    await one.listening;
  }));
}

/** Everybody speaks, and everybody hears all of it in PostgreSQL's order, whichever way they are connected; in private too. */
async function allIsWell(members, speaker, roomId, user) {
  const since = members.map(({ inbox }) => inbox.heard().length);
  const contents = members.map(({ one }) => unique(`back over ${one.way}`));
  await Promise.all(members.map(({ one }, index) => one.send('/app/chat.sendMessage', { roomId, content: contents[index] })));
  const last = await barrier(speaker, roomId, ...members.map(({ inbox }) => inbox));
  // What somebody gave up waiting for may be stored behind it.
  const before = (contents) => contents.slice(0, contents.indexOf(last) + 1);
  const { id } = ok(await as(user, 'GET', `/api/rooms/${roomId}`), 200);
  const stored = before((await storedMessages(id)).map((message) => message.content));
  for (const [index, { one, inbox }] of members.entries()) {
    const heard = before(inbox.heard().slice(since[index]).filter(({ type }) => type === 'CHAT').map(({ content }) => content));
    assert.deepEqual(heard, stored.slice(-heard.length), `${one.way}: in order, once`);
    for (const content of contents) assert.ok(heard.includes(content), `${one.way} heard ${content}`);
  }
  const secret = unique('private');
  await speaker.send('/app/chat.private', { receiverId: user.id, content: secret });
  for (const { one, own } of members) {
    await own.next(saying(secret));
    assert.equal(own.heard(saying(secret)).length, 1, one.way);
  }
}

test('a gateway is killed: its clients come back elsewhere, those of others do not notice', limit, async (t) => {
  const { ann, ben, cat } = await cast();
  const roomId = slug();
  const speaker = await session(t, ann, { gateway: 0, direct: true });
  const inbox = await speaker.listen(`/topic/${roomId}`);
  const members = await crowd(t, ben, 1, roomId);
  const visitor = await session(t, cat, { gateway: 1, direct: true });
  await visitor.send('/app/chat.addUser', { roomId });
  await inbox.next(about('JOIN', cat.username));
  await barrier(speaker, roomId, inbox, ...members.map((member) => member.inbox));
  kill(1);
  try {
    await speaker.send('/app/chat.sendMessage', { roomId, content: 'meanwhile' });
    await areBack(members);
    await allIsWell(members, speaker, roomId, ben);
    await inbox.next(about('LEAVE', cat.username));
    assert.equal(speaker.closes.length, 0);
    for (const { inbox: heard } of members) assert.ok(heard.heard(saying('meanwhile')).length <= 1);
  } finally {
    await restart(1);
  }
});

test('a gateway is replaced: the same, and nobody is left behind on the old one', limit, async (t) => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const speaker = await session(t, ann, { gateway: 0, direct: true });
  const members = await crowd(t, ben, 1, roomId);
  await barrier(speaker, roomId, ...members.map(({ inbox }) => inbox));
  let writing = true;
  const confirmed = [];
  const writer = (async () => {
    while (writing) {
      const content = unique('meanwhile');
      await speaker.send('/app/chat.sendMessage', { roomId, content });
      confirmed.push(content);
      await quiet(20);
    }
  })();
  await restart(1);
  await areBack(members);
  writing = false;
  await writer;
  const { id } = ok(await as(ann, 'GET', `/api/rooms/${roomId}`), 200);
  const stored = (await storedMessages(id)).map(({ content }) => content);
  for (const content of confirmed) assert.ok(stored.includes(content), 'what was confirmed is stored');
  await allIsWell(members, speaker, roomId, ben);
});

/** Sessions whose owner is gateway `owner`, and whose requests go to it and to the other one in turn from then on. */
async function passedOn(t, user, roomId, owner = 0) {
  const proxy = await startProxy([gatewayUrl(owner)]);
  t.after(() => proxy.close());
  const members = await Promise.all(['xhr-streaming', 'eventsource', 'xhr-polling'].map(async (way) => {
    const one = await session(t, user, { way, url: proxy.url, ...returns });
    return { one, inbox: await one.follow(`/topic/${roomId}`), own: await one.follow('/user/queue/messages') };
  }));
  proxy.turnTo([gatewayUrl(1), gatewayUrl(0)]);
  return members;
}

/** A session is given up for want of its client after five seconds, and its owner is looked for for two: whoever stood still as long has to do it again. */
const unlessStill = (body) => (t) => stalls(t).unless(body)(t);

test('a gateway that only passes requests on is replaced: no session notices', limit, unlessStill(async (t) => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const speaker = await session(t, ann, { gateway: 0, direct: true });
  const members = await passedOn(t, ben, roomId);
  await allIsWell(members, speaker, roomId, ben);
  const unnoticed = () => {
    for (const { one } of members) assert.deepEqual([one.connects, one.closes.map(({ code, reason }) => [code, reason])], [1, []], one.way);
  };
  const replaced = restart(1);
  let isDone = false;
  replaced.finally(() => { isDone = true; }).catch(() => {});
  try {
    while (!isDone) {
      // Who had to come back has missed something: that it had to says more than what it misses.
      await barrier(speaker, roomId, ...members.map(({ inbox }) => inbox)).finally(unnoticed);
      await quiet(50);
    }
  } finally {
    await replaced;
  }
  await allIsWell(members, speaker, roomId, ben);
  unnoticed();
}));

test('a gateway that only passes requests on is killed: sessions live on, or their clients come back', limit, async (t) => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const speaker = await session(t, ann, { gateway: 0, direct: true });
  const members = await passedOn(t, ben, roomId);
  await allIsWell(members, speaker, roomId, ben);
  kill(1);
  try {
    // A poll that was waiting there has no answer any more: its client takes that for the end.
    await canSpeak(members, roomId);
    await allIsWell(members, speaker, roomId, ben);
  } finally {
    await restart(1);
  }
});

test('the gateway that has the sessions is killed: the other one knows, and their clients come back', limit, async (t) => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const speaker = await session(t, ann, { gateway: 0, direct: true });
  const members = await passedOn(t, ben, roomId, 1);
  await allIsWell(members, speaker, roomId, ben);
  kill(1);
  try {
    await areBack(members);
    await allIsWell(members, speaker, roomId, ben);
    assert.equal(speaker.closes.length, 0);
  } finally {
    await restart(1);
  }
});

test('Redis is emptied: sessions live on, over each transport and through a door that gives each request to another gateway', limit, unlessStill(async (t) => {
  const { ann, ben } = await cast();
  const roomId = slug();
  const speaker = await session(t, ann);
  const members = await Promise.all(WAYS.map(async (way, gateway) => {
    const one = await session(t, ben, { way, gateway });
    return { one, inbox: await one.listen(`/topic/${roomId}`), own: await one.listen('/user/queue/messages') };
  }));
  await barrier(speaker, roomId, ...members.map(({ inbox }) => inbox));
  await flushAll();
  // The moment itself may cost what was under way in Redis' streams; what is asked from then on is done.
  await until(async () => {
    try {
      await speaker.send('/app/chat.sendMessage', { roomId, content: unique('after') });
      return true;
    } catch {
      return false;
    }
  }, 'messages are stored again');
  await allIsWell(members, speaker, roomId, ben);
  for (const { one } of [...members, { one: speaker }]) assert.deepEqual([one.connects, one.closes.length], [1, 0], one.way);
  const socket = await client(t, 'rooms', ann, { gateway: 1 });
  await succeed(socket, 'chat.addUser', { roomId });
  const content = unique('to sockets');
  await speaker.send('/app/chat.sendMessage', { roomId, content });
  await once(socket, 'message', saying(content));
}));

test('a client whose network broke comes back, and its old session is forgotten', limit, async (t) => {
  const { ann } = await cast();
  const roomId = slug();
  const speaker = await session(t, ann);
  const own = await speaker.listen(`/topic/${roomId}`);
  const returned = await Promise.all(WAYS.map(async (way) => {
    const sender = slug('guest').replaceAll('-', '_').slice(0, 32);
    const one = await session(t, undefined, { way, ...returns });
    const inbox = await one.follow(`/topic/${roomId}`);
    await one.send('/app/chat.addUser', { roomId, sender });
    await own.next(about('JOIN', sender));
    one.client.forceDisconnect();
    await areBack([{ one }]);
    await own.next(about('LEAVE', sender));
    assert.equal(own.heard(about('LEAVE', sender)).length, 1);
    return inbox;
  }));
  await barrier(speaker, roomId, own, ...returned);
});
