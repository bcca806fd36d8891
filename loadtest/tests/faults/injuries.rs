//! The ways to break a cluster. Each leaves it whole again.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use confab_loadtest::clock;
use confab_loadtest::cluster::{Cluster, Service};
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::config::Config;
use fred::types::{CustomCommand, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::harness::{Harness, dies, kill, signal};

/// How long a worker under load may take to come to its failpoint.
const FAILPOINT_LIMIT: Duration = Duration::from_secs(180);
/// A worker aborts in the batch after so many: some seconds under this load, so that it is ready before, on a slow machine as well.
const BATCHES: u32 = 500;
/// How long something stays dead before it is started again.
const DEAD: Duration = Duration::from_millis(1_500);
/// How often clients are cut off that are so again and again, and how long after one another: longer than most take to come back.
const CUTS: u32 = 9;
const BETWEEN_CUTS: Duration = Duration::from_millis(700);
/// A fast shutdown of PostgreSQL, or a worker's death, takes no longer.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(90);

/// How long Redis may take to put a replica in a primary's place.
const PROMOTION_LIMIT: Duration = Duration::from_secs(90);

/// A gateway that drains has sent all clients away by then.
const DRAIN_LIMIT: Duration = Duration::from_secs(180);

/// When an injury has hit, and who waits for it.
#[derive(Debug)]
pub(crate) struct Strike {
    at: AtomicU64,
    waiting: Notify,
    cuts: watch::Sender<u32>,
}

impl Strike {
    /// Clients that watch `cuts` cut their connections when it is raised.
    pub(crate) fn new(cuts: watch::Sender<u32>) -> Self {
        Self {
            at: AtomicU64::new(0),
            waiting: Notify::new(),
            cuts,
        }
    }

    fn hits(&self) {
        self.at.store(clock::now(), Ordering::Relaxed);
        self.waiting.notify_one();
    }

    /// When the last one hit, by the clients' clock.
    pub(crate) fn at(&self) -> u64 {
        self.at.load(Ordering::Relaxed)
    }

    /// Waits until one has hit.
    pub(crate) async fn felt(&self) {
        self.waiting.notified().await;
    }
}

/// Something breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Injury {
    /// `kill -9`, started again.
    KillGateway(usize),
    /// SIGTERM; started again when it has sent its clients away and is gone.
    DrainGateway(usize),
    /// All clients lose their connections, and half of them without the servers' knowing; nothing else happens.
    CutClients,
    /// The same again and again, for some seconds: whatever else is broken meanwhile, at every moment of it some break off.
    CutClientsAgain,
    /// `kill -9`, started again.
    KillWorker(usize),
    /// `kill -9` of all, started again.
    KillAllWorkers,
    /// Worker 0 aborts at this place; started again without.
    Failpoint(&'static str),
    /// SIGSTOP for so long, then SIGCONT.
    SleepWorker(usize, Duration),
    /// `FLUSHALL`: no connection breaks, and everything is gone.
    FlushRedis,
    /// `kill -9` of this one of Redis' primaries. It is started again, and follows, when a replica has taken its place.
    KillPrimary(usize),
    /// `FLUSHALL` on this one of Redis' primaries alone.
    FlushPrimary(usize),
    /// So many slots of the first primary of a Redis Cluster, from its first on, are moved to the second, with what is in them.
    MoveSlots(u16),
    /// Redis closes the connections of all subscribers, and remembers everything.
    DropSubscribers,
    /// `kill -9`, started again, empty, after so long.
    RestartRedis(Duration),
    /// `kill -9`, started again with what it had a while before.
    SetRedisBack,
    /// A fast shutdown, started again after so long.
    RestartPostgres(Duration),
}

impl Injury {
    /// One of them, or two of different processes at once.
    pub(crate) fn some(dice: &mut Dice) -> Vec<Self> {
        let first = Self::any(dice);
        let second = Self::any(dice);
        if dice.below(2) == 0 && first.target() != second.target() {
            vec![first, second]
        } else {
            vec![first]
        }
    }

    fn any(dice: &mut Dice) -> Self {
        let which = usize::try_from(dice.below(2)).unwrap();
        let pause = Duration::from_millis(dice.below(3_000));
        match dice.below(12) {
            0 => Self::KillGateway(which),
            1 => Self::KillWorker(which),
            2 => Self::KillAllWorkers,
            3 => Self::Failpoint("worker::before_commit"),
            4 => Self::Failpoint("worker::after_commit"),
            5 => Self::Failpoint("worker::after_fan_out"),
            6 => Self::SleepWorker(which, pause + Duration::from_secs(1)),
            7 => Self::FlushRedis,
            8 => Self::DropSubscribers,
            9 => Self::RestartRedis(pause),
            10 => Self::CutClients,
            _ => Self::RestartPostgres(pause),
        }
    }

    /// What it breaks. Two injuries of one kind of process would get into each other's way.
    fn target(self) -> &'static str {
        match self {
            Self::KillGateway(_) | Self::DrainGateway(_) => "gateway",
            Self::CutClients | Self::CutClientsAgain => "clients",
            Self::KillWorker(_)
            | Self::KillAllWorkers
            | Self::Failpoint(_)
            | Self::SleepWorker(..) => "worker",
            Self::FlushRedis
            | Self::KillPrimary(_)
            | Self::FlushPrimary(_)
            | Self::MoveSlots(_)
            | Self::DropSubscribers
            | Self::RestartRedis(_)
            | Self::SetRedisBack => "redis",
            Self::RestartPostgres(_) => "postgres",
        }
    }

    /// Inflicts it, says so, and heals it.
    pub(crate) async fn inflict(&self, harness: &Harness, strike: &Strike) {
        let cluster = harness.cluster();
        match *self {
            Self::KillGateway(index) => {
                let gateway = &cluster.gateways[index];
                kill(gateway.pid).await;
                strike.hits();
                sleep(DEAD).await;
                harness.restart(&gateway.restart, &[]).await;
            }
            Self::DrainGateway(index) => {
                let gateway = &cluster.gateways[index];
                signal(gateway.pid, "TERM").await;
                strike.hits();
                assert!(
                    dies(gateway.pid, DRAIN_LIMIT).await,
                    "gateway {index} does not end"
                );
                harness.restart(&gateway.restart, &[]).await;
            }
            Self::CutClients => {
                strike.cuts.send_modify(|cuts| *cuts += 1);
                strike.hits();
                sleep(DEAD).await;
            }
            Self::CutClientsAgain => {
                for _ in 0..CUTS {
                    strike.cuts.send_modify(|cuts| *cuts += 1);
                    sleep(BETWEEN_CUTS).await;
                }
                strike.hits();
            }
            Self::KillWorker(index) => {
                let worker = &cluster.workers[index];
                kill(worker.pid).await;
                strike.hits();
                sleep(DEAD).await;
                harness.restart(&worker.restart, &[]).await;
            }
            Self::KillAllWorkers => {
                for worker in &cluster.workers {
                    kill(worker.pid).await;
                }
                strike.hits();
                sleep(DEAD).await;
                for worker in &cluster.workers {
                    harness.restart(&worker.restart, &[]).await;
                }
            }
            Self::Failpoint(place) => fail_at(place, harness, strike).await,
            Self::SleepWorker(index, long) => {
                let pid = cluster.workers[index].pid;
                signal(pid, "STOP").await;
                strike.hits();
                sleep(long).await;
                signal(pid, "CONT").await;
            }
            Self::FlushRedis => command(&cluster.redis.url, "FLUSHALL", &[], strike).await,
            Self::KillPrimary(index) => fail_over(harness, &cluster, index, strike).await,
            Self::FlushPrimary(index) => {
                let primaries = primaries(&cluster.redis.servers).await;
                command(&primaries[index].url, "FLUSHALL", &[], strike).await;
            }
            Self::MoveSlots(count) => move_slots(&cluster, count, strike).await,
            Self::DropSubscribers => {
                let kill = ["KILL", "TYPE", "pubsub"];
                command(&cluster.redis.url, "CLIENT", &kill, strike).await;
            }
            Self::RestartRedis(outage) => {
                kill(cluster.redis.pid).await;
                strike.hits();
                sleep(outage).await;
                harness.restart(&cluster.redis.restart, &[]).await;
            }
            Self::SetRedisBack => set_back(harness, &cluster, strike).await,
            Self::RestartPostgres(outage) => {
                let pid = cluster.postgres.pid;
                signal(pid, "INT").await;
                assert!(
                    dies(pid, SHUTDOWN_LIMIT).await,
                    "PostgreSQL does not shut down"
                );
                strike.hits();
                sleep(outage).await;
                harness.restart(&cluster.postgres.restart, &[]).await;
            }
        }
    }
}

