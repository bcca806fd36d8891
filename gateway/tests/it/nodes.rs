//! Several nodes and no affinity: sessions of one node, requests to another.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::draining::LINGER;
use crate::http::{Answer, Polling, Request};
use crate::raw::{Echo, PATIENCE, Raw, seen_in_time};
use crate::registry::Redis;

const CALM: [&str; 2] = ["--ping-interval-ms", "60000"];

/// Sooner than an owner is given up that says nothing: that takes eight seconds.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(6);

/// Two nodes that know each other.
struct Pair {
    /// Owns the sessions of these tests.
    owner: Echo,
    /// Gets their requests.
    edge: Echo,
    /// The owner's internal listener.
    internal: SocketAddr,
}

impl Pair {
    fn start() -> Self {
        Self::with(&CALM)
    }

    fn with(flags: &[&str]) -> Self {
        let mut nodes = Echo::nodes(2, flags);
        let (Some((edge, _)), Some((owner, internal))) = (nodes.pop(), nodes.pop()) else {
            panic!("two nodes")
        };
        Self {
            owner,
            edge,
            internal,
        }
    }

    /// A session of the owner, whose client happens to talk to the other node.
    fn session(&self) -> Polling<'_> {
        let opened = self.owner.polling("/engine.io/");
        Polling {
            echo: &self.edge,
            ..opened
        }
    }

    /// A request straight to the owner's internal listener.
    fn internally(&self, method: &str, target: &str, headers: &str) -> Answer {
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{headers}\r\n");
        Request::raw(self.internal, head.as_bytes()).answer()
    }
}

#[test]
fn polls_and_posts_reach_their_session_through_another_node() {
    let pair = Pair::start();
    let session = pair.session();
    session.post("4hello").is(200, "ok");
    session.poll().is(200, "4hello");
    let mut poll = session.waiting_poll();
    session.post("4one\u{1e}bAQIDBA==").is(200, "ok");
    poll.answer().is(200, "4one\u{1e}bAQIDBA==");
    let large = format!("4{}", "x".repeat(999_000));
    session.post(&large).is(200, "ok");
    session.poll().is(200, &large);
    let too_large = "4".repeat(1_000_001);
    assert_eq!(session.post(&too_large).status, 413);
    session.post("1").is(200, "ok");
    session.poll().is_refused(1);
}

#[test]
fn requests_that_alternate_between_nodes_are_one_session() {
    let pair = Pair::start();
    let there = pair.session();
    let here = Polling {
        echo: &pair.owner,
        target: there.target.clone(),
        sid: there.sid.clone(),
    };
    for round in 0..50 {
        let (one, other) = if round % 2 == 0 {
            (&there, &here)
        } else {
            (&here, &there)
        };
        let message = format!("4{round}");
        one.post(&message).is(200, "ok");
        other.poll().is(200, &message);
    }
}

#[test]
fn an_answer_is_compressed_through_another_node_and_pages_may_read_it() {
    let pair = Pair::start();
    let session = pair.session();
    session
        .post(&format!("4{}", "x".repeat(5_000)))
        .is(200, "ok");
    let wish = "Accept-Encoding: gzip\r\nOrigin: https://app.example\r\n";
    let answer = pair.edge.get(&session.target, wish).answer();
    assert_eq!(answer.header("content-encoding"), ["gzip"]);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        ["https://app.example"]
    );
    assert!(answer.body.len() < 500);
}

#[test]
fn overlapping_polls_through_another_node_close_the_session() {
    let pair = Pair::start();
    let session = pair.session();
    let mut first = session.waiting_poll();
    assert_eq!(pair.owner.open_sessions(), 1);
    session.poll().is_refused(3);
    first.answer().is(200, "1");
    pair.owner.has(0);
}

#[test]
fn an_abort_at_another_node_closes_the_session_at_its_owner() {
    let pair = Pair::start();
    let session = pair.session();
    let poll = session.waiting_poll();
    assert_eq!(pair.owner.open_sessions(), 1);
    drop(poll);
    pair.owner.has(0);
    session.poll().is_refused(1);
}

