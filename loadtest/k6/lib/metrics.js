// What is measured beside k6's own metrics, and what must hold of it.

import { Counter, Rate, Trend } from 'k6/metrics';

/** In ms. */
export const ackMs = new Trend('ack_ms', true);
export const deliveryMs = new Trend('delivery_ms', true);
export const connectMs = new Trend('connect_ms', true);
export const reconnectMs = new Trend('reconnect_ms', true);
export const lateMs = new Trend('late_ms', true);
export const visitMs = new Trend('visit_ms', true);

/** Messages by what became of them: each is counted once under sent, and once under one of the next five. */
export const sent = new Counter('messages_sent');
export const acked = new Counter('messages_acked');
export const rateLimited = new Counter('messages_rate_limited');
export const overloaded = new Counter('messages_overloaded');
export const refused = new Counter('messages_refused');
export const unconfirmed = new Counter('messages_unconfirmed');
/** Requests that were refused because there were too many. */
export const requestsRateLimited = new Counter('requests_rate_limited');
export const requestsOverloaded = new Counter('requests_overloaded');
/** What came to members, and what was due but could not be sent. */
export const delivered = new Counter('messages_delivered');
export const retried = new Counter('messages_retried');
/** Attempts that were left open although the connection held: no answer in time, or one that does not say what became of the message. */
export const unanswered = new Counter('messages_unanswered');
export const skipped = new Counter('sends_skipped');

/** Broken promises, one for each message and member. */
export const lost = new Counter('lost');
export const duplicated = new Counter('duplicated');
export const outOfOrder = new Counter('out_of_order');
export const phantom = new Counter('phantom');
/** What was not asked of members that came back unrecovered. */
export const excused = new Counter('excused');

export const disconnects = new Counter('disconnects');
export const reconnects = new Counter('reconnects');
export const recovered = new Rate('recovered');
export const notRecovered = new Counter('not_recovered');
export const connected = new Rate('connected');
export const pings = new Counter('pings_answered');

/** Rooms, visits and other flows that came to their end; one that ends by an error in the script, or is cut off, does not. */
export const finished = new Counter('flows_finished');
/** Those under way. Whatever is left at the end has not come to its own. */
export const unsettled = new Counter('flows_unsettled');
export const expected = new Rate('expected');

/** Whether this is one of a share of all. */
export function oneOf(share) {
  return share >= 1 || Math.random() < share;
}

/** Runs what may neither fail nor stop on its way. */
export async function flow(name, run) {
  unsettled.add(1, { flow: name });
  await run();
  unsettled.add(-1, { flow: name });
  finished.add(1, { flow: name });
}

/**
 * What must hold of every run that sends messages over sockets; `rooms` of them. In all, `arrivals` visits and requests begin; `deserted`
 * says that rooms may be without anybody at times.
 */
export function promises(settings, { rooms, arrivals, deserted }) {
  const { limits } = settings;
  return {
    lost: ['count==0'],
    duplicated: ['count==0'],
    out_of_order: ['count==0'],
    phantom: ['count==0'],
    not_recovered: ['count==0'],
    excused: ['count==0'],
    messages_unconfirmed: ['count==0'],
    messages_unanswered: ['count==0'],
    messages_refused: ['count==0'],
    messages_sent: ['count>0'],
    messages_acked: ['count>0'],
    messages_delivered: ['count>0'],
    connected: ['rate==1'],
    expected: ['rate==1'],
    recovered: ['rate==1'],
    'flows_finished{flow:room}': [`count==${rooms}`],
    flows_unsettled: ['count==0'],
    ...(limits.rateLimitedOk ? {} : { messages_rate_limited: ['count==0'] }),
    ...(limits.overloadedOk ? {} : { messages_overloaded: ['count==0'] }),
    ack_ms: [`p(99)<${limits.ack}`],
    delivery_ms: [`p(99)<${limits.delivery}`],
    ...(limits.lessLoadOk ? {} : {
      late_ms: [`p(99)<${limits.late}`],
      [deserted ? 'sends_skipped{why:full}' : 'sends_skipped']: ['count==0'],
      ...dropped(arrivals),
    }),
  };
}

/** That k6 has begun what was due, but for one in a hundred. */
export function dropped(arrivals) {
  return arrivals > 0 ? { dropped_iterations: [`count<=${Math.floor(arrivals / 100)}`] } : {};
}

/** What every summary's trends show. */
export const TREND_STATS = ['count', 'min', 'avg', 'med', 'p(90)', 'p(95)', 'p(99)', 'p(99.9)', 'max'];
