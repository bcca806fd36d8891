// The real client, with an inbox: nothing that arrives is lost between two awaits.

import assert from 'node:assert/strict';
import { io } from 'socket.io-client';
import { entryUrl, gatewayUrl, PATIENCE_MS, transports } from './cluster.js';
import { abandon } from './deaf.js';
import { keys } from './shapes.js';

/** socket → everything it received, in order, and who waits for what. */
const inboxes = new WeakMap();

function inboxOf(socket) {
  const inbox = inboxes.get(socket);
  if (!inbox) throw new Error('not a watched socket');
  return inbox;
}

/** Starts recording what `socket` receives, and closes it when the test `t` is over. */
export function watch(t, socket) {
  const inbox = { entries: [], waiters: new Set() };
  inboxes.set(socket, inbox);
  socket.onAny((event, ...args) => {
    const [payload] = args;
    const entry = { event, payload, args, at: Date.now(), taken: false };
    inbox.entries.push(entry);
    for (const waiter of inbox.waiters) {
      if (waiter.event === event && waiter.matches(payload)) {
        entry.taken = true;
        waiter.settle(payload);
        break;
      }
    }
  });
  t.after(() => {
    socket.disconnect();
    abandon(socket);
  });
  return socket;
}

/**
 * A socket that has not been opened yet; `auth` and other client options may be given. It goes through the load balancer
 * if there is one, else to `gateway`; `direct` insists on that gateway, `url` on any other place.
 */
export function dial(t, { gateway = 0, direct = false, url, namespace = '/chat', ...options } = {}) {
  return watch(
    t,
    io((url ?? (direct ? gatewayUrl(gateway) : entryUrl(gateway))) + namespace, {
      transports,
      forceNew: true,
      reconnection: false,
      autoConnect: false,
      ...options,
    }),
  );
}

/** Opens `socket` and waits until its namespace accepted it. One that comes again by itself may find nobody at first. */
export function opened(socket) {
  return settled(socket, 'connect', 'connect_error', (error) => new Error(`refused: ${error.message}`, { cause: error }));
}

/** Opens `socket` and waits until it is refused; hands back the client's error. */
export function refused(socket) {
  return settled(socket, 'connect_error', 'connect', () => new Error('accepted, although it should have been refused'));
}

function settled(socket, wanted, other, complaint) {
  return new Promise((resolve, reject) => {
    const finish = (act) => (value) => {
      clearTimeout(timer);
      socket.off(wanted, won).off(other, lost);
      act(value);
    };
    const won = finish((value) => resolve(value ?? socket));
    const isFinal = () => wanted !== 'connect' || !socket.active || !socket.io.reconnection();
    const over = finish((value) => reject(complaint(value)));
    const lost = (value) => { if (isFinal()) over(value); };
    const timer = setTimeout(() => finish(reject)(new Error(`neither ${wanted} nor ${other} in time`)), PATIENCE_MS);
    socket.on(wanted, won).on(other, lost);
    socket.connect();
  });
}

/** An open, authenticated socket of `user`. */
export function connect(t, user, options = {}) {
  return opened(dial(t, { auth: { token: user.token }, ...options }));
}

/**
 * The first `event` not yet taken for which `matches` holds: one that is already here, or the next one to come. Each
 * arrival is handed out once, so two calls wait for two arrivals.
 */
export function once(socket, event, matches = () => true, ms = PATIENCE_MS) {
  const inbox = inboxOf(socket);
  const here = inbox.entries.find((entry) => !entry.taken && entry.event === event && matches(entry.payload));
  if (here) {
    here.taken = true;
    return Promise.resolve(here.payload);
  }
  return new Promise((resolve, reject) => {
    const waiter = {
      event,
      matches,
      settle(payload) {
        clearTimeout(timer);
        inbox.waiters.delete(waiter);
        resolve(payload);
      },
    };
    const timer = setTimeout(() => {
      inbox.waiters.delete(waiter);
      const tail = inbox.entries.slice(-8).map((entry) => `${entry.event} ${JSON.stringify(entry.payload)}`);
      reject(new Error(`no such ${event} within ${ms} ms; last received:\n  ${tail.join('\n  ') || 'nothing'}`));
    }, ms);
    inbox.waiters.add(waiter);
  });
}

/** Payloads of every `event` received so far for which `matches` holds, taken or not, in order. */
export function heard(socket, event, matches = () => true) {
  return inboxOf(socket)
    .entries.filter((entry) => entry.event === event && matches(entry.payload))
    .map((entry) => entry.payload);
}

/** `{event, args, at}` of everything received so far, in order, and when: what recovery adds to events is among the arguments. */
export function received(socket) {
  return inboxOf(socket).entries.map(({ event, args, at }) => ({ event, args, at }));
}

/** `[event, payload]` of everything received so far that belongs to a conversation, in order. */
export function story(socket, conversationId) {
  return inboxOf(socket)
    .entries.filter(({ payload }) => payload?.conversationId === conversationId || payload?._id === conversationId)
    .map(({ event, payload }) => [event, payload]);
}

/** Emits with an acknowledgement and waits for it. Without further arguments the event goes out without a payload. */
export async function emitAck(socket, event, ...args) {
  try {
    return await socket.timeout(PATIENCE_MS).emitWithAck(event, ...args);
  } catch (error) {
    const state = socket.connected ? 'connected' : 'disconnected';
    throw new Error(`${event} was not acknowledged within ${PATIENCE_MS} ms (${state})`, { cause: error });
  }
}

/** Emits and asserts success; hands back the acknowledgement. */
export async function succeed(socket, event, payload) {
  const answer = await emitAck(socket, event, payload);
  assert.equal(answer?.success, true, `${event} ${JSON.stringify(payload)}: ${JSON.stringify(answer)}`);
  return answer;
}

/** Asserts that an event is refused with one of `codes`, in the acknowledgement and in the error event alike. */
export async function rejected(socket, codes, event, ...args) {
  const allowed = [codes].flat();
  const where = `${event}(${args.map((arg) => JSON.stringify(arg)?.slice(0, 200)).join(', ')})`;
  const answer = await emitAck(socket, event, ...args);
  keys(answer, ['success', 'error'], [], `in the acknowledgement of ${where}`);
  assert.equal(answer.success, false, where);
  keys(answer.error, ['code', 'message'], [], `in the acknowledgement of ${where}`);
  assert.ok(allowed.includes(answer.error.code), `${where}: ${allowed.join(' or ')} expected, got ${JSON.stringify(answer.error)}`);
  assert.equal(typeof answer.error.message, 'string', where);
  const told = await once(socket, 'error', (error) => error?.event === event);
  keys(told, ['code', 'message', 'event'], [], `in the error event of ${where}`);
  assert.equal(told.code, answer.error.code, where);
  assert.equal(typeof told.message, 'string', where);
  return told;
}

/** Lets some time pass. Only for showing that something does *not* arrive; everything else is waited for by name. */
export function quiet(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
