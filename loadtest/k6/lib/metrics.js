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

/** Rooms, visits and other flows that came to their end; one that ends by an error in the script does not. */
export const finished = new Counter('flows_finished');
export const expected = new Rate('expected');

/** What must hold of every run that sends messages over sockets; `rooms` of them. */
export function promises(settings, rooms) {
  const { limits } = settings;
  return {
    lost: ['count==0'],
    duplicated: ['count==0'],
    out_of_order: ['count==0'],
    phantom: ['count==0'],
    not_recovered: ['count==0'],
    excused: ['count==0'],
    messages_unconfirmed: ['count==0'],
    messages_refused: ['count==0'],
    messages_sent: ['count>0'],
    messages_acked: ['count>0'],
    messages_delivered: ['count>0'],
    connected: ['rate==1'],
    expected: ['rate==1'],
    recovered: ['rate==1'],
    'flows_finished{flow:room}': [`count==${rooms}`],
    ...(limits.rateLimitedOk ? {} : { messages_rate_limited: ['count==0'] }),
    ...(limits.overloadedOk ? {} : { messages_overloaded: ['count==0'] }),
    ack_ms: [`p(99)<${limits.ack}`],
    delivery_ms: [`p(99)<${limits.delivery}`],
  };
}

/** What every summary's trends show. */
export const TREND_STATS = ['count', 'min', 'avg', 'med', 'p(90)', 'p(95)', 'p(99)', 'p(99.9)', 'max'];
