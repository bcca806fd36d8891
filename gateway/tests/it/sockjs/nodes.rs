//! Several nodes and no affinity: the client names its session, and any node may get its requests.

use std::net::TcpListener;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use confab_gateway::config::PeerProtocol;
use confab_gateway::metrics::Metrics;
use confab_gateway::registry::{RedisClaims, SessionName, StaticDirectory};
use confab_gateway::session::DisconnectReason;
use confab_shared::id::NodeId;
use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::bench::{Node, Setup, at, until};
use super::books::{OLD, calls, name_memory};
use super::client::{Client as Session, request};
use crate::registry::{Redis, SLOW, keyspace};

const INTERRUPTED: &str = "c[1002,\"Connection interrupted\"]\n";

/// Two nodes, and the Redis that they share.
pub(super) struct Pair {
    /// Gets the first requests of these tests' sessions.
    pub(super) owner: Node,
    /// Gets further ones.
    pub(super) edge: Node,
    pub(super) memory: watch::Sender<Option<Arc<str>>>,
    pub(super) client: Client,
    redis: Redis,
    pub(super) runtime: Runtime,
}

impl Pair {
    fn start() -> Self {
        Self::with(PeerProtocol::H2c, |_| {})
    }

    pub(super) fn with(protocol: PeerProtocol, change: impl Fn(&mut Setup)) -> Self {
        Self::with_patience(SLOW, protocol, change)
    }

    /// The same, where an answer of Redis's is waited for so long.
    fn with_patience(
        patience: Duration,
        protocol: PeerProtocol,
        change: impl Fn(&mut Setup),
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let (redis, client) = runtime.block_on(Redis::start());
        let name = runtime.block_on(name_memory(&client, OLD));
        let (memory, known) = watch::channel(Some(name));
        let ids = [NodeId::generate(), NodeId::generate()];
        let listeners = ids.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let directory: StaticDirectory = ids
            .iter()
            .zip(&listeners)
            .map(|(id, listener)| at(*id, listener.local_addr().unwrap()))
            .collect();
        let mut nodes = ids.into_iter().zip(listeners).map(|(id, internal)| {
            let counted = Metrics::new().unwrap().redis;
            let claims = RedisClaims::new(client.clone(), keyspace(), id, counted);
            let claims = Arc::new(claims.with_patience(patience));
            let mut setup = Setup {
                id,
                directory: directory.clone(),
                claims: Some((claims, known.clone())),
                protocol,
                internal: Some(internal),
                ..Setup::default()
            };
            change(&mut setup);
            Node::with(setup)
        });
        let (Some(owner), Some(edge)) = (nodes.next(), nodes.next()) else {
            panic!("two nodes")
        };
        drop(nodes);
        Self {
            owner,
            edge,
            memory,
            client,
            redis,
            runtime,
        }
    }

    /// A session of the owner, as it is reached there and by way of the other node.
    fn session(&self) -> (Session, Session) {
        let here = self.owner.session().opened();
        let there = here.at(&self.edge);
        (here, there)
    }

    fn key(session: &Session) -> String {
        let name = session.path.rsplit('/').next().unwrap();
        keyspace().session_claim(SessionName::of(name))
    }

    pub(super) fn is_claimed(&self, session: &Session) -> bool {
        let exists = self.client.exists::<i64, _>(Self::key(session));
        self.runtime.block_on(exists).unwrap() == 1
    }
}

#[test]
fn any_node_finds_the_session() {
    for protocol in [PeerProtocol::H2c, PeerProtocol::H1] {
        let pair = Pair::with(protocol, |_| {});
        let (here, there) = pair.session();
        for round in 0..20 {
            let (one, other) = if round % 2 == 0 {
                (&here, &there)
            } else {
                (&there, &here)
            };
            one.send(&["x", &round.to_string()]);
            other.poll().is(200, &format!("a[\"x\",\"{round}\"]\n"));
        }
        let mut poll = there.waiting_poll();
        here.poll()
            .is(200, "c[2010,\"Another connection still open\"]\n");
        there.send(&["y"]);
        poll.answer().is(200, "a[\"y\"]\n");
        there.try_send("[").is(500, "Broken JSON encoding.");
        let page = "Origin: https://app.example\r\n";
        let path = format!("{}/xhr_send", there.path);
        let answer = pair.edge.request("POST", &path, page, "[]");
        answer.is(204, "");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            ["https://app.example"]
        );
        assert_eq!((pair.owner.sessions(), pair.edge.sessions()), (1, 0));
    }
}

#[test]
fn streams_come_through_another_node_as_they_are_written() {
    for protocol in [PeerProtocol::H2c, PeerProtocol::H1] {
        let pair = Pair::with(protocol, |setup| setup.config.heartbeat_ms = 300);
        let (here, there) = pair.session();
        let mut stream = there.stream().begun();
        let kind = "content-type: application/javascript; charset=UTF-8\r\n";
        assert!(stream.head.contains(kind), "{}", stream.head);
        for round in 0..5 {
            here.send(&[&round.to_string()]);
            stream.expect_among_beats(&format!("a[\"{round}\"]\n"));
        }
        stream.expect("h\n");
        here.send(&["flood 5"]);
        let flood = format!("a[\"{}\"]\n", "x".repeat(1_000));
        assert!(stream.rest().ends_with(&flood));
        let mut events = there.events().begun();
        here.send(&["z"]);
        let mut line = events.line();
        while line != "data: a[\"z\"]\r\n" {
            line = events.line();
        }
        here.send(&["bye"]);
        assert!(
            events
                .rest()
                .ends_with("data: c[3000,\"Go away!\"]\r\n\r\n")
        );
    }
}

