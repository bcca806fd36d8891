//! Node leases in a Redis of the test's own, because it is made to lose its memory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use confab_gateway::metrics::Metrics;
use confab_gateway::registry::{Address, Directory, LeasedDirectory, NodeLease};
use confab_shared::id::{NodeId, Partition};
use confab_shared::redis::keyspace::{ADDRESS_FIELD, Keyspace};
use confab_shared::redis::scripts;
use confab_shared::redis::{self, RedisConfig, Retries};
use confab_shared::testing::redis_at;
use fred::clients::Client;
use fred::interfaces::{ClientLike, HashesInterface, KeysInterface};
use fred::types::scripts::Script;
use fred::types::{CustomCommand, Value};

use crate::nodes::free_port;
use crate::raw::PATIENCE;

/// How long Redis may take to answer where a test is not about that.
pub(crate) const SLOW: Duration = Duration::from_secs(30);

/// The names in a Redis of a test's own.
pub(crate) fn keyspace() -> Keyspace {
    Keyspace::new(16)
}

/// A Redis that keeps nothing, unless it is told to save.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    directory: PathBuf,
    pub(crate) url: String,
}

impl Redis {
    pub(crate) async fn start() -> (Self, Client) {
        let port = free_port();
        let name = format!("confab-it-redis-{}-{port}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let url = format!("redis://127.0.0.1:{port}");
        let redis = Self {
            child: launch(port, &directory),
            port,
            directory,
            url,
        };
        let client = redis::connect(&redis.config(), Retries::Idempotent)
            .await
            .unwrap();
        (redis, client)
    }

    pub(crate) fn config(&self) -> RedisConfig {
        redis_at(self.url.clone())
    }

    /// Ends it without warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts one that was killed again, with what was saved.
    pub(crate) fn start_again(&mut self) {
        self.child = launch(self.port, &self.directory);
    }
}

fn launch(port: u16, directory: &Path) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--port"])
        .arg(port.to_string())
        .arg("--dir")
        .arg(directory)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// What the administrator says of users.
async fn acl(redis: &Client, words: &str) {
    let command = CustomCommand::new_static("ACL", None, false);
    let words: Vec<&str> = words.split_whitespace().collect();
    let _: Value = redis.custom(command, words).await.unwrap();
}

/// How often Redis has refused what somebody may not do.
async fn refusals(redis: &Client) -> u64 {
    let (script, none) = (
        Script::from_lua("return redis.call('INFO', 'errorstats')"),
        Vec::<String>::new(),
    );
    let stats: String = scripts::run(&script, redis, none.clone(), none)
        .await
        .unwrap();
    let count = (stats.lines()).find_map(|line| line.strip_prefix("errorstat_NOPERM:count="));
    count.map_or(0, |count| count.trim().parse().unwrap())
}

impl Redis {
    /// As somebody has it who may not touch a key yet.
    pub(crate) async fn as_newcomer(&self, administrator: &Client) -> Client {
        acl(administrator, "SETUSER newcomer on nopass +@all resetkeys").await;
        let mut config = self.config();
        (config.username, config.password) = ("newcomer".into(), "any".into());
        redis::connect(&config, Retries::Idempotent).await.unwrap()
    }
}

/// What comes of a newcomer's question that Redis refuses at first and would answer soon, and whether that was soon enough for anybody.
pub(crate) async fn refused_at_first<T>(
    administrator: &Client,
    asked: impl Future<Output = T>,
) -> (T, bool) {
    acl(administrator, "SETUSER newcomer resetkeys").await;
    let (begun, before) = (Instant::now(), refusals(administrator).await);
    tokio::join!(asked, async {
        while refusals(administrator).await == before {
            assert!(begun.elapsed() < PATIENCE, "nobody asks");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        acl(administrator, "SETUSER newcomer ~*").await;
        begun.elapsed() < Duration::from_secs(1)
    })
}

fn directory(redis: &Client) -> LeasedDirectory {
    LeasedDirectory::new(redis.clone(), keyspace()).with_patience(SLOW)
}

async fn left(redis: &Client, node: NodeId) -> i64 {
    redis.pttl(keyspace().node_lease(node)).await.unwrap()
}

/// As every gateway does, soon.
async fn name_memory(redis: &Client) {
    let keys = vec![
        keyspace().memory(Partition(0)),
        keyspace().position(Partition(0)),
    ];
    let _name: String = scripts::run(&scripts::epoch(), redis, keys, vec!["name"])
        .await
        .unwrap();
}

/// Where the node is after longer than a lease is good for that is not renewed, and whether nobody stood still so long that it may have lapsed.
async fn found_later(redis: &Client, node: NodeId) -> (Option<Address>, bool) {
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    let mut step = begun;
    while begun.elapsed() < Duration::from_millis(3_300) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        left(redis, node).await;
        longest = longest.max(step.elapsed());
        step = Instant::now();
    }
    let found = directory(redis).find(node).await.unwrap();
    (found, longest.max(step.elapsed()) < Duration::from_secs(1))
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_its_node_and_survives_a_loss_of_memory() {
    let (_server, redis) = Redis::start().await;
    let directory = directory(&redis);
    name_memory(&redis).await;
    let (node, address) = (NodeId::generate(), Address::from("127.0.0.1:9"));
    assert_eq!(directory.find(node).await.unwrap(), None);
    let counted = Metrics::new().unwrap().redis;
    let announced = NodeLease::announce(
        redis.clone(),
        keyspace(),
        node,
        address.clone(),
        counted.clone(),
    );
    let lease = announced.await.unwrap();
    assert_eq!(directory.find(node).await.unwrap(), Some(address.clone()));
    for tries_left in (0..5).rev() {
        let (found, is_prompt) = found_later(&redis, node).await;
        if found.as_ref() == Some(&address) {
            break;
        }
        assert!(!is_prompt && tries_left > 0, "{found:?}");
    }
    let begun = Instant::now();
    while !(1_500..=3_000).contains(&left(&redis, node).await) {
        assert!(begun.elapsed() < PATIENCE, "{}", left(&redis, node).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // It is there again before it is missed. On a slow machine it may not be, but not every time.
    for tries_left in (0..5).rev() {
        redis.flushall::<()>(false).await.unwrap();
        let flushed = Instant::now();
        name_memory(&redis).await;
        let found = directory.find(node).await.unwrap();
        if found.as_ref() == Some(&address) {
            break;
        }
        let took = flushed.elapsed();
        assert!(
            took >= Duration::from_millis(1_900) && tries_left > 0,
            "{found:?} after {took:?}"
        );
    }
    let is_noted = Instant::now();
    while left(&redis, node).await <= 0 {
        assert!(
            is_noted.elapsed() < PATIENCE,
            "what is written again ends, too"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    lease.release().await;
    assert_eq!(directory.find(node).await.unwrap(), None);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(directory.find(node).await.unwrap(), None, "and it stays so");
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_says_so() {
    let (server, redis) = Redis::start().await;
    drop(server);
    let directory = LeasedDirectory::new(redis.clone(), keyspace());
    assert!(directory.find(NodeId::generate()).await.is_err());
    redis.quit().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_is_refused_an_answer_asks_again() {
    let (server, redis) = Redis::start().await;
    let (node, address) = (NodeId::generate(), Address::from("127.0.0.1:9"));
    let (key, field) = (keyspace().node_lease(node), (ADDRESS_FIELD, &*address));
    redis.hset::<(), _, _>(key, field).await.unwrap();
    let directory = directory(&server.as_newcomer(&redis).await);
    // A slow machine may take longer than it is asked again, but not every time.
    for tries_left in (0..5).rev() {
        let (found, is_prompt) = refused_at_first(&redis, directory.find(node)).await;
        if found
            .as_ref()
            .is_ok_and(|found| *found == Some(address.clone()))
        {
            return;
        }
        assert!(!is_prompt && tries_left > 0, "{found:?}");
    }
}
