// A thousand people online on all gateways, and forty who watch them, while gateways are replaced, killed and forgotten by Redis: in the
// end everybody's view is right, and nobody who stayed is ever called gone by a replacement.

import assert from 'node:assert/strict';
import test from 'node:test';
import { returns, until } from './support/away.js';
import { currentState, entryUrl, jwtSecret, state } from './support/cluster.js';
import { group } from './support/chat.js';
import { kill, restart } from './support/gateways.js';
import { issue } from './support/jwt.js';
import { LightClient } from './support/light.js';
import { lateness, STALLS_MS } from './support/patience.js';
import { slug } from './support/people.js';
import { CONVERGED_MS, found, LINGER_MS, news, online } from './support/presence.js';
import { flushAll } from './support/redis.js';
import { as, ok } from './support/rest.js';
import { dial, opened, quiet } from './support/socket.js';
import { stalls } from './support/stalls.js';
import { populate } from './support/truth.js';

const PEOPLE = 1_000;
const WATCHERS = 40;
const GROUPS = 25;
/** In how many groups a watcher is: each of its contacts is one of these groups' people. */
const GROUPS_EACH = 5;
const KINDS = [['polling'], ['polling', 'websocket'], ['websocket']];
/** Connections opened at a time. */
const WIDTH = 50;
const POLL_MS = 100;
/** How long REST may say otherwise than the test, which sees a connection end before its gateway does. */
const REST_MS = CONVERGED_MS + STALLS_MS;
/** Who was away for longer, as far as it knows itself, may have been called gone, and rightly so. */
const AWAY_MS = LINGER_MS - 2_000;

const gateways = [...state.gateways.keys()];
const url = (index) => currentState().gateways[index].url;

async function inBatches(items, work) {
  for (let from = 0; from < items.length; from += WIDTH) await Promise.all(items.slice(from, from + WIDTH).map(work));
}

/** The people and the watchers, in groups, all online, spread over all gateways. */
async function crowd(t) {
  const name = slug('p').replaceAll('-', '_');
  const accounts = await populate(Array.from({ length: PEOPLE + WATCHERS }, (_, index) => `${name}_${index}`));
  const everybody = accounts.map((account, index) => ({ ...account, gateway: gateways[index % gateways.length], token: issue(account.id, jwtSecret()), groups: [] }));
  const [people, watchers] = [everybody.slice(WATCHERS), everybody.slice(0, WATCHERS)];
  const groups = Array.from({ length: GROUPS }, () => ({ members: [] }));
  const enter = (person, index) => {
    groups[index % GROUPS].members.push(person);
    person.groups.push(groups[index % GROUPS]);
  };
  people.forEach((person, index) => enter(person, Math.floor((index * GROUPS) / PEOPLE)));
  watchers.forEach((watcher, index) => { for (let count = 0; count < GROUPS_EACH; count += 1) enter(watcher, index + count * GROUPS_EACH); });
  // Its maker is the first of its people: a watcher must not make them all.
  await Promise.all(groups.map(async (each) => {
    const owner = each.members.find((person) => people.includes(person));
    each.id = await group(owner, each.members.filter((person) => person !== owner), { gateway: owner.gateway });
  }));
  for (const watcher of watchers) watcher.contacts = new Set(watcher.groups.flatMap(({ members }) => members).filter((person) => person !== watcher));

  for (const person of people) person.client = new LightClient(t, person.token);
  await inBatches(people, (person) => person.client.connect(url(person.gateway)));
  for (const person of people) person.client.returns = true;
  await Promise.all(watchers.map(async (watcher, index) => {
    const options = { ...returns, transports: KINDS[index % KINDS.length], auth: { token: watcher.token } };
    watcher.socket = dial(t, { ...options, gateway: watcher.gateway, direct: true });
    await opened(watcher.socket);
    watcher.socket.io.uri = entryUrl();
    watcher.absences = [];
    let lost;
    watcher.socket.on('disconnect', () => { lost = Date.now(); });
    watcher.socket.on('connect', () => watcher.absences.push({ from: lost, to: Date.now() }));
  }));
  return { people, watchers, groups };
}

