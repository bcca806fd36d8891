//! What the gateway counts. Each field's name behind its struct's prefix is the metric's, and its doc comment the help text.
//!
//! Base units; no label whose values clients choose, and none that names a user or a room. What is counted per event is counted once for
//! the event, not once per socket.

mod answers;
mod tls;

use std::fmt;

use confab_shared::metrics::{self, Common, Operations, Pool, Pulls, Spans};
use parking_lot::Mutex;
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result,
};

use crate::dialect;
use crate::recovery::Refusal;
use crate::session::DisconnectReason;
pub use tls::TlsMetrics;

/// Seconds that a client or its message waits: by milliseconds around the targets (1.5 ms at the median, 5 ms at the 99th percentile), so that
/// it shows when they are missed, then coarser up to the time-out of a command.
const WAIT_SECONDS: [f64; 14] = [
    0.001, 0.001_5, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Seconds of a request: from a read of one row to a time-out; a password's hash takes some tens of milliseconds.
const REQUEST_SECONDS: [f64; 11] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];
/// What is asked of Redis.
const REDIS: [&str; 12] = [
    "append",
    "claim",
    "epoch",
    "history",
    "limit",
    "look_up",
    "node_lease",
    "presence",
    "publish",
    "record",
    "subscribe",
    "tick",
];
/// What is asked of PostgreSQL beside REST's questions, which are in their routes' seconds.
const POSTGRES: [&str; 9] = [
    "access",
    "authenticate",
    "compare",
    "contacts",
    "note_delivered",
    "open_rooms",
    "repair",
    "unread",
    "view",
];
/// What becomes of a client that comes back for its former socket.
const RESUMES: [&str; 2] = ["recovered", "failed"];
/// Why somebody is not who he says, and where he said so.
const AUTH_FAILURES: [[&str; 2]; 7] = [
    ["rest", "expired"],
    ["rest", "invalid"],
    ["rest", "password"],
    ["rest", "revoked"],
    ["socket", "expired"],
    ["socket", "invalid"],
    ["socket", "revoked"],
];
/// What carries sessions.
const CARRIERS: [[&str; 2]; 7] = [
    ["engine_io", "polling"],
    ["engine_io", "websocket"],
    ["sockjs", "eventsource"],
    ["sockjs", "websocket"],
    ["sockjs", "xhr"],
    ["sockjs", "xhr_streaming"],
    ["stomp", "websocket"],
];

/// What commands are answered that says something of the system rather than of who asked.
const ANSWERS: [&str; 4] = ["ok", "INTERNAL", "OVERLOADED", "TIMEOUT"];
/// Which limits handshakes are refused by.
const ADMISSION: [&str; 3] = ["handshakes_per_ip", "max_sessions", "sessions_per_ip"];
/// What becomes of requests for other nodes' sessions.
const PASSING: [&str; 4] = [
    "answered",
    "directory_unavailable",
    "owner_silent",
    "owner_unknown",
];

