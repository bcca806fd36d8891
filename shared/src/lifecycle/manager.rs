//! The service manager that started this process, and what it is told: ready, alive, draining (systemd's sd_notify protocol).
//!
//! Nobody is told anything unless they asked for it by `NOTIFY_SOCKET`. A part that gives no sign of life is in the log in any case.

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
/// From one word about a start that waits for something to the next, and how much longer it may take after each.
const START_STEP: Duration = Duration::from_secs(1);
const START_EXTENSION: Duration = Duration::from_secs(30);
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

    /// Tells it all that it should know until the drain has ended: what a start waits for, and that it takes as long as that; ready, as soon as
    /// the process is; signs of life while every part gives them; what the process is doing; stopping, and that it still is, within the
    /// drain's bound.
    pub async fn keep_informed(
        self,
        readiness: Readiness,
        vitals: Vitals,
        drainage: Drainage,
        doing: impl Fn() -> String,
    ) {
        let Drainage {
            begins,
            ended,
            limit,
        } = drainage;
        let running = async {
            tokio::select! {
                () = readiness.reached() => {}
                () = self.tell_start(&readiness) => {}
            }
            let every = self
                .watchdog
                .map_or(STATUS_EVERY, |watchdog| STATUS_EVERY.min(watchdog / 2));
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            self.tell(&[NotifyState::Ready]);
            loop {
                ticks.tick().await;
                self.tell_how(&vitals, &doing(), None);
            }
        };
        tokio::select! {
            () = running => {}
            () = begins.cancelled() => {}
            // What cannot start ends without a drain.
            () = ended.cancelled() => return,
        }
        let draining = async {
            let begun = Instant::now();
            self.tell(&[NotifyState::Stopping]);
            let mut ticks = interval(DRAIN_STEP);
            loop {
                ticks.tick().await;
                let left = limit.saturating_sub(begun.elapsed());
                let status = format!("draining, {} s at the most: {}", left.as_secs(), doing());
                let extension = (!left.is_zero()).then(|| longer(DRAIN_EXTENSION));
                self.tell_how(&vitals, &status, extension);
            }
        };
        tokio::select! {
            () = draining => {}
            () = ended.cancelled() => {}
        }
    }

    /// For as long as something is waited for the start takes longer. Nothing is said of one that hangs elsewhere: it ends as the manager's
    /// bound says.
    async fn tell_start(&self, readiness: &Readiness) {
        let mut ticks = interval(START_STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(what) = readiness.awaited() {
                let status = format!("starting: waiting for {what}");
                self.tell(&[NotifyState::Status(&status), longer(START_EXTENSION)]);
            }
        }
    }

    /// In one message: how many wait for a manager that is busy is bounded, and what is lost might be the sign of life.
    ///
    /// The manager's patience is for a process that does not even come to speak; half of it is for a part that does not.
    fn tell_how(&self, vitals: &Vitals, status: &str, extension: Option<NotifyState<'_>>) {
        let silent = match self.watchdog {
            Some(watchdog) => vitals.silent(watchdog / 2),
            None => vitals.stuck(),
        };
        let missing = silent.map(|part| format!("no sign of life from: {part}"));
        let mut said = vec![NotifyState::Status(missing.as_deref().unwrap_or(status))];
        said.extend(extension);
        match silent {
            Some(part) => {
                tracing::error!(part, "no sign of life from a vital part");
            }
            None if self.watchdog.is_some() => said.push(NotifyState::Watchdog),
            None => {}
        }
        self.tell(&said);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if let Some(socket) = &self.socket {
            tell(socket, states);
        }
    }
}