const isThere = (person) => (person.client ?? person.socket).connected;
const expected = (watcher) => [...watcher.contacts].filter(isThere).map(({ id }) => id);

/** What is wrong with what `watcher` believes, or nothing. */
function error(watcher) {
  const [seen, truth] = [online(watcher.socket), new Set(expected(watcher))];
  const missing = [...truth].filter((id) => !seen.has(id));
  const ghosts = [...seen].filter((id) => !truth.has(id));
  return missing.length + ghosts.length > 0 ? `${watcher.username} misses ${missing.length} and sees ${ghosts.length} too many of ${truth.size}` : undefined;
}

/** Waits until every view is right, no longer than so many milliseconds and what stalls may add to them; how long that took since `begun`. */
async function converged(watchers, what, ms, begun = Date.now()) {
  const late = lateness();
  for (;;) {
    const wrong = watchers.flatMap((watcher) => error(watcher) ?? []);
    const took = Date.now() - begun;
    if (wrong.length === 0) return took;
    assert.ok(took <= ms + STALLS_MS + late(), `${what}: after ${took} ms ${wrong.length} of ${watchers.length} views are wrong: ${wrong.slice(0, 5).join('; ')}`);
    await quiet(POLL_MS);
  }
}

/** Asserts that REST, on every gateway that lives, says of every member of every group whether it is online. */
async function restIsRight(groups, what, alive = gateways) {
  await inBatches(groups.map((each, index) => [each, alive[index % alive.length]]), async ([{ id, members }, gateway]) => {
    let wrong;
    // A watcher may lose its connection in this very moment, and is back in the next.
    await until(async () => {
      const { participants } = ok(await as(members[0], 'GET', `/chats/conversations/${id}`, undefined, { gateway }), 200);
      wrong = participants.filter(({ _id, isOnline }) => isOnline !== isThere(members.find((person) => person.id === _id)));
      return wrong.length === 0 || quiet(POLL_MS);
    }, what, REST_MS).catch(() => {});
    assert.deepEqual(wrong.map(({ username, isOnline }) => [username, isOnline]), [], `${what}: participants on gateway ${gateway}`);
  });
}

/** Waits until everybody who comes back by itself is back. */
async function everybodyBack({ people, watchers }, ms = 120_000) {
  const deadline = Date.now() + ms;
  const away = () => [...people, ...watchers].filter((person) => !isThere(person) && (person.socket ?? person.client.returns));
  while (away().length > 0) {
    assert.ok(Date.now() < deadline, `${away().length} are not back`);
    await quiet(POLL_MS);
  }
}

/** Whether somebody lost its connection for so long since then that others could take it for gone. */
const wasAway = (person, since) => (person.client ?? person).absences.some(({ from, to }) => to > since && to - from > AWAY_MS);

/** Each news that made somebody look absent who was not, since the marks were set at `since`; but what was told when something had stood `still`. */
function slanders(watchers, marks, since, still) {
  return watchers.flatMap((watcher) => {
    const ids = [...watcher.contacts].filter((person) => !wasAway(person, since)).map(({ id }) => id);
    return news(watcher.socket).slice(marks.get(watcher)).flatMap(({ snapshot, userId, isOnline, at }) => {
      // Whoever's gateway stands still, or cannot tell Redis, may be taken for gone, and rightly so.
      if (still.before(at, STALLS_MS)) return [];
      const missing = snapshot ? ids.filter((id) => !snapshot.includes(id)) : [];
      if (missing.length > 0) return [`${watcher.username} was given ${snapshot.length} without ${missing.length} who were there`];
      return isOnline === false && ids.includes(userId) ? [`${watcher.username} was told that ${userId} has gone`] : [];
    });
  });
}

const marked = (watchers) => new Map(watchers.map((watcher) => [watcher, news(watcher.socket).length]));

