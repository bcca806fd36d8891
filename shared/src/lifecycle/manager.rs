//! The service manager that started this process, and what it is told: ready, alive, draining (systemd's sd_notify protocol).
//!
//! Nothing of this has any effect when nobody asked for it by `NOTIFY_SOCKET`.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sd_notify::{NotifyState, watchdog_enabled};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Readiness, Vitals};

/// From one status to the next, and how long a drain may take longer after each.
const STATUS_EVERY: Duration = Duration::from_secs(10);
const DRAIN_STEP: Duration = Duration::from_secs(1);
const DRAIN_EXTENSION: Duration = Duration::from_secs(10);
/// How long the manager may take to receive a message: it may be starting itself anew.
const PATIENCE: Duration = Duration::from_millis(500);

/// The service manager, if there is one.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How long it does without a sign of life before it ends this process.
    watchdog: Option<Duration>,
}

/// How a process drains.
#[derive(Debug, Clone)]
pub struct Drainage {
    /// Cancelled when it begins.
    pub begins: CancellationToken,
    /// Cancelled when nothing more is to be said.
    pub ended: CancellationToken,
    /// How long it takes at the most.
    pub limit: Duration,
}

impl ServiceManager {
    /// The one that the environment names.
    pub fn from_environment() -> Self {
        let address = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let socket = address.and_then(|address| {
            connect(&address)
                .inspect_err(|error| tracing::warn!(%error, ?address, "NOTIFY_SOCKET: the service manager is not reached"))
                .ok()
        });
        Self {
            watchdog: socket.as_ref().and_then(|_| watchdog_enabled()),
            socket,
        }
    }

    /// Tells it all that it should know until the drain has ended: ready, as soon as the process is; signs of life while every part gives
    /// them; what the process is doing; stopping, and that it still is, within the drain's bound.
    pub async fn keep_informed(
        self,
        readiness: Readiness,
        vitals: Vitals,
        drainage: Drainage,
        doing: impl Fn() -> String,
    ) {
        let Some(socket) = &self.socket else { return };
        let Drainage {
            begins,
            ended,
            limit,
        } = drainage;
        let running = async {
            readiness.reached().await;
            let every = self
                .watchdog
                .map_or(STATUS_EVERY, |watchdog| STATUS_EVERY.min(watchdog / 2));
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tell(socket, &[NotifyState::Ready]);
            loop {
                ticks.tick().await;
                self.tell_how(&vitals, socket, &doing(), None);
            }
        };
        tokio::select! {
            () = running => {}
            () = begins.cancelled() => {}
        }
        let draining = async {
            let begun = Instant::now();
            tell(socket, &[NotifyState::Stopping]);
            let mut ticks = interval(DRAIN_STEP);
            loop {
                ticks.tick().await;
                let left = limit.saturating_sub(begun.elapsed());
                let status = format!("draining, {} s at the most: {}", left.as_secs(), doing());
                let longer = u32::try_from(DRAIN_EXTENSION.as_micros()).unwrap_or(u32::MAX);
                let extension = (!left.is_zero()).then_some(NotifyState::ExtendTimeoutUsec(longer));
                self.tell_how(&vitals, socket, &status, extension);
            }
        };
        tokio::select! {
            () = draining => {}
            () = ended.cancelled() => {}
        }
    }

    /// In one message: how many wait for a manager that is busy is bounded, and what is lost might be the sign of life.
    ///
    /// The manager's patience is for a process that does not even come to speak; half of it is for a part that does not.
    fn tell_how(
        &self,
        vitals: &Vitals,
        socket: &UnixDatagram,
        status: &str,
        extension: Option<NotifyState<'_>>,
    ) {
        let silent = self
            .watchdog
            .and_then(|watchdog| vitals.silent(watchdog / 2));
        let missing = silent.map(|part| format!("no sign of life from: {part}"));
        let mut said = vec![NotifyState::Status(missing.as_deref().unwrap_or(status))];
        said.extend(extension);
        match silent {
            Some(part) => {
                tracing::error!(part, "no sign of life; the service manager is given none");
            }
            None if self.watchdog.is_some() => said.push(NotifyState::Watchdog),
            None => {}
        }
        tell(socket, &said);
    }
}

/// The socket may be a path, or a name of Linux' abstract ones, which begins with `@`.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    match address.as_bytes() {
        [b'/', ..] => socket.connect(address)?,
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    }
    Ok(socket)
}