fn longer(time: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
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

    fn drainage() -> Drainage {
        Drainage {
            begins: CancellationToken::new(),
            ended: CancellationToken::new(),
            limit: Duration::ZERO,
        }
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

    /// What is said until enough was; `meanwhile` is done again and again.
    async fn heard_until(
        socket: &UnixDatagram,
        is_enough: impl Fn(&[String]) -> bool,
        meanwhile: impl Fn(),
    ) -> Vec<String> {
        let (begun, mut said) = (Instant::now(), Vec::new());
        while !is_enough(&said) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{said:?}");
            meanwhile();
            tokio::time::sleep(Duration::from_millis(5)).await;
            said.extend(heard(socket));
        }
        said
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
        let said = heard_until(&hears, |said| said.len() >= 2, || {}).await;
        assert_eq!(said, ["READY=1\n", "STATUS=nothing\nWATCHDOG=1\n"]);
        drainage.begins.cancel();
        let said = heard_until(&hears, |said| said.len() >= 2, || {}).await;
        let said = said.concat();
        assert!(said.starts_with("STOPPING=1\nSTATUS=draining, 2"), "{said}");
        assert!(
            said.ends_with("EXTEND_TIMEOUT_USEC=10000000\nWATCHDOG=1\n"),
            "{said}"
        );
        drainage.ended.cancel();
        telling.await.unwrap();
    }

    #[tokio::test]
    async fn a_silent_part_is_not_covered_up() {
        let (hears, manager) = manager("silent", Some(Duration::from_millis(200)));
        let (readiness, vitals) = (Readiness::default(), Vitals::default());
        let lane = vitals.part("lane");
        let drainage = drainage();
        readiness.set(true);
        let telling = manager.keep_informed(readiness, vitals, drainage.clone(), String::new);
        let telling = tokio::spawn(telling);
        let is_sign = |said: &String| said.ends_with("WATCHDOG=1\n");
        let missing = |said: &[String]| {
            let named = |said: &&String| said.contains("no sign of life from: lane");
            said.iter().filter(named).count()
        };
        for _ in 0..2 {
            heard_until(&hears, |said| said.iter().any(is_sign), || lane.give()).await;
            // The part is stuck: soon it is missed, and from then on nothing is said that would keep the process alive.
            let said = heard_until(&hears, |said| missing(said) >= 3, || {}).await;
            let first = said.iter().position(|said| said.contains("no sign"));
            assert!(!said[first.unwrap()..].iter().any(is_sign), "{said:?}");
        }
        drainage.ended.cancel();
        drainage.begins.cancel();
        telling.await.unwrap();
    }

    #[tokio::test]
    async fn a_start_that_waits_says_what_for_and_takes_longer() {
        let (hears, manager) = manager("start", Some(Duration::from_secs(30)));
        let (readiness, vitals) = (Readiness::default(), Vitals::default());
        readiness.wait_for("PostgreSQL");
        let drainage = drainage();
        let telling =
            manager.keep_informed(readiness.clone(), vitals, drainage.clone(), String::new);
        let telling = tokio::spawn(telling);
        let first = tokio::task::spawn_blocking(move || (hear(&hears), hears));
        let (first, hears) = first.await.unwrap();
        assert_eq!(
            first,
            "STATUS=starting: waiting for PostgreSQL\nEXTEND_TIMEOUT_USEC=30000000\n"
        );
        readiness.set(true);
        // A slow machine may say once more what it waits for.
        let ready = tokio::task::spawn_blocking(move || {
            let said = std::iter::repeat_with(|| hear(&hears));
            said.take_while(|said| said != "READY=1\n").last()
        });
        let again = ready.await.unwrap();
        assert!(again.is_none_or(|again| again == first), "something else");
        drainage.begins.cancel();
        drainage.ended.cancel();
        telling.await.unwrap();
    }

    #[tokio::test]
    async fn a_start_that_fails_is_not_waited_for() {
        for socket in [None, manager("failing", None).1.socket] {
            let manager = ServiceManager {
                socket,
                watchdog: None,
            };
            let drainage = drainage();
            drainage.ended.cancel();
            let (readiness, vitals) = (Readiness::default(), Vitals::default());
            manager
                .keep_informed(readiness, vitals, drainage, String::new)
                .await;
        }
    }
}
