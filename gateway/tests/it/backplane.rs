//! A node on a Redis that refuses something of one partition, like a cluster of which one server is out of order: the others are as well as ever.

mod cluster;

use std::time::Duration;

use confab_shared::id::{Partition, UserId};
use confab_shared::redis::RedisConfig;
use confab_shared::redis::keyspace::Keyspace;
use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{CustomCommand, Value};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::time::timeout;

use crate::insides::Insides;
use crate::raw::PATIENCE;
use crate::registry::{Redis, keyspace};

/// The partition that something is refused of.
const ILL: Partition = Partition(3);
const WELL: Partition = Partition(5);

/// A Redis, and who may do there what a test allows.
struct Server {
    redis: Redis,
    admin: Client,
}

impl Server {
    async fn start() -> Self {
        let (redis, admin) = Redis::start().await;
        let server = Self { redis, admin };
        server.allow(&["~*", "&*"]).await;
        server
    }

    /// Allows these keys and channels, and no others.
    async fn allow(&self, what: &[&str]) {
        let user = "SETUSER gateway on >secret +@all resetkeys resetchannels";
        let arguments = user.split(' ').chain(what.iter().copied());
        let arguments: Vec<String> = arguments.map(str::to_owned).collect();
        let acl = CustomCommand::new_static("ACL", None, false);
        let _: Value = self.admin.custom(acl, arguments).await.unwrap();
    }

    /// Allows what is of other partitions, and this of the one.
    async fn refuse(&self, but: &[&str]) {
        let others = (0..16).filter(|other| *other != ILL.0);
        let others: Vec<String> = others
            .flat_map(|other| ["~", "&"].map(|kind| format!("{kind}confab:{{{other}}}:*")))
            .collect();
        let what: Vec<&str> = others.iter().map(String::as_str).collect();
        self.allow(&[&what, but].concat()).await;
    }

    async fn node(&self) -> Insides {
        let config = RedisConfig {
            username: "gateway".into(),
            password: "secret".into(),
            ..self.redis.config()
        };
        Insides::start(&config, on_cluster(), nowhere()).await
    }
}

/// No PostgreSQL.
fn nowhere() -> PgPool {
    PgPoolOptions::new()
        .connect_lazy("postgres://127.0.0.1:1/none")
        .unwrap()
}

fn on_cluster() -> Keyspace {
    keyspace().on_cluster()
}

async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, holds).await.unwrap();
}

#[tokio::test]
async fn a_memory_that_is_lost_is_noticed_though_another_cannot_be_asked() {
    let server = Server::start().await;
    server.refuse(&["&*"]).await;
    let node = server.node().await;
    // When they are asked once more, what the others said is known.
    until(|| node.metrics.redis.failures("epoch") >= 2).await;
    let memory = on_cluster().memory(WELL);
    let lost: i64 = server.admin.del(memory).await.unwrap();
    assert_eq!(lost, 1);
    timeout(PATIENCE, node.backplane.memory_lost())
        .await
        .unwrap();
}

fn living_at(home: Partition) -> UserId {
    loop {
        let user = UserId::generate();
        if on_cluster().home_of_user(user) == home {
            return user;
        }
    }
}

#[tokio::test]
async fn whoever_connects_does_not_wait_for_others_who_cannot_be_listened_to() {
    let server = Server::start().await;
    let node = server.node().await;
    server.refuse(&["~*", "&confab:{3}:node:*"]).await;
    let listened = node.backplane.clone();
    let refused = tokio::spawn(async move { listened.listen_to(living_at(ILL)).await });
    until(|| node.metrics.redis.failures("subscribe") > 0).await;
    let others = node.backplane.listen_to(living_at(WELL));
    timeout(PATIENCE, others).await.unwrap().unwrap();
    assert!(!refused.is_finished());
    server.allow(&["~*", "&*"]).await;
    timeout(PATIENCE, refused).await.unwrap().unwrap().unwrap();
}