/// Has a worker die at this place in its program.
async fn fail_at(place: &str, harness: &Harness, strike: &Strike) {
    let restart = &harness.cluster().workers[0].restart;
    let failpoint = format!("{place}={BATCHES}*off->return");
    harness
        .restart(restart, &[("FAILPOINTS", &failpoint)])
        .await;
    let pid = harness.cluster().workers[0].pid;
    assert!(
        dies(pid, FAILPOINT_LIMIT).await,
        "worker {pid} did not come to {place}: was it built with failpoints?"
    );
    strike.hits();
    println!("  worker {pid} died at {place}");
    sleep(DEAD).await;
    harness.restart(restart, &[]).await;
}

/// Has Redis keep what it has, kills it when it has something else, and has it begin again with what it kept.
async fn set_back(harness: &Harness, cluster: &Cluster, strike: &Strike) {
    ask(&cluster.redis.url, "SAVE", &[]).await.unwrap();
    sleep(DEAD).await;
    kill(cluster.redis.pid).await;
    strike.hits();
    harness.restart(&cluster.redis.restart, &[]).await;
    // It keeps nothing the next time.
    let found = ask(&cluster.redis.url, "CONFIG", &["GET", "dir"]).await;
    let (_, directory): (String, String) = found.unwrap().convert().unwrap();
    let snapshot = Path::new(&directory).join("dump.rdb");
    std::fs::remove_file(snapshot).unwrap();
}