#[test]
fn a_post_that_came_whole_is_processed_though_its_client_left() {
    let pair = Pair::start();
    let session = pair.session();
    for round in 0..20 {
        let message = format!("4last words {round}");
        drop(session.begin_post(message.len(), message.as_bytes()));
        session.poll().is(200, &message);
    }
}

#[test]
fn a_dead_owner_is_answered_for_at_once() {
    // A slow machine may take longer, but not every time.
    let mut seen = Vec::new();
    let is_at_once = (0..3).any(|_| {
        seen.push(answers_for_the_dead());
        seen.last().is_some_and(|took| *took < AT_ONCE)
    });
    assert!(is_at_once, "{seen:?}");
}

fn answers_for_the_dead() -> Duration {
    let mut pair = Pair::start();
    let (target, mut waiting) = {
        let session = pair.session();
        (session.target.clone(), session.waiting_poll())
    };
    pair.owner.child.kill().unwrap();
    let killed = Instant::now();
    waiting.answer().is_refused(1);
    pair.edge.get(&target, "").answer().is_refused(1);
    let upgrade = target.replace("polling", "websocket");
    refused_upgrade(&pair.edge, &upgrade);
    killed.elapsed()
}

#[test]
fn an_owner_that_stands_still_fails_its_polls_in_a_few_seconds() {
    let pair = Pair::start();
    let session = pair.session();
    let mut waiting = session.waiting_poll();
    signal(&pair.owner, "-STOP");
    let stopped = Instant::now();
    waiting.answer().is_refused(1);
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    signal(&pair.owner, "-CONT");
}

#[test]
fn an_upgrade_through_another_node_is_one_session() {
    let pair = Pair::start();
    let session = pair.session();
    let mut waiting = session.waiting_poll();
    let mut raw = Raw::upgrade(pair.edge.address, &session.upgrade_target());
    raw.send_text("2probe");
    assert_eq!(raw.text(), "3probe");
    waiting.answer().is(200, "6");
    session.post("4by post").is(200, "ok");
    session.poll().is(200, "4by post");
    raw.send_text("5");
    raw.send_text("4by websocket");
    assert_eq!(raw.text(), "4by websocket");
    let large = format!("4{}", "x".repeat(900_000));
    raw.send_text(&large);
    assert_eq!(raw.text(), large);
    session.poll().is_refused(3);
    refused_upgrade(&pair.edge, &session.upgrade_target());
    raw.send_text("4unharmed");
    assert_eq!(raw.text(), "4unharmed");
    drop(raw);
    pair.owner.has(0);
}

#[test]
fn a_websocket_through_another_node_ends_with_its_session() {
    let pair = Pair::with(&["--ping-interval-ms", "1500", "--ping-timeout-ms", "10000"]);
    let session = pair.session();
    let mut raw = Raw::upgrade(pair.edge.address, &session.upgrade_target());
    raw.send_text("2probe");
    assert_eq!(raw.text(), "3probe");
    raw.send_text("5");
    // Nobody answers the pings.
    assert_eq!(raw.closed(), Some(1008));
    pair.owner.has(0);
}

#[test]
fn a_websocket_through_a_node_that_dies_is_over_and_so_is_its_session() {
    let mut pair = Pair::start();
    let target = pair.session().upgrade_target();
    let mut raw = Raw::upgrade(pair.edge.address, &target);
    raw.send_text("2probe");
    assert_eq!(raw.text(), "3probe");
    raw.send_text("5");
    raw.send_text("4hello");
    assert_eq!(raw.text(), "4hello");
    pair.edge.child.kill().unwrap();
    assert_eq!(raw.closed(), None);
    pair.owner.has(0);
}

#[test]
fn a_draining_node_lets_other_nodes_sessions_go_unharmed() {
    let mut pair = Pair::start();
    let (polled, upgraded) = (pair.session(), pair.session());
    let mut raw = Raw::upgrade(pair.edge.address, &upgraded.upgrade_target());
    raw.send_text("2probe");
    assert_eq!(raw.text(), "3probe");
    raw.send_text("5");
    let mut waiting = polled.waiting_poll();
    assert_eq!(pair.owner.open_sessions(), 2);
    let target = polled.target.clone();
    signal(&pair.edge, "-TERM");
    waiting.answer().is(200, "6");
    assert_eq!(raw.closed(), Some(1000));
    // The session that polls goes on, wherever its client asks next; the other one's client reconnects and recovers.
    pair.owner.has(1);
    let elsewhere = Polling {
        echo: &pair.owner,
        target,
        sid: String::new(),
    };
    elsewhere.post("4unharmed").is(200, "ok");
    elsewhere.poll().is(200, "4unharmed");
    pair.edge.leaves();
}