confab_shared::metrics! {
    /// The gateway's metrics.
    pub struct Metrics, "confab_gateway_" {
        /// Where they are entered.
        registry: Registry;
        /// What is looked up for a scrape.
        pulls: Pulls;
        /// Whether the gateway wants traffic: 1, or 0 before it has started, when it drains, and while one of its parts is stuck.
        ready: IntGauge;
        /// Open client connections.
        connections: IntGauge;
        /// The most client connections at a time (http.max_connections).
        connections_limit: IntGauge;
        /// Open sessions, by protocol and by what carries them.
        sessions: IntGaugeVec, by ["protocol", "transport"];
        /// The most sessions at a time (engine.max_sessions).
        sessions_limit: IntGauge;
        /// Sessions that began, by protocol and by the transport of their first request.
        sessions_opened_total: IntCounterVec, by ["protocol", "transport"];
        /// Sessions that ended, by reason.
        sessions_closed_total: IntCounterVec, by ["reason"];
        /// STOMP sessions whose clients connected, over a WebSocket or SockJS, by the version that they speak.
        stomp_sessions_total: IntCounterVec, by ["version"];
        /// Requests for other nodes' sessions, by what came of them.
        passed_on_total: IntCounterVec, by ["outcome"];
        /// Open tunnels to other nodes' sessions.
        tunnels: IntGauge;
        /// Handshakes refused because their address or the node has too many, by limit.
        not_admitted_total: IntCounterVec, by ["limit"];
        /// TLS.
        tls: TlsMetrics;
        /// Tokens and passwords that were not accepted, by where (socket or rest) and why.
        auth_failures_total: IntCounterVec, by ["door", "reason"];
        /// Users' sockets, by the dialect that they speak, or are taken to speak until their first event.
        sockets: IntGaugeVec, by ["dialect"];
        /// Sockets (session and namespace) that connected.
        sockets_connected_total: IntCounter;
        /// Sockets that said only after CONNECT whose they are, guests included.
        sockets_introduced_total: IntCounter;
        /// Sockets whose clients came back for what they had missed, by what came of it: recovered; or begun anew because the former socket is unknown or its time is over (unknown), because Redis no longer has all that was announced since (forgotten), because too much was missed (too_much), because it cannot be told what had been shown (uncertain) or is still changing (unsettled); or refused, because it could not be looked up (failed).
        resumes_total: IntCounterVec, by ["outcome"];
        /// Events of clients' sockets, by what they ask for; refused if that could not be told.
        events_received_total: IntCounterVec, by ["event"];
        /// Events that were announced to rooms which somebody listens to here, by kind; once, however many listen.
        events_shown_total: IntCounterVec, by ["event"];
        /// Sockets that those events were queued for, by kind of event.
        deliveries_total: IntCounterVec, by ["event"];
        /// Seconds from a worker's decision on a change to its frames being queued for all who listen here, once per event that was announced, held back behind a gap or not; by the clocks of both machines, and to the millisecond. What was read from PostgreSQL is not in it: it may be of any age.
        delivery_seconds: Histogram, in WAIT_SECONDS;
        /// Commands accepted, by name.
        commands_total: IntCounterVec, by ["command"];
        /// Commands that wait for their answer.
        commands_pending: IntGauge;
        /// Seconds from a command's acceptance to its answer, by name and by what became of it: ok, so for send_message from sending to acknowledgement; refused, as whoever asked may not; or failed, through no fault of theirs.
        command_seconds: HistogramVec, by ["command", "outcome"], in WAIT_SECONDS;
        /// Answers to commands: ok, or the code of the refusal.
        command_answers_total: IntCounterVec, by ["outcome"];
        /// Commands refused because too much was waiting.
        overloaded_total: IntCounter;
        /// Bytes that wait to be written to clients.
        send_queue_bytes: IntGauge;
        /// Rooms that are open here: somebody listens or watches, or did until a moment ago.
        rooms: IntGauge;
        /// Gaps in a conversation's order that were repaired from PostgreSQL.
        gap_repairs_total: IntCounter;
        /// Times that everything was compared with PostgreSQL because something may have been lost: Redis its memory, a connection, messages.
        resyncs_total: IntCounter;
        /// Messages of other nodes and workers that came faster than they were read, and were lost to this node until it compared.
        lost_messages_total: IntCounter;
        /// Conversations that sockets are told of without having joined them, counted once for each.
        watched: IntGauge;
        /// Sockets that were told how much is unread.
        badges_total: IntCounter;
        /// Counts of unread messages that were read from PostgreSQL for that.
        unread_counts_total: IntCounter;
        /// Rate limits.
        rate_limits: RateLimits;
        /// Who is online.
        online: Online;
        /// REST.
        rest: Rest;
        /// PostgreSQL.
        postgres: Operations;
        /// Redis.
        redis: Operations;
        /// The connections to PostgreSQL.
        pool: Pool;
        /// Traces.
        spans: Spans;
        /// Of the program.
        common: Common;
    }
}

confab_shared::metrics! {
    /// What is counted of rate limits.
    pub struct RateLimits, "confab_gateway_rate_limit_" {
        /// Questions whether something limited may be done, by class and by what was answered: allowed, limited, or failed_open while Redis was away.
        decisions_total: IntCounterVec, by ["class", "outcome"];
        /// Times that somebody was blocked for a while, by class.
        blocks_total: IntCounterVec, by ["class"];
    }
}

confab_shared::metrics! {
    /// What is counted of who is online.
    pub struct Online, "confab_gateway_presence_" {
        /// Users who are connected here, or were until a moment ago.
        users: IntGauge;
        /// Changes of users' statuses that this node has announced.
        announced_total: IntCounter;
        /// People whom those were announced to, by node that they are connected to.
        told_total: IntCounter;
        /// Users of nodes that are gone whom this node has taken out.
        reaped_total: IntCounter;
        /// Times that a socket was shown who is online.
        shown_total: IntCounter;
        /// Users whose contacts could not be found while others' could: they were not told of a change, or not shown who is online.
        given_up_total: IntCounter;
    }
}

