//! A service manager in small: holds the clients' listening socket, starts gateways on it as systemd would, and hears what they say.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use confab_loadtest::clock;
use confab_loadtest::cluster::Cluster;
use confab_loadtest::http::Endpoint;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::signal;

/// How often a program is to show that it lives, as `WatchdogSec=` says it.
const WATCHDOG: Duration = Duration::from_secs(20);
const START_LIMIT: Duration = Duration::from_secs(180);
const STOP_LIMIT: Duration = Duration::from_secs(180);
/// The listening socket goes where systemd puts it; the process that looks for it has to be the one that `LISTEN_PID` names.
const AS_SYSTEMD_DOES: &str =
    r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_FDNAMES=public LISTEN_PID=$$ exec "$0" run"#;

/// The socket under which somebody's notifications are heard, and what was said.
pub(super) struct Ear {
    name: String,
    heard: Arc<Mutex<Vec<(u64, String)>>>,
    listening: JoinHandle<()>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Ear {
    pub(super) fn open() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("confab-rolling-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let socket = StdDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = UnixDatagram::from_std(socket).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&heard);
        let listening = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer).await {
                let message = String::from_utf8_lossy(&buffer[..length]);
                let said = message.lines().map(|line| (clock::now(), line.to_owned()));
                record.lock().unwrap().extend(said);
            }
        });
        Self {
            name,
            heard,
            listening,
        }
    }

    /// What a program is told by its environment.
    pub(super) fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("NOTIFY_SOCKET", format!("@{}", self.name)),
            ("WATCHDOG_USEC", WATCHDOG.as_micros().to_string()),
        ]
    }

    /// What was said so far, and when.
    pub(super) fn heard(&self) -> Vec<(u64, String)> {
        self.heard.lock().unwrap().clone()
    }

    async fn hears(&self, what: &str, within: Duration) {
        let begun = Instant::now();
        while !self.heard().iter().any(|(_, said)| said == what) {
            assert!(begun.elapsed() < within, "{what} is not heard");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Fails unless one life was told of as it should be: what its start waited for, ready, signs of life without a pause for as long as it lasted,
/// stopping, and that it still was.
pub(super) fn require_a_whole_life(whose: &str, said: &[(u64, String)]) {
    let when = |what: &str| -> Vec<u64> {
        let of = said.iter().filter(|(_, said)| said == what);
        of.map(|(at, _)| *at).collect()
    };
    let (ready, stopping) = (when("READY=1"), when("STOPPING=1"));
    assert!(
        ready.len() == 1 && stopping.len() == 1 && ready < stopping,
        "{whose}: {said:?}"
    );
    let until_ready = said.iter().take_while(|(_, said)| said != "READY=1");
    for (_, said) in until_ready {
        let is_of_the_start =
            said.starts_with("STATUS=starting: ") || said.starts_with("EXTEND_TIMEOUT_USEC=");
        assert!(is_of_the_start, "{whose}, before it was ready: {said}");
    }
    let signs = when("WATCHDOG=1");
    let lapse = u64::try_from(WATCHDOG.as_nanos()).unwrap();
    let pauses = std::iter::once(ready[0])
        .chain(signs.iter().copied())
        .zip(signs.iter().copied().chain(stopping.iter().copied()));
    let longest = pauses.map(|(from, to)| to.saturating_sub(from)).max();
    assert!(
        longest.is_some_and(|longest| longest < lapse),
        "{whose}: {said:?}"
    );
    let extends =
        |(at, said): &(u64, String)| *at >= stopping[0] && said.starts_with("EXTEND_TIMEOUT_USEC=");
    assert!(said.iter().any(extends), "{whose}: {said:?}");
}

/// The socket that outlives all gateways.
pub(super) struct Manager {
    socket: TcpListener,
    cluster: Cluster,
    pub(super) spread: Duration,
}

/// A gateway that it started.
pub(super) struct Gateway {
    child: Child,
    ear: Ear,
}

impl Manager {
    pub(super) fn new(cluster: Cluster, spread: Duration) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            socket,
            cluster,
            spread,
        }
    }

    /// Where clients find whichever gateway accepts.
    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&format!("http://{}", self.socket.local_addr().unwrap())).unwrap()
    }

    /// Starts a gateway and waits until it says that it is ready, and is.
    pub(super) async fn start(&self) -> Gateway {
        let internal = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = internal.local_addr().unwrap().to_string();
        drop(internal);
        let ear = Ear::open();
        let socket = OwnedFd::from(self.socket.try_clone().unwrap());
        let child = Command::new("sh")
            .args(["-c", AS_SYSTEMD_DOES])
            .arg(self.cluster.programs.join("confab-gateway"))
            .envs(self.settings())
            .env("CONFAB_HTTP__INTERNAL_LISTEN", &address)
            .envs(ear.environment())
            .stdin(Stdio::from(socket))
            .stdout(Stdio::null())
            .stderr(log())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        ear.hears("READY=1", START_LIMIT).await;
        let probed = Endpoint::parse(&format!("http://{address}")).unwrap();
        let answer = probed.call("GET", "/readyz", None, None).await;
        assert_eq!(answer.unwrap().status, 200, "ready was said too early");
        Gateway { child, ear }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CONFAB_ENVIRONMENT", "development".to_owned()),
            ("DATABASE_URL", self.cluster.postgres.url.clone()),
            ("REDIS_URL", self.cluster.redis.url.clone()),
            ("JWT_SECRET", self.cluster.secret().unwrap()),
            ("CONFAB_RATE_LIMITS__ENABLED", "false".to_owned()),
            ("CONFAB_LOG__FORMAT", "pretty".to_owned()),
            // A machine that is busy with other things answers late; that is not what is tested.
            ("CONFAB_DATABASE__ACQUIRE_TIMEOUT_MS", "20000".to_owned()),
            (
                "CONFAB_DRAIN__SPREAD_SECONDS",
                self.spread.as_secs().to_string(),
            ),
        ]
    }
}

impl Gateway {
    /// SIGTERM, and waits until it is gone. When that began and ended, by the clients' clock.
    pub(super) async fn stop(mut self, whose: &str) -> (u64, u64) {
        let begun = clock::now();
        signal(self.child.id().unwrap(), "TERM").await;
        let status = timeout(STOP_LIMIT, self.child.wait()).await;
        let ended = clock::now();
        let status = status.expect("a gateway does not end").unwrap();
        assert!(status.success(), "{whose}: {status}");
        require_a_whole_life(whose, &self.ear.heard());
        (begun, ended)
    }
}

/// All gateways' words, beside the state file.
fn log() -> Stdio {
    let state = std::env::var_os("CONFAB_TEST_STATE").unwrap();
    let path = Path::new(&state).with_file_name("rolling.log");
    let file = File::options().create(true).append(true).open(path);
    file.unwrap().into()
}