#[test]
fn a_draining_owner_is_reached_until_its_last_session_has_left() {
    seen_in_time(LINGER, a_draining_owner);
}

fn a_draining_owner(since: &Cell<Instant>) {
    let mut pair = Pair::start();
    let (session, upgraded) = (pair.session(), pair.session());
    let mut raw = Raw::upgrade(pair.edge.address, &upgraded.upgrade_target());
    raw.send_text("2probe");
    assert_eq!(raw.text(), "3probe");
    raw.send_text("5");
    raw.send_text("4moved");
    assert_eq!(raw.text(), "4moved");
    let mut waiting = session.waiting_poll();
    let later = pair.session();
    let target = later.target.clone();
    since.set(Instant::now());
    signal(&pair.owner, "-TERM");
    waiting.answer().is(200, "1");
    assert_eq!(raw.closed(), Some(1012));
    pair.edge.get(&target, "").answer().is(200, "1");
    pair.owner.leaves();
    pair.edge.get(&target, "").answer().is_refused(1);
}

#[tokio::test]
async fn nodes_find_each_other_in_a_registry() {
    let redis = Redis::start().await.0;
    let flags = ["--redis", &redis.url, "--ping-interval-ms", "60000"];
    let (owner, edge) = (Echo::alone(&flags), Echo::alone(&flags));
    let opened = owner.polling("/engine.io/");
    let session = Polling {
        echo: &edge,
        ..opened
    };
    session.post("4hello").is(200, "ok");
    session.poll().is(200, "4hello");
    signal(&owner, "-TERM");
    let until = Instant::now() + PATIENCE;
    while session.poll().status == 200 {
        assert!(Instant::now() < until, "it never left");
    }
    session.poll().is_refused(1);
}

#[test]
fn peers_are_believed_on_the_internal_listener_only() {
    let pair = Pair::start();
    let session = pair.session();
    // A client that speaks as a node to the public listener is a client: its request is passed on as any other.
    session.post("4hello").is(200, "ok");
    let forged = "confab-hop: passed\r\nconfab-client: 198.51.100.1\r\n";
    pair.edge
        .get(&session.target, forged)
        .answer()
        .is(200, "4hello");
    let mut waiting = session.waiting_poll();
    let release = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nconfab-hop: release\r\n\r\n6",
        session.target
    );
    Request::raw(pair.owner.address, release.as_bytes())
        .answer()
        .is(200, "ok");
    assert!(waiting.is_waiting(Duration::from_millis(50)));
    // Nobody begins a session on the internal listener, and nobody uses one there without being a node.
    let handshake = "/engine.io/?EIO=4&transport=polling";
    assert_eq!(pair.internally("GET", handshake, "").status, 403);
    assert_eq!(pair.internally("GET", handshake, forged).status, 403);
    assert_eq!(pair.internally("GET", &session.target, "").status, 403);
    // What a node passed on in error is not passed on again.
    let elsewhere = pair.edge.polling("/engine.io/");
    pair.internally("GET", &elsewhere.target, forged)
        .is_refused(1);
    // A node that drains lets the poll go that it passed on.
    let released = pair.internally("POST", &session.target, "confab-hop: release\r\n");
    assert_eq!(released.status, 204);
    waiting.answer().is(200, "6");
    assert_eq!(pair.owner.open_sessions(), 1);
}

fn refused_upgrade(echo: &Echo, target: &str) {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let answer = Request::raw(echo.address, head.as_bytes()).answer();
    assert_eq!(answer.status, 400, "{answer:?}");
}

fn signal(echo: &Echo, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &echo.child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// A port that nobody has, and nobody gets by chance: the kernel gives out higher ones, and `deploy/dev` and `deploy/test` none of these.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next =
            NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id().wrapping_mul(211) % 5_000;
        let port = 15_000 + u16::try_from(next % 5_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
