//! A Redis of a test's own, which refuses the worker what the test says: like a cluster of which one server is out of order.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use confab_shared::id::Partition;
use confab_shared::redis::{RedisConfig, Retries, connect};
use confab_shared::testing::redis_at;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::{CustomCommand, Value};

/// It ends with the test.
pub(crate) struct Redis {
    child: Child,
    directory: PathBuf,
    /// How it is reached by the worker.
    pub(crate) config: RedisConfig,
    /// Who is refused nothing.
    pub(crate) client: Client,
}

impl Redis {
    /// Starts one that refuses nothing.
    pub(crate) async fn start() -> Self {
        let port = free_port();
        let name = format!("confab-it-worker-redis-{}-{port}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(&directory)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let mut config = redis_at(format!("redis://127.0.0.1:{port}"));
        let client = connect(&config, Retries::Idempotent).await.unwrap();
        (config.username, config.password) = ("worker".into(), "secret".into());
        let redis = Self {
            child,
            directory,
            config,
            client,
        };
        redis.allow(["~*".to_owned()]).await;
        redis
    }

    /// Refuses whatever keys are not named.
    pub(crate) async fn allow(&self, keys: impl IntoIterator<Item = String>) {
        let user = [
            "SETUSER",
            "worker",
            "on",
            ">secret",
            "+@all",
            "allchannels",
            "resetkeys",
        ];
        let arguments: Vec<String> = user.into_iter().map(str::to_owned).chain(keys).collect();
        let acl = CustomCommand::new_static("ACL", None, false);
        let _: Value = self.client.custom(acl, arguments).await.unwrap();
    }

    /// Refuses one of so many partitions' keys.
    pub(crate) async fn refuse(&self, refused: Partition, partitions: u16) {
        let others = (0..partitions).filter(|other| *other != refused.0);
        let keys = others.map(|other| format!("~confab:{{{other}}}:*"));
        self.allow(keys.chain(["~confab:[^{]*".to_owned()])).await;
    }
}

/// A port that nobody has: none of those that the system gives to whoever connects, or somebody might before it is used.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id().wrapping_mul(211) % 5_000).unwrap();
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 15_000 + (start + next) % 5_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}