fn tell(socket: &UnixDatagram, states: &[NotifyState<'_>]) {
    let mut message = String::new();
    for state in states {
        // Writing to a string cannot fail.
        let _ = writeln!(message, "{state}");
    }
    if let Err(error) = socket.send(message.as_bytes()) {
        tracing::warn!(%error, "the service manager is not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager that hears what is said, and its end of the socket.
    fn manager(name: &str, watchdog: Option<Duration>) -> (UnixDatagram, ServiceManager) {
        let name = format!("confab-{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let hears = UnixDatagram::bind_addr(&address).unwrap();
        hears
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let socket = connect(OsStr::new(&format!("@{name}"))).unwrap();
        let socket = Some(socket);
        (hears, ServiceManager { socket, watchdog })
    }

    fn hear(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 512];
        std::iter::from_fn(|| {
            socket
                .recv(&mut buffer)
                .ok()
                .map(|length| buffer[..length].to_vec())
        })
        .map(|message| String::from_utf8(message).unwrap())
        .collect()
    }

    #[test]
    fn a_socket_is_a_path_or_a_name() {
        let path = std::env::temp_dir().join(format!("confab-notify-{}", std::process::id()));
        let hears = UnixDatagram::bind(&path).unwrap();
        tell(&connect(path.as_os_str()).unwrap(), &[NotifyState::Ready]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(hear(&hears), "READY=1\n");
        assert!(connect(OsStr::new("vsock:2:1234")).is_err());
        assert!(connect(path.as_os_str()).is_err());
    }

    #[tokio::test]
    async fn ready_alive_and_draining_are_said_in_this_order() {
        let (hears, manager) = manager("order", Some(Duration::from_secs(30)));
        let (readiness, vitals) = (Readiness::default(), Vitals::default());
        let drainage = Drainage {
            begins: CancellationToken::new(),
            ended: CancellationToken::new(),
            limit: Duration::from_secs(30),
        };
        let telling =
            manager.keep_informed(readiness.clone(), vitals.clone(), drainage.clone(), || {
                "nothing".to_owned()
            });
        let telling = tokio::spawn(telling);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(heard(&hears).is_empty(), "not ready yet");
        readiness.set(true);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(heard(&hears), ["READY=1\n", "STATUS=nothing\nWATCHDOG=1\n"]);
        drainage.begins.cancel();
        tokio::time::sleep(Duration::from_millis(30)).await;
        let said = heard(&hears).concat();
        assert!(
            said.starts_with("STOPPING=1\nSTATUS=draining, 29 s"),
            "{said}"
        );
        assert!(
            said.ends_with("EXTEND_TIMEOUT_USEC=10000000\nWATCHDOG=1\n"),
            "{said}"
        );
        drainage.ended.cancel();
        telling.await.unwrap();
    }

    #[tokio::test]
    async fn a_silent_part_is_not_covered_up() {
        let (hears, manager) = manager("silent", Some(Duration::from_millis(100)));
        let (readiness, vitals) = (Readiness::default(), Vitals::default());
        let lane = vitals.part("lane");
        let drainage = Drainage {
            begins: CancellationToken::new(),
            ended: CancellationToken::new(),
            limit: Duration::ZERO,
        };
        readiness.set(true);
        let telling = manager.keep_informed(readiness, vitals, drainage.clone(), String::new);
        let telling = tokio::spawn(telling);
        tokio::time::sleep(Duration::from_millis(400)).await;
        let said = heard(&hears);
        let signs = |said: &[String]| {
            said.iter()
                .filter(|said| said.ends_with("WATCHDOG=1\n"))
                .count()
        };
        assert!((1..=3).contains(&signs(&said)), "{said:?}");
        assert!(said.last().unwrap().contains("no sign of life from: lane"));
        lane.give();
        tokio::time::sleep(Duration::from_millis(40)).await;
        lane.give();
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert!(signs(&heard(&hears)) >= 1);
        drainage.ended.cancel();
        drainage.begins.cancel();
        telling.await.unwrap();
    }

    #[tokio::test]
    async fn without_a_manager_nothing_is_said() {
        let manager = ServiceManager {
            socket: None,
            watchdog: None,
        };
        let drainage = Drainage {
            begins: CancellationToken::new(),
            ended: CancellationToken::new(),
            limit: Duration::ZERO,
        };
        let (readiness, vitals) = (Readiness::default(), Vitals::default());
        manager
            .keep_informed(readiness, vitals, drainage, String::new)
            .await;
    }
}