test(`${PEOPLE} people and ${WATCHERS} watchers`, { timeout: 960_000 }, async (t) => {
  const begun = Date.now();
  const told = (what) => t.diagnostic(`${((Date.now() - begun) / 1000).toFixed(1)} s: ${what}`);
  const still = stalls(t);
  const all = await crowd(t);
  const { people, watchers, groups } = all;
  const last = gateways.at(-1);
  told(`all are online; every view was right ${await converged(watchers, 'everybody has come', 2 * CONVERGED_MS)} ms later`);
  await restIsRight(groups, 'everybody has come');

  await t.test('a rolling replacement of all gateways shows nobody as offline', async () => {
    const [marks, since] = [marked(watchers), Date.now()];
    for (const index of gateways) {
      await restart(index);
      await everybodyBack(all);
      told(`gateway ${index} was replaced, everybody is back`);
    }
    await quiet(LINGER_MS + 3_000);
    await converged(watchers, 'after the replacement', CONVERGED_MS);
    told(`${[...people, ...watchers].filter((person) => wasAway(person, since)).length} were away for too long to say`);
    assert.deepEqual(slanders(watchers, marks, since, still).slice(0, 10), []);
    for (const watcher of watchers) assert.ok(news(watcher.socket).length > marks.get(watcher), `${watcher.username} was told who is online when it came back`);
    await restIsRight(groups, 'after the replacement');
  });

  await t.test('a gateway is killed and its clients come back elsewhere: nobody’s view is wrong in the end', async () => {
    kill(1);
    const killed = Date.now();
    await until(() => people.some((person) => !isThere(person)), 'its clients have lost it');
    await everybodyBack(all);
    told(`gateway 1 was killed, everybody was back after ${Date.now() - killed} ms`);
    const back = Date.now();
    await quiet(Math.max(0, killed + CONVERGED_MS - back));
    await converged(watchers, 'ten seconds after everybody was back', CONVERGED_MS, back);
    await restIsRight(groups, 'after the kill', gateways.filter((index) => index !== 1));
    await restart(1);
  });

  await t.test('Redis forgets everything: every view is right again, and who goes is still announced', async () => {
    const [marks, since] = [marked(watchers), Date.now()];
    await flushAll();
    await quiet(2_000);
    told(`Redis was emptied, every view was right ${await converged(watchers, 'after FLUSHALL', 2 * CONVERGED_MS) + 2_000} ms later`);
    await restIsRight(groups, 'after FLUSHALL');
    assert.deepEqual(slanders(watchers, marks, since, still).slice(0, 10), [], 'and nobody hears of it');
    const leaving = people.filter((_, index) => index % 50 === 7);
    for (const person of leaving) person.client.leave();
    await quiet(LINGER_MS);
    told(`${leaving.length} have left, known ${LINGER_MS + await converged(watchers, 'who left after FLUSHALL', CONVERGED_MS)} ms later`);
    await restIsRight(groups, 'who left after FLUSHALL');
    for (const watcher of watchers) {
      const gone = leaving.filter((person) => watcher.contacts.has(person)).map(({ id }) => id);
      const announced = news(watcher.socket).filter(({ userId, isOnline }) => isOnline === false && gone.includes(userId)).length;
      assert.ok(announced >= gone.length, `${watcher.username} was told of ${announced} of ${gone.length}`);
    }
  });

  await t.test('a gateway is killed and its clients stay away: every view is right within ten seconds', async (t) => {
    // Everybody has come back to wherever it was let in; now each is where it was meant to be.
    const victims = people.filter((person, index) => person.client.returns && index % gateways.length === last);
    for (const person of people) person.client.returns = false;
    for (const person of victims) person.client.leave();
    await inBatches(victims, async (person) => {
      person.client = new LightClient(t, person.token);
      await person.client.connect(url(last));
    });
    await quiet(LINGER_MS);
    await converged(watchers, 'everybody is in place', CONVERGED_MS);
    const killed = Date.now();
    kill(last);
    try {
      await quiet(500);
      told(`${people.filter((person) => !isThere(person)).length} are away`);
      const took = await converged(watchers, 'after the kill', CONVERGED_MS, killed);
      told(`every view was right ${took} ms after the kill`);
      const alive = gateways.filter((index) => index !== last);
      await restIsRight(groups, 'after the kill', alive);
      const [reader, gone] = [watchers[0], people.find((person) => !isThere(person))];
      for (const gateway of alive) assert.equal((await found(reader, gone, gateway)).isOnline, false);
    } finally {
      await restart(last);
    }
  });
  told(`something stood still ${await still.count()} times`);
});
