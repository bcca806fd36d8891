// What a run may be told through the environment. A wrong value ends it at once and names its variable.
// Knows nothing of what the values are for: each script gives its own defaults.

function wrong(name, value, wanted) {
  throw new Error(`${name}=${value}: ${wanted} is wanted`);
}

/** A number within bounds. */
export function number(name, byDefault, lowest, highest) {
  const text = __ENV[name];
  if (text === undefined || text === '') return byDefault;
  const value = Number(text);
  if (!Number.isFinite(value) || value < lowest || value > highest) wrong(name, text, `a number from ${lowest} to ${highest}`);
  return value;
}

/** A whole number within bounds. */
export function whole(name, byDefault, lowest, highest) {
  const value = number(name, byDefault, lowest, highest);
  if (!Number.isInteger(value)) wrong(name, __ENV[name], 'a whole number');
  return value;
}

const UNITS = { ms: 0.001, s: 1, m: 60, h: 3600 };

/** Seconds, from a text such as 90s, 1m30s or 2h. */
export function seconds(text) {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return NaN;
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce((sum, [, count, unit]) => sum + Number(count) * UNITS[unit], 0);
}

/** A span, in seconds. */
export function duration(name, byDefault, longest = 24 * 3600) {
  const text = __ENV[name] || byDefault;
  const value = seconds(text);
  if (!(value >= 0 && value <= longest)) wrong(name, text, `a span such as 90s, 5m or 1h30m, of ${longest} s at the most,`);
  return value;
}

/** One of several words. */
export function choice(name, byDefault, among) {
  const value = __ENV[name] || byDefault;
  if (!among.includes(value)) wrong(name, value, `one of ${among.join(' | ')}`);
  return value;
}

/** Any text. */
export function text(name, byDefault) {
  return __ENV[name] || byDefault;
}

/** A switch: 1 or 0. */
export function on(name, byDefault) {
  return choice(name, byDefault ? '1' : '0', ['0', '1']) === '1';
}

function urls() {
  const found = text('BASE_URL', 'http://127.0.0.1:3000').split(',').map((url) => url.trim().replace(/\/+$/, '')).filter(Boolean);
  if (!found.length || !found.every((url) => /^https?:\/\/(\[[0-9a-f:]+\]|[^/?#:]+)(:\d+)?$/.test(url))) {
    wrong('BASE_URL', __ENV.BASE_URL, 'one or several addresses such as http://127.0.0.1:3000, with commas between,');
  }
  return found;
}

/** The largest group that can be made: 256 others. */
const LARGEST = 257;
/** What the gateways take of one socket at a time by default (`sockets.max_in_flight`). */
const OF_ONE_SOCKET = 256;

/**
 * What all scripts are told in the same way. `byDefault` has users, members, rate and ramp, and whatever else differs; `without` are
 * the variables that mean nothing to the script, so that nobody believes they did.
 */
export function common(byDefault) {
  for (const name of byDefault.without || []) if (__ENV[name]) throw new Error(`${name}=${__ENV[name]}: it means nothing to this script`);
  const members = whole('MEMBERS', byDefault.members || 5, 2, LARGEST);
  const wanted = {
    urls: urls(),
    transports: choice('TRANSPORT', byDefault.transport || 'websocket', ['websocket', 'polling', 'polling,websocket']).split(','),
    roam: on('ROAM', false),
    dialect: choice('DIALECT', 'conversations', ['conversations', 'rooms']),
    users: whole('USERS', byDefault.users, 1, 20000),
    members,
    rate: number('RATE', byDefault.rate, 0, 100000),
    visitRate: number('VISIT_RATE', byDefault.visitRate || 0, 0, 10000),
    postRate: number('POST_RATE', byDefault.postRate || 0, 0, 10000),
    duration: duration('DURATION', byDefault.duration || '0s'),
    ramp: duration('RAMP', byDefault.ramp || '5s'),
    settle: duration('SETTLE', '15s', 600),
    contentBytes: whole('CONTENT_BYTES', 100, 100, 4000),
    // Twice what makes the gateways refuse: a bound for k6's memory, not for the load.
    maxInFlight: whole('MAX_IN_FLIGHT', 2 * OF_ONE_SOCKET * members, 1, 1e6),
    ackTimeoutMs: whole('ACK_TIMEOUT_MS', 15000, 10, 600000),
    retries: whole('RETRIES', 3, 0, 100),
    verbose: on('VERBOSE', false),
    maxVus: whole('MAX_VUS', 500, 1, 10000),
    limits: {
      ack: number('ACK_P99_MS', byDefault.ackP99 || 1000, 1, 1e6),
      delivery: number('DELIVERY_P99_MS', byDefault.deliveryP99 || byDefault.ackP99 || 1000, 1, 1e6),
      rest: number('REST_P99_MS', byDefault.restP99 || 2000, 1, 1e6),
      late: number('LATE_P99_MS', 1000, 1, 1e6),
      rateLimitedOk: on('RATE_LIMITED_OK', false),
      overloadedOk: on('OVERLOADED_OK', byDefault.overloadedOk || false),
      lessLoadOk: on('LESS_LOAD_OK', byDefault.lessLoadOk || false),
    },
    accounts: {
      like: text('USERS_LIKE', ''),
      password: text('PASSWORD', 'confab-demo'),
      secret: text('JWT_SECRET', ''),
      most: whole('MAX_REGISTERED', 500, 1, 20000),
    },
  };
  if (wanted.users < wanted.members) wrong('MEMBERS', wanted.members, `no more than USERS (${wanted.users})`);
  wanted.rooms = Math.floor(wanted.users / wanted.members);
  // Users beyond that would have no room.
  wanted.users = wanted.rooms * wanted.members;
  wanted.variants = byDefault.variants || [{}];
  return wanted;
}

/** The settings of one room: `variants` are taken in turn. */
export function ofRoom(settings, index) {
  return { ...settings, ...settings.variants[index % settings.variants.length] };
}
