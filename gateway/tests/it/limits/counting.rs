//! What asks: two nodes' limits over one Redis.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_gateway::config::{DEFAULTS, GatewayConfig};
use confab_gateway::limits::{
    Class, Limits, Line, Question, RateLimitsConfig, Refusal, Subject, Verdict,
};
use confab_gateway::metrics::Metrics;
use confab_shared::config::load;
use confab_shared::id::{Partition, UserId};
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::{self, RedisConfig, Retries};
use fred::clients::Client;
use fred::interfaces::{ClientLike, LuaInterface, ServerInterface};
use fred::types::{CustomCommand, Value};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::registry::{Redis, keyspace};

fn settings(change: impl FnOnce(&mut RateLimitsConfig)) -> RateLimitsConfig {
    let mut config = load::<GatewayConfig>(DEFAULTS).unwrap().config.rate_limits;
    change(&mut config);
    config
}

/// A node's limits.
struct Node {
    limits: Limits,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl Node {
    async fn start(redis: &Redis, config: &RateLimitsConfig) -> Self {
        Self::start_with(&redis.config(), keyspace(), config).await
    }

    async fn start_with(
        redis: &RedisConfig,
        keyspace: Keyspace,
        config: &RateLimitsConfig,
    ) -> Self {
        let redis = redis::connect(redis, Retries::None).await.unwrap();
        let (metrics, stop) = (Arc::new(Metrics::new().unwrap()), CancellationToken::new());
        let figures = config.figures().unwrap();
        Self {
            limits: Limits::start(&figures, redis, keyspace, &metrics, &stop),
            metrics,
            stop,
        }
    }

    fn counted(&self, outcome: &str) -> u64 {
        self.counted_of("messages", outcome)
    }

    fn counted_of(&self, class: &str, outcome: &str) -> u64 {
        let decisions = &self.metrics.rate_limits.decisions_total;
        decisions.with_label_values(&[class, outcome]).get()
    }

    /// Whether somebody came through because Redis was too slow to be asked.
    fn has_failed_open(&self) -> bool {
        ["messages", "rooms_messages"]
            .iter()
            .any(|class| self.counted_of(class, "failed_open") > 0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn somebody() -> Subject {
    Subject::User(UserId::generate())
}

fn waits(verdict: &Verdict) -> Option<Duration> {
    match verdict {
        Ok(_) => None,
        Err(Refusal::Limited { retry_after, .. }) => Some(*retry_after),
        Err(Refusal::Overloaded) => panic!("overloaded"),
    }
}

/// Whether something was seen; it fails unless it may be tried again, because Redis was too slow to be asked.
async fn holds(seen: impl Future<Output = ()>, nodes: &[Node], tries_left: u32) -> bool {
    holds_unless(seen, || nodes.iter().any(Node::has_failed_open), tries_left).await
}

/// The same for what may be tried again for a reason of its own.
async fn holds_unless(
    seen: impl Future<Output = ()>,
    was_slow: impl Fn() -> bool,
    tries_left: u32,
) -> bool {
    match AssertUnwindSafe(seen).catch_unwind().await {
        Ok(()) => true,
        Err(_) if tries_left > 0 && was_slow() => false,
        Err(failure) => resume_unwind(failure),
    }
}

/// Some tasks on two nodes at once want more than one user may. How many came through.
async fn rush(nodes: [&Node; 2], subject: &Subject) -> usize {
    let tasks = (0..4).map(|task| {
        let (limits, subject) = (nodes[task % 2].limits.clone(), subject.clone());
        tokio::spawn(async move {
            let mut allowed = 0;
            for _ in 0..50 {
                let verdict = limits.ask(Class::Messages, subject.clone()).await;
                allowed += usize::from(verdict.is_ok());
            }
            allowed
        })
    });
    let mut allowed = 0;
    for task in tasks.collect::<Vec<_>>() {
        allowed += task.await.unwrap();
    }
    allowed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_limit_comes_through_from_several_nodes_at_once() {
    let (server, client) = Redis::start().await;
    let config = settings(|c| c.messages = "77/1h".into());
    for tries_left in (0..5).rev() {
        let nodes = [
            Node::start(&server, &config).await,
            Node::start(&server, &config).await,
        ];
        if holds(Box::pin(count_exactly(&nodes, &client)), &nodes, tries_left).await {
            return;
        }
    }
}

async fn count_exactly([one, other]: &[Node; 2], client: &Client) {
    let (ann, ben) = (somebody(), somebody());
    let rushes = tokio::join!(rush([one, other], &ann), rush([one, other], &ben));
    assert_eq!(rushes, (77, 77));
    assert_eq!(one.counted("allowed") + other.counted("allowed"), 2 * 77);
    assert_eq!(one.counted("limited") + other.counted("limited"), 2 * 123);
    // What it is in one class is nothing in another.
    let verdict = one.limits.ask(Class::RoomsMessages, ann.clone()).await;
    assert_eq!(verdict.unwrap().unwrap().remaining, 29);

    client.flushall::<()>(false).await.unwrap();
    // For so long a node believes what it knows.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(rush([one, other], &ann).await, 77, "limits begin anew");
    // A Redis that does not even know the script is told.
    client.script_flush(false).await.unwrap();
    assert_eq!(rush([one, other], &somebody()).await, 77);
    assert!(!one.has_failed_open() && !other.has_failed_open());
}

#[tokio::test]
async fn penalties_double_and_are_forgotten() {
    let (server, _client) = Redis::start().await;
    let config = settings(|c| {
        c.messages = "10/1s".into();
        c.block_seconds = 1;
        c.longest_block_seconds = 2;
        c.forget_seconds = 20;
    });
    for tries_left in (0..5).rev() {
        let node = Node::start(&server, &config).await;
        let is_late = Cell::new(false);
        let was_slow = || node.has_failed_open() || is_late.get();
        if holds_unless(double(&node, &is_late), was_slow, tries_left).await {
            return;
        }
    }
}

/// It is late where an answer took so long that a penalty may have changed meanwhile.
async fn double(node: &Node, is_late: &Cell<bool>) {
    let ann = somebody();
    // More than come back while they are asked for.
    let violate = async || loop {
        let begun = Instant::now();
        let asked = (0..100).map(|_| node.limits.ask(Class::Messages, ann.clone()));
        let verdicts = futures_util::future::join_all(asked).await;
        is_late.set(is_late.get() || begun.elapsed() > Duration::from_millis(400));
        if let Some(wait) = verdicts.iter().find_map(waits) {
            break wait;
        }
    };
    let about = |wait: Duration, seconds: u64| {
        let expected = Duration::from_secs(seconds);
        assert!(
            wait <= expected && wait > expected / 2,
            "{wait:?} of {expected:?}"
        );
    };
    for seconds in [1, 2, 2] {
        about(violate().await, seconds);
        tokio::time::sleep(Duration::from_secs(seconds) + Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(20_100)).await;
    about(violate().await, 1);
    assert_eq!(
        node.metrics
            .rate_limits
            .blocks_total
            .with_label_values(&["messages"])
            .get(),
        4
    );
}

#[tokio::test]
async fn so_many_at_once_are_counted_all_or_not_at_all() {
    let (server, _client) = Redis::start().await;
    let config = settings(|c| {
        c.messages = "10/1h".into();
        c.block_seconds = 0;
    });
    for tries_left in (0..5).rev() {
        let node = Node::start(&server, &config).await;
        let counted = count_together(&node);
        if holds(counted, std::slice::from_ref(&node), tries_left).await {
            return;
        }
    }
}

async fn count_together(node: &Node) {
    let left = |verdict: Verdict| verdict.ok().flatten().map(|standing| standing.remaining);
    let ask = |who: &Subject, wanted| node.limits.ask_for(Class::Messages, who.clone(), wanted);
    let (ann, ben) = (somebody(), somebody());
    assert_eq!(node.limits.most(Class::Messages), Some(10));
    assert_eq!(left(ask(&ann, 7).await), Some(3));
    assert_eq!(left(ask(&ann, 4).await), None, "there are only three");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(left(ask(&ann, 3).await), Some(0), "those were not touched");
    assert_eq!(left(ask(&ben, 10).await), Some(0));
}

#[tokio::test]
async fn while_redis_is_away_all_come_through_and_none_waits_for_long() {
    let (server, client) = Redis::start().await;
    let config = settings(|c| c.messages = "1/1h".into());
    let mut tries_left = 5;
    let (node, ann) = loop {
        let (node, ann) = (Node::start(&server, &config).await, somebody());
        tries_left -= 1;
        let seen = async {
            assert!(node.limits.ask(Class::Messages, ann.clone()).await.is_ok());
            assert!(node.limits.ask(Class::Messages, ann.clone()).await.is_err());
            assert!(!node.has_failed_open());
        };
        if holds(seen, std::slice::from_ref(&node), tries_left).await {
            break (node, ann);
        }
    };
    client.quit().await.unwrap();
    drop(server);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let begun = Instant::now();
    for _ in 0..500 {
        assert_eq!(
            node.limits.ask(Class::Messages, ann.clone()).await,
            Ok(None)
        );
    }
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(node.counted("failed_open"), 500);
    assert!(node.metrics.redis.failures("limit") > 0);
}

/// Somebody whose counters are on a certain partition's slot, or on any other.
fn somebody_at(home: Partition, is_there: bool) -> Subject {
    loop {
        let subject = somebody();
        if (keyspace().home(&subject) == home) == is_there {
            return subject;
        }
    }
}

/// Which keys the node may touch.
async fn allow(redis: &Client, keys: impl Iterator<Item = String>) {
    let user = ["SETUSER", "node", "on", ">secret", "+@all", "resetkeys"];
    let arguments: Vec<String> = user.into_iter().map(str::to_owned).chain(keys).collect();
    let acl = CustomCommand::new_static("ACL", None, false);
    let _: Value = redis.custom(acl, arguments).await.unwrap();
}

/// As on a cluster, of which one part is out of order: here, because nobody may touch it.
#[tokio::test]
async fn one_slot_that_fails_switches_no_other_limits_off() {
    let (server, client) = Redis::start().await;
    let broken = Partition(5);
    let keys = |partition: Partition| format!("~confab:{{{partition}}}:*");
    let partitions = || keyspace().partitions();
    allow(&client, partitions().filter(|one| *one != broken).map(keys)).await;
    let mut redis = server.config();
    (redis.username, redis.password) = ("node".into(), "secret".into());
    let config = settings(|c| {
        c.messages = "2/1h".into();
        c.block_seconds = 0;
    });
    for tries_left in (0..5).rev() {
        let node = Node::start_with(&redis, keyspace().on_cluster(), &config).await;
        let ann = somebody_at(broken, true);
        // A Redis that was too slow to be asked has let through others as well.
        let was_slow = || node.counted("failed_open") != 3;
        if holds_unless(fails_alone(&node, &ann, broken), was_slow, tries_left).await {
            allow(&client, partitions().map(keys)).await;
            let healed = async {
                while node.limits.ask(Class::Messages, ann.clone()).await == Ok(None) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let in_time = tokio::time::timeout(Duration::from_secs(30), healed).await;
            assert!(in_time.is_ok(), "the slot is not asked again");
            return;
        }
    }
}

async fn fails_alone(node: &Node, ann: &Subject, broken: Partition) {
    let ben = somebody_at(broken, false);
    let ask = |who: &Subject| node.limits.ask(Class::Messages, who.clone());
    for left in [1, 0] {
        let (anns, bens) = tokio::join!(ask(ann), ask(&ben));
        assert_eq!(anns, Ok(None));
        assert_eq!(bens.unwrap().map(|standing| standing.remaining), Some(left));
    }
    let (anns, bens) = tokio::join!(ask(ann), ask(&ben));
    assert!(anns.is_ok() && waits(&bens).is_some(), "{anns:?} {bens:?}");
    assert_eq!(node.counted("failed_open"), 3);
    assert!(node.metrics.redis.failures("limit") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_overtakes_in_a_line() {
    let (server, _client) = Redis::start().await;
    let node = Node::start(&server, &settings(|c| c.messages = "100000/1h".into())).await;
    let (done, mut order) = mpsc::unbounded_channel();
    let (line, ann) = (Line::default(), somebody());
    for number in 0..5_000_u32 {
        // Every third is not limited, and waits for those before it all the same.
        let question = (number % 3 != 0).then(|| Question {
            class: Class::Messages,
            subject: ann.clone(),
        });
        let done = done.clone();
        node.limits.pass(&line, question, move |verdict| {
            assert!(verdict.is_ok());
            done.send(number).unwrap();
        });
        if number % 500 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for number in 0..5_000 {
        assert_eq!(order.recv().await, Some(number));
    }
}

#[tokio::test]
async fn what_is_off_is_done_at_once() {
    let (server, client) = Redis::start().await;
    let node = Node::start(&server, &settings(|c| c.messages = "off".into())).await;
    let (done, mut told) = mpsc::unbounded_channel();
    for number in 0..1_000 {
        let question = Some(Question {
            class: Class::Messages,
            subject: somebody(),
        });
        let done = done.clone();
        node.limits
            .pass(&Line::default(), question, move |verdict| {
                assert_eq!(verdict, Ok(None));
                done.send(number).unwrap();
            });
        assert_eq!(told.try_recv(), Ok(number));
    }
    assert_eq!(
        node.limits.ask(Class::RoomsMessages, somebody()).await,
        Ok(None)
    );
    assert_eq!(client.dbsize::<u64>().await.unwrap(), 0);
}
