//! Node leases in a Redis of the test's own, because it is made to lose its memory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use confab_gateway::metrics::Metrics;
use confab_gateway::registry::{Address, Directory, LeasedDirectory, NodeLease};
use confab_shared::id::{NodeId, Partition};
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use confab_shared::redis::{self, RedisConfig, Retries};
use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};

use crate::nodes::free_port;
use crate::raw::PATIENCE;

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
        RedisConfig::at(self.url.clone())
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

#[tokio::test]
async fn a_lease_lasts_as_long_as_its_node_and_survives_a_loss_of_memory() {
    let (_server, redis) = Redis::start().await;
    let directory = LeasedDirectory::new(redis.clone(), keyspace());
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
    // Longer than a lease is good for without being renewed.
    tokio::time::sleep(Duration::from_millis(3_300)).await;
    assert_eq!(directory.find(node).await.unwrap(), Some(address.clone()));
    let begun = Instant::now();
    while !(1_500..=3_000).contains(&left(&redis, node).await) {
        assert!(begun.elapsed() < PATIENCE, "{}", left(&redis, node).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    redis.flushall::<()>(false).await.unwrap();
    name_memory(&redis).await;
    let found = directory.find(node).await.unwrap();
    assert_eq!(
        found,
        Some(address),
        "it is there again before it is missed"
    );
    assert!(
        left(&redis, node).await > 0,
        "what is written again ends, too"
    );

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
