//! Several nodes: whose a session is, when something goes wrong with the word of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use confab_gateway::config::PeerProtocol;
use confab_gateway::registry::{Claims, DirectoryUnavailable, Renewed, SessionName};
use confab_shared::id::NodeId;
use fred::interfaces::ClientLike;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::bench::{Setup, until};
use super::books::{calls, name_memory};
use super::nodes::Pair;

/// Claims that do not come easily.
struct Troubled {
    claims: Arc<dyn Claims>,
    /// How long the answer to a new one takes, and what it waits for besides.
    delay: Duration,
    gate: Arc<Semaphore>,
    /// How many renewals come to nothing.
    failures: AtomicU32,
}

impl Claims for Troubled {
    fn claim(&self, name: SessionName) -> BoxFuture<'_, Result<NodeId, DirectoryUnavailable>> {
        Box::pin(async move {
            let owner = self.claims.claim(name).await;
            tokio::time::sleep(self.delay).await;
            let _passed = self.gate.acquire().await.unwrap();
            owner
        })
    }

    fn find(
        &self,
        name: SessionName,
    ) -> BoxFuture<'_, Result<Option<NodeId>, DirectoryUnavailable>> {
        self.claims.find(name)
    }

    fn renew<'a>(&'a self, names: &'a [SessionName]) -> BoxFuture<'a, Renewed> {
        let fail = |left: u32| left.checked_sub(1);
        let failed = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fail);
        if failed.is_err() {
            return self.claims.renew(names);
        }
        Box::pin(std::future::ready(Renewed {
            lost: Vec::new(),
            error: Some(DirectoryUnavailable::Silent),
        }))
    }

    fn release(&self, name: SessionName) -> BoxFuture<'_, Result<(), DirectoryUnavailable>> {
        self.claims.release(name)
    }
}

fn trouble(setup: &mut Setup, delay: Duration, failures: u32) {
    let open = Semaphore::new(Semaphore::MAX_PERMITS);
    trouble_at(setup, delay, Arc::new(open), failures);
}

fn trouble_at(setup: &mut Setup, delay: Duration, gate: Arc<Semaphore>, failures: u32) {
    if let Some((claims, _)) = &mut setup.claims {
        *claims = Arc::new(Troubled {
            claims: claims.clone(),
            delay,
            gate,
            failures: failures.into(),
        });
    }
}

#[test]
fn a_client_that_leaves_too_early_leaves_no_claim_behind() {
    let pair = Pair::with(PeerProtocol::H2c, |setup| {
        setup.config.disconnect_delay_ms = 4_000;
        trouble(setup, Duration::from_secs(2), 0);
    });
    let session = pair.owner.session();
    let poll = session.begin_poll();
    until(|| pair.is_claimed(&session));
    drop(poll);
    until(|| !pair.is_claimed(&session));
    pair.owner.has(0);
}

#[test]
fn whoever_may_not_begin_claims_nothing_and_releases_nothing() {
    let gate = Arc::new(Semaphore::new(0));
    let pair = Pair::with(PeerProtocol::H2c, |setup| {
        trouble_at(setup, Duration::ZERO, gate.clone(), 0);
        setup.limits.sessions_per_ip = 1;
    });
    let session = pair.owner.session();
    let mut first = session.begin_poll();
    until(|| pair.is_claimed(&session));
    // The same session's, before it has begun.
    let refused = session.poll();
    assert_eq!(refused.status, 429);
    gate.add_permits(1);
    first.answer().is(200, "o\n");
    assert!(pair.is_claimed(&session));
    let count = || pair.runtime.block_on(calls(&pair.client, "evalsha"));
    count();
    let before = count();
    assert_eq!(pair.owner.session().poll().status, 429);
    assert!(count() <= before + 2);
    // Another node does not ask whether a session may begin that has begun.
    let there = session.at(&pair.edge);
    there.send(&["x"]);
    there.poll().is(200, "a[\"x\"]\n");
}

#[test]
fn a_session_that_is_about_to_begin_elsewhere_is_waited_for() {
    let pair = Pair::with(PeerProtocol::H2c, |setup| {
        trouble(setup, Duration::from_millis(300), 0);
    });
    // A slow machine may take longer than it is waited for, but not every time.
    assert!((0..5).any(|_| is_waited_for(&pair)));
}

/// False if the second request was put off, which it may be after two seconds.
fn is_waited_for(pair: &Pair) -> bool {
    let session = pair.owner.session();
    let first = session.clone();
    let first = std::thread::spawn(move || {
        let mut stream = first.stream().begun();
        (stream.line(), stream)
    });
    until(|| pair.is_claimed(&session));
    let asked = Instant::now();
    let second = session.at(&pair.edge).stream();
    let is_put_off = second.head.starts_with("HTTP/1.1 503");
    assert!(!is_put_off || asked.elapsed() > Duration::from_millis(1_900));
    let second = (!is_put_off).then(|| second.begun().line());
    let (first, _stream) = first.join().unwrap();
    let Some(second) = second else {
        return false;
    };
    let mut lines = [first, second];
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["c[2010,\"Another connection still open\"]\n", "o\n"]
    );
    true
}

#[test]
fn claims_that_were_not_renewed_are_renewed_again_soon() {
    let pair = Pair::with(PeerProtocol::H2c, |setup| trouble(setup, Duration::ZERO, 3));
    let session = pair.owner.session().opened();
    let flushed = async {
        pair.client.flushall::<()>(false).await.unwrap();
        name_memory(&pair.client, Duration::ZERO).await
    };
    let name = pair.runtime.block_on(flushed);
    pair.memory.send_replace(Some(name));
    until(|| pair.is_claimed(&session));
}
