//! The ways to break a cluster. Each leaves it whole again.

use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::Config;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::harness::{Harness, dies, kill, signal};

/// How long a worker under load may take to come to its failpoint.
const FAILPOINT_LIMIT: Duration = Duration::from_secs(30);
/// A worker aborts in the batch after so many: a second or two under this load, so that it is ready before.
const BATCHES: u32 = 150;
/// How long something stays dead before it is started again.
const DEAD: Duration = Duration::from_millis(1_500);
/// A fast shutdown of PostgreSQL, or a worker's death, takes no longer.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

/// Something breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Injury {
    /// `kill -9`, started again.
    KillGateway(usize),
    /// `kill -9`, started again.
    KillWorker(usize),
    /// Worker 0 aborts at this place; started again without.
    Failpoint(&'static str),
    /// SIGSTOP for so long, then SIGCONT.
    SleepWorker(usize, Duration),
    /// `FLUSHALL`: no connection breaks, and everything is gone.
    FlushRedis,
    /// `kill -9`, started again, empty, after so long.
    RestartRedis(Duration),
    /// A fast shutdown, started again after so long.
    RestartPostgres(Duration),
}

impl Injury {
    /// One of them.
    pub(crate) fn any(dice: &mut Dice) -> Self {
        let which = usize::try_from(dice.below(2)).unwrap();
        let pause = Duration::from_millis(dice.below(3_000));
        match dice.below(9) {
            0 => Self::KillGateway(which),
            1 => Self::KillWorker(which),
            2 => Self::Failpoint("worker::before_commit"),
            3 => Self::Failpoint("worker::after_commit"),
            4 => Self::Failpoint("worker::after_fan_out"),
            5 => Self::SleepWorker(which, pause + Duration::from_secs(1)),
            6 => Self::FlushRedis,
            7 => Self::RestartRedis(pause),
            _ => Self::RestartPostgres(pause),
        }
    }

    /// Inflicts it, and heals it.
    pub(crate) async fn inflict(&self, harness: &Harness) {
        let cluster = harness.cluster();
        match *self {
            Self::KillGateway(index) => {
                let gateway = &cluster.gateways[index];
                kill(gateway.pid).await;
                sleep(DEAD).await;
                harness.restart(&gateway.restart, &[]).await;
            }
            Self::KillWorker(index) => {
                let worker = &cluster.workers[index];
                kill(worker.pid).await;
                sleep(DEAD).await;
                harness.restart(&worker.restart, &[]).await;
            }
            Self::Failpoint(place) => {
                let restart = &cluster.workers[0].restart;
                harness
                    .restart(
                        restart,
                        &[("FAILPOINTS", &format!("{place}={BATCHES}*off->return"))],
                    )
                    .await;
                let pid = harness.cluster().workers[0].pid;
                assert!(
                    dies(pid, FAILPOINT_LIMIT).await,
                    "worker {pid} did not come to {place}: was it built with failpoints?"
                );
                println!("  worker {pid} died at {place}");
                sleep(DEAD).await;
                harness.restart(restart, &[]).await;
            }
            Self::SleepWorker(index, long) => {
                let pid = cluster.workers[index].pid;
                signal(pid, "STOP").await;
                sleep(long).await;
                signal(pid, "CONT").await;
            }
            Self::FlushRedis => {
                let redis = Client::new(
                    Config::from_url(&cluster.redis.url).unwrap(),
                    None,
                    None,
                    None,
                );
                redis.init().await.unwrap();
                redis.flushall::<()>(false).await.unwrap();
                redis.quit().await.unwrap();
                sleep(Duration::from_millis(700)).await;
            }
            Self::RestartRedis(outage) => {
                kill(cluster.redis.pid).await;
                sleep(outage).await;
                harness.restart(&cluster.redis.restart, &[]).await;
            }
            Self::RestartPostgres(outage) => {
                let pid = cluster.postgres.pid;
                signal(pid, "INT").await;
                assert!(
                    dies(pid, SHUTDOWN_LIMIT).await,
                    "PostgreSQL does not shut down"
                );
                sleep(outage).await;
                harness.restart(&cluster.postgres.restart, &[]).await;
            }
        }
    }
}