/// Kills a primary, and starts it again when another server has taken its place. The injury counts from that moment: until then nobody can
/// do anything about it.
async fn fail_over(harness: &Harness, cluster: &Cluster, index: usize, strike: &Strike) {
    let servers = &cluster.redis.servers;
    let primaries = primaries(servers).await;
    let count = primaries.len();
    let victim = primaries[index].clone();
    kill(victim.pid).await;
    strike.hits();
    let begun = Instant::now();
    let others: Vec<Service> = servers
        .iter()
        .filter(|server| server.pid != victim.pid)
        .cloned()
        .collect();
    while self::primaries(&others).await.len() < count {
        assert!(
            begun.elapsed() < PROMOTION_LIMIT,
            "no replica has taken the place of {}",
            victim.url
        );
        sleep(Duration::from_millis(20)).await;
    }
    println!("  a replica was promoted after {:.1?}", begun.elapsed());
    strike.hits();
    sleep(DEAD).await;
    harness.restart(&victim.restart, &[]).await;
}

/// Does nothing to a Redis that has no slots.
async fn move_slots(cluster: &Cluster, count: u16, strike: &Strike) {
    let primaries = primaries(&cluster.redis.servers).await;
    let [from, to, ..] = primaries.as_slice() else {
        return;
    };
    let id = async |server: &Service| {
        let id = ask(&server.url, "CLUSTER", &["MYID"]).await.unwrap();
        id.into_string().unwrap()
    };
    let address = from.url.strip_prefix("redis://").unwrap();
    let moved = tokio::process::Command::new("redis-cli")
        .args(["--cluster", "reshard", address, "--cluster-yes"])
        .args(["--cluster-slots", &count.to_string()])
        .args(["--cluster-from", &id(from).await])
        .args(["--cluster-to", &id(to).await])
        .output()
        .await
        .unwrap();
    assert!(
        moved.status.success(),
        "{}",
        String::from_utf8_lossy(&moved.stdout)
    );
    strike.hits();
    sleep(DEAD).await;
}

/// Those servers that are primaries now.
async fn primaries(servers: &[Service]) -> Vec<Service> {
    let mut primaries = Vec::new();
    for server in servers {
        let role = ask(&server.url, "ROLE", &[]).await;
        if let Ok(Value::Array(role)) = role
            && role.first().and_then(Value::as_str).as_deref() == Some("master")
        {
            primaries.push(server.clone());
        }
    }
    primaries
}

/// Has Redis do something, and gives it time to show.
async fn command(url: &str, name: &'static str, arguments: &[&str], strike: &Strike) {
    ask(url, name, arguments).await.unwrap();
    strike.hits();
    sleep(Duration::from_millis(700)).await;
}

async fn ask(url: &str, name: &'static str, arguments: &[&str]) -> Result<Value, Error> {
    let redis = Client::new(Config::from_url(url)?, None, None, None);
    redis.init().await?;
    let command = CustomCommand::new_static(name, None, false);
    let arguments: Vec<String> = arguments
        .iter()
        .map(|&argument| argument.to_owned())
        .collect();
    let answer = redis.custom::<Value, String>(command, arguments).await?;
    redis.quit().await?;
    Ok(answer)
}
