//! What the gateway counts. One struct; the help texts are the field docs.

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// The gateway's metrics. Base units; no user or room labels.
pub struct Metrics {
    registry: Registry,
    /// Open client connections.
    pub connections: IntGauge,
    /// Sessions that ended, by reason.
    pub sessions_closed: IntCounterVec,
    /// Requests for other nodes' sessions, by what came of them.
    pub passed_on: IntCounterVec,
    /// SockJS sessions that began here, by the transport of their first request.
    pub sockjs_sessions: IntCounterVec,
    /// STOMP sessions whose clients connected, over a WebSocket or SockJS, by the version that they speak.
    pub stomp_sessions: IntCounterVec,
    /// Open tunnels to other nodes' sessions.
    pub tunnels: IntGauge,
    /// Handshakes refused because their address or the node has too many, by limit.
    pub not_admitted: IntCounterVec,
    /// TLS handshakes of clients that came to nothing, by reason.
    pub tls_handshake_errors: IntCounterVec,
    /// Sockets (session and namespace) that connected.
    pub sockets_connected: IntCounter,
    /// Sockets whose clients came back and got what they had missed.
    pub sockets_recovered: IntCounter,
    /// Sockets whose clients came back and had to begin anew.
    pub sockets_not_recovered: IntCounter,
    /// Sockets that said only after CONNECT whose they are, guests included.
    pub sockets_introduced: IntCounter,
    /// Commands accepted, by name.
    pub commands: IntCounterVec,
    /// Commands refused because too much was waiting.
    pub overloaded: IntCounter,
    /// Seconds from a command's acceptance to its answer.
    pub send_to_ack_seconds: Histogram,
    /// Gaps in a conversation's order that were repaired from PostgreSQL.
    pub gap_repairs: IntCounter,
    /// Conversations that sockets are told of without having joined them, counted once for each.
    pub watched: IntGauge,
    /// Sockets that were told how much is unread.
    pub badges: IntCounter,
    /// Counts of unread messages that were read from PostgreSQL for that.
    pub unread_counts: IntCounter,
    /// Times that Redis lost its memory or a connection, and everything was compared with PostgreSQL.
    pub resyncs: IntCounter,
    /// Failed Redis calls.
    pub redis_errors: IntCounter,
    /// Rate limits.
    pub rate_limits: RateLimitMetrics,
    /// Who is online.
    pub online: OnlineMetrics,
    /// Bytes that wait to be written to clients.
    pub send_queue_bytes: IntGauge,
}

/// What is counted of rate limits.
pub struct RateLimitMetrics {
    /// Questions whether something limited may be done, by class and by what was answered.
    pub decisions: IntCounterVec,
    /// Times that somebody was blocked for a while, by class.
    pub blocks: IntCounterVec,
}

impl RateLimitMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        Ok(Self {
            decisions: counters(
                "confab_gateway_rate_limit_decisions_total",
                "Questions whether something limited may be done, by class and by what was answered.",
                &["class", "outcome"],
            )?,
            blocks: counters(
                "confab_gateway_rate_limit_blocks_total",
                "Times that somebody was blocked for a while, by class.",
                &["class"],
            )?,
        })
    }
}

/// What is counted of who is online.
pub struct OnlineMetrics {
    /// Users who are connected here, or were until a moment ago.
    pub users: IntGauge,
    /// Changes of users' statuses that this node has announced.
    pub announced: IntCounter,
    /// People whom those were announced to, by node that they are connected to.
    pub told: IntCounter,
    /// Users of nodes that are gone whom this node has taken out.
    pub reaped: IntCounter,
    /// Times that a socket was shown who is online.
    pub shown: IntCounter,
    /// Users whose contacts could not be found while others' could: they were not told of a change, or not shown who is online.
    pub given_up: IntCounter,
}

impl OnlineMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let users = IntGauge::new(
            "confab_gateway_users_online",
            "Users who are connected here, or were until a moment ago.",
        )?;
        registry.register(Box::new(users.clone()))?;
        Ok(Self {
            users,
            announced: counter(
                "confab_gateway_statuses_announced_total",
                "Changes of users' statuses that this node has announced.",
            )?,
            told: counter(
                "confab_gateway_statuses_told_total",
                "People whom those were announced to, by node that they are connected to.",
            )?,
            reaped: counter(
                "confab_gateway_users_reaped_total",
                "Users of nodes that are gone whom this node has taken out.",
            )?,
            shown: counter(
                "confab_gateway_contacts_shown_total",
                "Times that a socket was shown who is online.",
            )?,
            given_up: counter(
                "confab_gateway_contacts_given_up_total",
                "Users whose contacts could not be found while others' could: they were not told of a change, or not shown who is online.",
            )?,
        })
    }
}

