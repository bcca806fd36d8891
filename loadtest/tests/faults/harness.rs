//! The cluster that is broken: its processes, and how they are stopped and started again.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use confab_loadtest::cluster::Cluster;
use confab_loadtest::processes::is_running;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// How long a process may take to start, a slow machine included.
const RESTART_LIMIT: Duration = Duration::from_secs(180);
/// How long a killed process may take to be gone.
const DEATH_LIMIT: Duration = Duration::from_secs(60);

/// The cluster under test.
#[derive(Debug, Clone)]
pub(crate) struct Harness {
    state: PathBuf,
}

impl Harness {
    /// Finds the cluster, and starts again what an earlier test left dead.
    pub(crate) async fn from_environment() -> Self {
        let state = std::env::var_os("CONFAB_TEST_STATE")
            .expect("CONFAB_TEST_STATE is not set: it must name the state.json of a running cluster; `deploy/test` sets it");
        let harness = Self {
            state: state.into(),
        };
        harness.heal().await;
        harness
    }

    /// The cluster as it is now: pids change with every restart.
    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::load(&self.state).unwrap()
    }

    /// What is dead is started, what is stopped goes on.
    async fn heal(&self) {
        let cluster = self.cluster();
        let services = [&cluster.postgres]
            .into_iter()
            .chain(&cluster.redis.servers)
            .chain(&cluster.redis.sentinels)
            .map(|service| (service.pid, &service.restart));
        let workers = cluster
            .workers
            .iter()
            .map(|worker| (worker.pid, &worker.restart));
        let gateways = cluster
            .gateways
            .iter()
            .map(|gateway| (gateway.pid, &gateway.restart));
        for (pid, restart) in services.chain(workers).chain(gateways) {
            if is_running(pid) {
                signal(pid, "CONT").await;
            } else {
                self.restart(restart, &[]).await;
            }
        }
    }

    /// Runs a command of the state file that starts a process (again), with more environment.
    pub(crate) async fn restart(&self, command: &[String], environment: &[(&str, &str)]) {
        let (program, arguments) = command.split_first().expect("a restart command");
        let child = Command::new(program)
            .args(arguments)
            .env_remove("FAILPOINTS")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(RESTART_LIMIT, child)
            .await
            .expect("a restart takes too long")
            .unwrap();
        assert!(
            output.status.success(),
            "{command:?} failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Sends a signal, and does not mind if nobody is there any more.
pub(crate) async fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(
        status.success() || !is_running(pid),
        "kill -s {name} {pid} failed"
    );
}

/// Kills a process without warning and waits until it is gone.
pub(crate) async fn kill(pid: u32) {
    signal(pid, "KILL").await;
    assert!(dies(pid, DEATH_LIMIT).await, "process {pid} does not die");
}

/// Whether a process ends within some time.
pub(crate) async fn dies(pid: u32, within: Duration) -> bool {
    let begun = Instant::now();
    while is_running(pid) {
        if begun.elapsed() > within {
            return false;
        }
        sleep(Duration::from_millis(20)).await;
    }
    true
}
