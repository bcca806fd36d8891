//! A Redis Cluster of which one primary says nothing.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use confab_shared::id::UserId;
use confab_shared::postgres;
use confab_shared::redis::{RedisConfig, Retries, connect};
use confab_shared::testing::on_fresh_database;
use fred::clients::Client;
use fred::interfaces::{ClientLike, PubsubInterface};
use fred::types::{CustomCommand, Value};
use fred::util::redis_keyslot;
use sqlx::PgPool;
use tokio::time::timeout;

use super::{nowhere, on_cluster};
use crate::insides::Insides;
use crate::nodes::free_port;
use crate::raw::PATIENCE;

/// Slots below are the first server's.
const BORDER: u16 = 8_192;

struct Server {
    child: Child,
    port: u16,
    bus: u16,
    client: Client,
    directory: PathBuf,
}

impl Server {
    async fn start(slots: [u16; 2]) -> Self {
        let (port, bus) = (free_port(), free_port());
        let name = format!("confab-it-redis-{}-{port}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let settings = format!(
            "--bind 127.0.0.1 --port {port} --cluster-port {bus} --cluster-enabled yes --cluster-node-timeout 600000 \
             --cluster-require-full-coverage no --appendonly no"
        );
        let child = Command::new("redis-server")
            .args(settings.split_whitespace())
            .args(["--save", "", "--dir"])
            .arg(&directory)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let config = RedisConfig::at(format!("redis://127.0.0.1:{port}"));
        let client = connect(&config, Retries::Idempotent).await.unwrap();
        let server = Self {
            child,
            port,
            bus,
            client,
            directory,
        };
        let [first, last] = slots.map(|slot| slot.to_string());
        server
            .told(&["ADDSLOTSRANGE", first.as_str(), last.as_str()])
            .await;
        server
    }

    async fn told(&self, what: &[&str]) -> Value {
        let cluster = CustomCommand::new_static("CLUSTER", None, false);
        self.client.custom(cluster, what.to_vec()).await.unwrap()
    }

    /// Knows two servers, each with slots of its own.
    async fn knows_both(&self) -> bool {
        let Value::Array(slots) = self.told(&["SLOTS"]).await else {
            return false;
        };
        slots.len() == 2
    }

    async fn name(&self) -> String {
        self.told(&["MYID"]).await.convert().unwrap()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, holds).await.unwrap();
}

async fn two_primaries() -> [Server; 2] {
    let servers = [
        Server::start([0, BORDER - 1]).await,
        Server::start([BORDER, 16_383]).await,
    ];
    let [port, bus] = [servers[1].port.to_string(), servers[1].bus.to_string()];
    servers[0].told(&["MEET", "127.0.0.1", &port, &bus]).await;
    until(|| async { servers[0].knows_both().await && servers[1].knows_both().await }).await;
    servers
}

fn living_on(is_second: bool) -> UserId {
    loop {
        let user = UserId::generate();
        let slot = redis_keyslot(on_cluster().user(user).as_bytes());
        if (slot >= BORDER) == is_second {
            return user;
        }
    }
}

async fn node(servers: &[Server; 2], database: PgPool) -> Insides {
    let [first, second] = [servers[0].port, servers[1].port];
    let url = format!("redis-cluster://127.0.0.1:{first}?node=127.0.0.1:{second}");
    Insides::start(&RedisConfig::at(url), on_cluster(), database).await
}

#[tokio::test]
async fn whoever_connects_does_not_wait_for_a_server_with_which_it_has_nothing_to_do() {
    let servers = two_primaries().await;
    let node = node(&servers, nowhere()).await;
    servers[1].signal("-STOP");
    let mut waiting = std::pin::pin!(node.backplane.listen_to(living_on(true)));
    for _ in 0..20 {
        let others = timeout(PATIENCE, node.backplane.listen_to(living_on(false)));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("a server that says nothing has said something"),
            listened = others => listened.unwrap().unwrap(),
        }
    }
    servers[1].signal("-CONT");
    timeout(PATIENCE, waiting).await.unwrap().unwrap();
}

async fn a_slot_moves(database: PgPool) {
    let servers = two_primaries().await;
    let node = node(&servers, database).await;
    let user = living_on(true);
    node.backplane.listen_to(user).await.unwrap();
    let channel = on_cluster().user(user);
    let slot = redis_keyslot(channel.as_bytes()).to_string();
    let (there, here) = (servers[0].name().await, servers[1].name().await);
    servers[0]
        .told(&["SETSLOT", &slot, "IMPORTING", &here])
        .await;
    servers[0].told(&["SETSLOT", &slot, "NODE", &there]).await;
    until(|| async {
        let heard: i64 = servers[0].client.spublish(&channel, "{}").await.unwrap();
        heard > 0
    })
    .await;
    until(|| async { node.hub.offset().await.unwrap().is_certain() }).await;
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn whoever_is_on_a_slot_that_moves_is_listened_to_where_it_is_now() {
    on_fresh_database(postgres::pool, a_slot_moves);
}