impl Metrics {
    /// Registers all metrics. Fails only if two have one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let counters =
            |name: &str, help: &str, label: &str| -> Result<IntCounterVec, prometheus::Error> {
                let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
                registry.register(Box::new(counters.clone()))?;
                Ok(counters)
            };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Self {
            connections: gauge("confab_gateway_connections", "Open client connections.")?,
            sessions_closed: counters(
                "confab_gateway_sessions_closed_total",
                "Sessions that ended, by reason.",
                "reason",
            )?,
            passed_on: counters(
                "confab_gateway_passed_on_total",
                "Requests for other nodes' sessions, by what came of them.",
                "outcome",
            )?,
            sockjs_sessions: counters(
                "confab_gateway_sockjs_sessions_total",
                "SockJS sessions that began here, by the transport of their first request.",
                "transport",
            )?,
            stomp_sessions: stomp_sessions(&registry)?,
            tunnels: gauge(
                "confab_gateway_tunnels",
                "Open tunnels to other nodes' sessions.",
            )?,
            not_admitted: counters(
                "confab_gateway_not_admitted_total",
                "Handshakes refused because their address or the node has too many, by limit.",
                "limit",
            )?,
            tls_handshake_errors: tls_handshake_errors(&registry)?,
            sockets_connected: counter(
                "confab_gateway_sockets_connected_total",
                "Sockets that connected.",
            )?,
            sockets_recovered: counter(
                "confab_gateway_sockets_recovered_total",
                "Sockets whose clients came back and got what they had missed.",
            )?,
            sockets_introduced: counter(
                "confab_gateway_sockets_introduced_total",
                "Sockets that said only after CONNECT whose they are, guests included.",
            )?,
            sockets_not_recovered: counter(
                "confab_gateway_sockets_not_recovered_total",
                "Sockets whose clients came back and had to begin anew.",
            )?,
            commands: counters(
                "confab_gateway_commands_total",
                "Commands accepted, by name.",
                "command",
            )?,
            overloaded: counter(
                "confab_gateway_overloaded_total",
                "Commands refused because too much was waiting.",
            )?,
            send_to_ack_seconds: send_to_ack(&registry)?,
            gap_repairs: counter(
                "confab_gateway_gap_repairs_total",
                "Gaps in a conversation's order that were repaired from PostgreSQL.",
            )?,
            watched: gauge(
                "confab_gateway_watched",
                "Conversations that sockets are told of without having joined them, counted once for each.",
            )?,
            badges: counter(
                "confab_gateway_badges_total",
                "Sockets that were told how much is unread.",
            )?,
            unread_counts: counter(
                "confab_gateway_unread_counts_total",
                "Counts of unread messages that were read from PostgreSQL.",
            )?,
            resyncs: counter(
                "confab_gateway_resyncs_total",
                "Times that everything was compared with PostgreSQL after a loss.",
            )?,
            redis_errors: counter("confab_gateway_redis_errors_total", "Failed Redis calls.")?,
            rate_limits: RateLimitMetrics::register(&registry)?,
            online: OnlineMetrics::new(&registry)?,
            send_queue_bytes: gauge(
                "confab_gateway_send_queue_bytes",
                "Bytes that wait to be written to clients.",
            )?,
            registry,
        })
    }

    /// All metrics in Prometheus' text format.
    pub fn scrape(&self) -> Result<Vec<u8>, prometheus::Error> {
        let queued = i64::try_from(crate::hub::send_queue::queued_bytes()).unwrap_or(i64::MAX);
        self.send_queue_bytes.set(queued);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

fn stomp_sessions(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let sessions = IntCounterVec::new(
        Opts::new(
            "confab_gateway_stomp_sessions_total",
            "STOMP sessions whose clients connected, over a WebSocket or SockJS, by the version that they speak.",
        ),
        &["version"],
    )?;
    registry.register(Box::new(sessions.clone()))?;
    Ok(sessions)
}

fn tls_handshake_errors(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let errors = IntCounterVec::new(
        Opts::new(
            "confab_gateway_tls_handshake_errors_total",
            "TLS handshakes of clients that came to nothing, by reason.",
        ),
        &["reason"],
    )?;
    registry.register(Box::new(errors.clone()))?;
    Ok(errors)
}

fn send_to_ack(registry: &Registry) -> Result<Histogram, prometheus::Error> {
    let seconds = Histogram::with_opts(
        HistogramOpts::new(
            "confab_gateway_send_to_ack_seconds",
            "Seconds from a command's acceptance to its answer.",
        )
        .buckets(vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ]),
    )?;
    registry.register(Box::new(seconds.clone()))?;
    Ok(seconds)
}