#[test]
fn clients_that_read_nothing_hold_nobody_up_at_another_node() {
    const UNREAD: usize = 24;
    let pair = Pair::with(PeerProtocol::H2c, |setup| {
        setup.config.response_limit = 2_000_000;
        setup.send_queue_bytes = 4_000_000;
    });
    let unread: Vec<_> = (0..UNREAD)
        .map(|_| {
            let (here, there) = pair.session();
            let stream = there.stream().begun();
            here.send(&["flood 2000"]);
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let (here, there) = pair.session();
    here.send(&["x"]);
    there.poll().is(200, "a[\"x\"]\n");
    // Nothing was lost meanwhile.
    for mut stream in unread {
        assert!(stream.rest().len() > 2_000_000);
    }
}

#[test]
fn a_client_that_breaks_off_at_another_node_has_ended_its_session() {
    for protocol in [PeerProtocol::H2c, PeerProtocol::H1] {
        let pair = Pair::with(protocol, |_| {});
        let (here, there) = pair.session();
        drop(there.waiting_poll());
        pair.owner.ended(&[DisconnectReason::TransportClosed]);
        there.poll().is(200, INTERRUPTED);
        here.poll().is(200, INTERRUPTED);
        let (here, there) = pair.session();
        drop(there.stream().begun());
        pair.owner.ended(&[DisconnectReason::TransportClosed; 2]);
        here.poll().is(200, INTERRUPTED);
        assert_eq!(there.stream().begun().rest(), INTERRUPTED);
    }
}

#[test]
fn of_two_first_requests_at_two_nodes_one_opens_the_session() {
    let pair = Pair::start();
    for round in 0..20 {
        let session = pair.owner.session();
        let barrier = Arc::new(Barrier::new(2));
        let receive = |session: Session| {
            let barrier = barrier.clone();
            std::thread::spawn(move || {
                barrier.wait();
                let mut stream = session.stream().begun();
                (stream.line(), stream)
            })
        };
        let both = [receive(session.at(&pair.edge)), receive(session.clone())];
        let both = both.map(|one| one.join().unwrap());
        let mut lines = both.each_ref().map(|(line, _)| line.as_str());
        lines.sort_unstable();
        let expected = ["c[2010,\"Another connection still open\"]\n", "o\n"];
        assert_eq!(lines, expected, "{round}");
        assert_eq!(pair.owner.sessions() + pair.edge.sessions(), 1, "{round}");
        session.send(&["bye"]);
        until(|| pair.owner.sessions() + pair.edge.sessions() == 0);
    }
}

#[test]
fn sessions_of_a_node_that_was_killed_are_over_at_once() {
    let mut pair = Pair::start();
    let (_, there) = pair.session();
    let (_, silent) = pair.session();
    let (_, unseen) = pair.session();
    let mut stream = there.stream().begun();
    let mut poll = silent.waiting_poll();
    pair.owner.kill();
    assert_eq!(stream.rest(), INTERRUPTED);
    poll.answer().is(200, INTERRUPTED);
    for session in [&there, &unseen] {
        session.try_send(r#"["x"]"#).is(404, "");
        session.poll().is(200, INTERRUPTED);
        assert_eq!(session.stream().begun().rest(), INTERRUPTED);
    }
    pair.edge.session().opened();
    assert_eq!(pair.edge.sessions(), 1);
}

#[test]
fn a_session_is_found_again_after_redis_lost_its_memory() {
    // While the memory is young it is waited for. A slow machine may take longer to claim it again, but not every time.
    assert!((0..5).any(|_| {
        let pair = Pair::start();
        let (here, there) = pair.session();
        let flushed = async {
            pair.client.flushall::<()>(false).await.unwrap();
            name_memory(&pair.client, Duration::ZERO).await
        };
        let name = pair.runtime.block_on(flushed);
        let mut poll = there.begin_poll();
        let waits = poll.is_waiting(Duration::from_millis(300)) && !pair.is_claimed(&here);
        pair.memory.send_replace(Some(name));
        until(|| pair.is_claimed(&here));
        waits && pair.edge.sessions() == 0 && {
            there.send(&["x"]);
            poll.answer().is(200, "a[\"x\"]\n");
            (pair.owner.sessions(), pair.edge.sessions()) == (1, 0)
        }
    }));
}

#[test]
fn a_session_whose_claim_another_node_has_is_over() {
    let pair = Pair::start();
    let (here, _) = pair.session();
    let other = NodeId::generate().to_string();
    let taken = pair
        .client
        .set::<(), _, _>(Pair::key(&here), other, None, None, false);
    pair.runtime.block_on(taken).unwrap();
    pair.memory.send_replace(Some("another".into()));
    here.poll().is(200, "c[1000,\"superseded\"]\n");
}

#[test]
fn a_node_that_leaves_lets_other_nodes_sessions_go() {
    for protocol in [PeerProtocol::H2c, PeerProtocol::H1] {
        let pair = Pair::with(protocol, |_| {});
        let (polling, through) = pair.session();
        let mut poll = through.waiting_poll();
        let (streaming, through) = pair.session();
        let mut stream = through.stream().begun();
        pair.edge.leave();
        poll.answer().is(200, "h\n");
        assert_eq!(stream.rest(), "h\n");
        for session in [polling, streaming] {
            session.send(&["x"]);
            session.poll().is(200, "a[\"x\"]\n");
        }
        pair.owner.ended(&[]);
    }
}

#[test]
fn clients_of_a_node_that_drains_are_told_wherever_they_come() {
    let pair = Pair::start();
    let (_, waiting) = pair.session();
    let mut poll = waiting.waiting_poll();
    let (_, later) = pair.session();
    pair.owner.drain();
    poll.answer().is(200, "c[1012,\"draining\"]\n");
    std::thread::sleep(Duration::from_millis(200));
    later.poll().is(200, "c[1012,\"draining\"]\n");
    pair.owner.has(0);
}

#[test]
fn a_name_is_free_when_its_session_has_left() {
    let pair = Pair::with(PeerProtocol::H2c, |setup| {
        setup.config.disconnect_delay_ms = 10_000;
    });
    let (here, there) = pair.session();
    there.send(&["bye"]);
    let gone = "c[3000,\"Go away!\"]\n";
    there.poll().is(200, gone);
    assert!(pair.is_claimed(&here));
    until(|| !pair.is_claimed(&here));
    // This node still remembers whose it was, and that one is just about to forget it.
    until(|| {
        let answer = there.poll();
        assert!(["o\n", gone].contains(&answer.text()), "{answer:?}");
        answer.text() == "o\n"
    });
    here.send(&["x"]);
    here.poll().is(200, "a[\"x\"]\n");
    assert_eq!((pair.owner.sessions(), pair.edge.sessions()), (0, 1));
}

#[test]
fn a_session_costs_redis_few_commands_and_a_websocket_none() {
    let pair = Pair::start();
    let count = |command| pair.runtime.block_on(calls(&pair.client, command));
    // Counting takes one itself, and the first of a kind may take two.
    pair.owner.session().opened();
    count("evalsha");
    let (scripts, gets) = (count("evalsha"), count("mget"));
    let (here, there) = pair.session();
    for _ in 0..10 {
        here.send(&["x"]);
        there.send(&["x"]);
        here.poll();
        there.send(&["x"]);
        there.poll();
    }
    // The owner's look, which needs a second one to be sure that there is no claim, and its claim; the other node's look.
    let taken = (count("evalsha") - scripts, count("mget") - gets);
    assert!(taken.0 <= 4 && taken.1 <= 4, "{taken:?}");
    let scripts = count("evalsha");
    let path = format!("{}/websocket", pair.owner.session().path);
    let _raw = crate::raw::Raw::upgrade(pair.owner.address, &path);
    assert!(count("evalsha") <= scripts + 1);
}

#[test]
fn without_redis_sessions_go_on_and_new_ones_are_put_off() {
    let Pair {
        owner,
        edge,
        redis,
        memory: _memory,
        client: _client,
        runtime: _runtime,
    } = Pair::with_patience(Duration::from_secs(5), PeerProtocol::H2c, |_| {});
    let here = owner.session().opened();
    let there = here.at(&edge);
    there.send(&["x"]);
    drop(redis);
    here.poll().is(200, "a[\"x\"]\n");
    there.send(&["y"]);
    there.poll().is(200, "a[\"y\"]\n");
    assert_eq!(edge.session().poll().status, 503);
    assert_eq!(edge.session().try_send("[]").status, 503);
    assert_eq!(edge.sessions(), 0);
}

#[test]
fn the_internal_listener_serves_what_nodes_pass_on_and_nothing_else() {
    let pair = Pair::start();
    let (here, _) = pair.session();
    let ask = |path: &str, headers: &str| {
        let mut asked = request(pair.owner.internal, "POST", path, headers, "");
        asked.answer().status
    };
    let passed = "confab-hop: passed\r\nconfab-client: 192.0.2.7\r\n";
    assert_eq!(ask(&format!("{}/xhr_send", here.path), ""), 403);
    assert_eq!(ask("/ws/a/unknown/xhr", passed), 404);
    assert_eq!(ask("/ws/a/unknown/xhr_send", passed), 404);
    assert_eq!(ask("/ws/info", passed), 404);
    // A client that says the same at the public one is a client.
    let path = format!("{}/xhr_send", here.path);
    let answer = pair.edge.request("POST", &path, passed, r#"["x"]"#);
    answer.is(204, "");
    assert_eq!(pair.owner.sessions(), 1);
}