confab_shared::metrics! {
    /// What is counted of REST.
    pub struct Rest, "confab_gateway_rest_" {
        /// Requests that were answered, by the route's template, method and class of status; what is no route of ours is none.
        requests_total: IntCounterVec, by ["route", "method", "status"];
        /// Seconds that an answer took, by the route's template.
        seconds: HistogramVec, by ["route"], in REQUEST_SECONDS;
        /// Requests under way.
        in_flight: IntGauge;
    }
}

impl Metrics {
    /// New metrics, all at zero. Where all values of a label are known they are there from the beginning: a rise from nothing is none
    /// to Prometheus.
    pub fn new() -> Result<Self> {
        let metrics = Self::register(&Registry::new())?;
        metrics.common.watch(&metrics.registry, &metrics.pulls)?;
        metrics.redis.declare(&REDIS);
        metrics.postgres.declare(&POSTGRES);
        let reasons = DisconnectReason::ALL.map(DisconnectReason::as_str);
        show(&metrics.sessions_closed_total, &reasons);
        show(&metrics.resumes_total, &RESUMES);
        show(&metrics.resumes_total, &Refusal::ALL.map(Refusal::as_str));
        show(&metrics.command_answers_total, &ANSWERS);
        show(&metrics.not_admitted_total, &ADMISSION);
        metrics.tls.declare();
        show(&metrics.passed_on_total, &PASSING);
        show(&metrics.commands_total, &["send_message"]);
        show(&metrics.events_received_total, &["refused"]);
        show(&metrics.events_shown_total, &["message_stored"]);
        show(&metrics.deliveries_total, &["message_stored"]);
        for dialect in dialect::ALL {
            metrics.sockets.with_label_values(&[dialect.id()]);
        }
        for labels in AUTH_FAILURES {
            metrics.auth_failures_total.with_label_values(&labels);
        }
        for labels in CARRIERS {
            metrics.sessions.with_label_values(&labels);
            metrics.sessions_opened_total.with_label_values(&labels);
        }
        for outcome in answers::OUTCOMES {
            metrics
                .command_seconds
                .with_label_values(&["send_message", outcome]);
        }
        let (queued, gauge) = (
            crate::hub::send_queue::queued_bytes,
            metrics.send_queue_bytes.clone(),
        );
        metrics
            .pulls
            .add(move || gauge.set(i64::try_from(queued()).unwrap_or(i64::MAX)));
        Ok(metrics)
    }

    /// Says which build this is.
    pub fn is_built_from(&self, commit: Option<&str>) {
        (self.common).is_built("confab-gateway", env!("CARGO_PKG_VERSION"), commit);
    }

    /// All metrics in Prometheus' text format.
    pub fn scrape(&self) -> Result<Vec<u8>> {
        metrics::render(&self.registry, &self.pulls)
    }
}

fn show(counters: &IntCounterVec, labels: &[&str]) {
    for label in labels {
        counters.with_label_values(&[label]);
    }
}

/// Something in its gauge, for as long as this is kept.
pub struct Counted {
    gauge: Mutex<IntGauge>,
}

impl Counted {
    /// One more in this gauge.
    pub fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self {
            gauge: Mutex::new(gauge),
        }
    }

    /// It belongs to another gauge from here on.
    pub fn move_to(&self, gauge: IntGauge) {
        gauge.inc();
        std::mem::replace(&mut *self.gauge.lock(), gauge).dec();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.get_mut().dec();
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_counted_where_it_is_and_nowhere_when_it_is_gone() {
        let gauges = Metrics::new().unwrap().sessions;
        let gauge = |transport| gauges.with_label_values(&["engine_io", transport]);
        let counted = Counted::new(gauge("polling"));
        let read = || (gauge("polling").get(), gauge("websocket").get());
        assert_eq!(read(), (1, 0));
        counted.move_to(gauge("websocket"));
        assert_eq!(read(), (0, 1));
        drop(counted);
        assert_eq!(read(), (0, 0));
    }

    #[test]
    fn all_reasons_are_there_from_the_beginning() {
        let text = String::from_utf8(Metrics::new().unwrap().scrape().unwrap()).unwrap();
        for told in [
            "confab_gateway_sessions_closed_total{reason=\"slow_consumer\"} 0\n",
            "confab_gateway_resumes_total{outcome=\"recovered\"} 0\n",
            "confab_gateway_auth_failures_total{door=\"rest\",reason=\"password\"} 0\n",
            "confab_gateway_redis_errors_total{operation=\"append\"} 0\n",
            "# HELP confab_gateway_connections Open client connections.\n",
        ] {
            assert!(text.contains(told), "{told}\n{text}");
        }
    }
}
