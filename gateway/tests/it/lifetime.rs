//! The program's life: what it answers before it is ready, how it takes being told to stop, and the status with which it ends.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fred::interfaces::ClientLike;
use fred::types::CustomCommand;
use serde_json::Value;

use crate::http::{Answer, Request};
use crate::nodes::free_port;
use crate::raw::Raw;
use crate::registry::Redis;

/// A machine that is busy with other tests is slow; what hangs takes longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway, which may never become ready.
struct Gateway {
    child: Child,
    address: SocketAddr,
    internal: SocketAddr,
}

impl Gateway {
    fn start(settings: &[(&str, &str)]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_confab-gateway")), settings)
    }

    fn run(command: Command, settings: &[(&str, &str)]) -> Self {
        Self::run_telling(command, settings, Stdio::inherit())
    }

    fn run_telling(mut command: Command, settings: &[(&str, &str)], to: Stdio) -> Self {
        let (port, internal) = (free_port(), free_port());
        for (name, _) in std::env::vars() {
            if name.starts_with("CONFAB_") || name.starts_with("THROTTLE_") {
                command.env_remove(name);
            }
        }
        let child = command
            .env("CONFAB_ENVIRONMENT", "development")
            .env("CONFAB_HTTP__BIND", "127.0.0.1")
            .env(
                "CONFAB_HTTP__INTERNAL_LISTEN",
                format!("127.0.0.1:{internal}"),
            )
            .env("PORT", port.to_string())
            .env("JWT_SECRET", "a secret of thirty-two bytes or more")
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(to)
            .spawn()
            .unwrap();
        Self {
            child,
            address: ([127, 0, 0, 1], port).into(),
            internal: ([127, 0, 0, 1], internal).into(),
        }
    }

    fn asked(&self, path: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        Request::raw(self.internal, head.as_bytes()).answer()
    }

    /// Asks until it answers so.
    fn answers(&self, path: &str, status: u16, body: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            if TcpStream::connect(self.internal).is_ok() {
                let answer = self.asked(path);
                if (answer.status, answer.text()) == (status, body) {
                    return;
                }
                assert!(Instant::now() < until, "{answer:?}");
            }
            assert!(Instant::now() < until, "it does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.unwrap().success());
    }

    fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it stays");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended, which is no surprise here.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// A way to a server, shut at first: who comes is sent away at once, by turns as by a host where nothing listens, and as by a proxy that finds
/// nobody behind it.
struct Gate {
    url: String,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    /// Before the server that a URL names.
    fn before(url: &str) -> Self {
        let place = url.split_once("://").unwrap().1;
        let place = place.rsplit('@').next().unwrap();
        let place = place.split(['/', '?']).next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let is_open = Arc::<AtomicBool>::default();
        let gate = Self {
            url: url.replacen(&place, &here, 1),
            is_open: is_open.clone(),
        };
        std::thread::spawn(move || {
            for (index, client) in listener.incoming().enumerate() {
                let mut client = client.unwrap();
                if is_open.load(Ordering::SeqCst) {
                    pass(client, &place).unwrap();
                } else if index.is_multiple_of(2) {
                    client.shutdown(Shutdown::Write).unwrap();
                    // Whatever it says is heard, or the connection would be reset.
                    std::thread::spawn(move || io::copy(&mut client, &mut io::sink()));
                }
            }
        });
        gate
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }
}

/// Passes bytes on, both ways, until either end is closed.
fn pass(client: TcpStream, place: &str) -> io::Result<()> {
    let server = TcpStream::connect(place)?;
    for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        std::thread::spawn(move || {
            // Whichever end it was, there is nothing more to pass on.
            let _ = io::copy(&mut from, &mut to);
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
    Ok(())
}

fn state() -> Value {
    let path = std::env::var("CONFAB_TEST_STATE").expect("the state file of a running cluster");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The ways to PostgreSQL and Redis. None if several servers are Redis: they name each other, so no gate is before them.
fn gates() -> Option<[Gate; 2]> {
    let state = state();
    let [database, redis] =
        ["postgres", "redis"].map(|store| state[store]["url"].as_str().unwrap().to_owned());
    redis
        .starts_with("redis://")
        .then(|| [Gate::before(&database), Gate::before(&redis)])
}

#[test]
#[ignore = "needs a running cluster (deploy/test services)"]
fn a_gateway_that_waits_answers_its_probes_and_goes_when_it_is_told_to() {
    let Some([database, redis]) = gates() else {
        return;
    };
    let stores = [
        ("DATABASE_URL", database.url.as_str()),
        ("REDIS_URL", redis.url.as_str()),
    ];
    for (awaited, opened) in [("PostgreSQL", None), ("Redis", Some(&database))] {
        if let Some(gate) = opened {
            gate.open();
        }
        let mut gateway = Gateway::start(&stores);
        gateway.answers("/readyz", 503, &format!("waiting for {awaited}\n"));
        gateway.answers("/livez", 200, "ok\n");
        let refused = TcpStream::connect(gateway.address);
        assert!(
            refused.is_err(),
            "clients are left to gateways that serve them"
        );
        assert_eq!(gateway.asked("/metrics").status, 200);
        assert_eq!(gateway.asked("/log").status, 200);
        gateway.terminate();
        assert!(gateway.ended().success());
    }
}

#[test]
#[ignore = "needs a running cluster (deploy/test services)"]
fn a_gateway_that_waits_is_ready_when_what_it_waits_for_is_there() {
    let Some([database, redis]) = gates() else {
        return;
    };
    let gateway = Gateway::start(&[
        ("DATABASE_URL", database.url.as_str()),
        ("REDIS_URL", redis.url.as_str()),
    ]);
    gateway.answers("/readyz", 503, "waiting for PostgreSQL\n");
    database.open();
    gateway.answers("/readyz", 503, "waiting for Redis\n");
    redis.open();
    gateway.answers("/readyz", 200, "ready\n");
    let head = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let health = Request::raw(gateway.address, head.as_bytes()).answer();
    assert_eq!(health.status, 200, "{health:?}");
}

/// An answer on a connection that is kept. None if it was cut off.
fn say(stream: &mut TcpStream, request: &str) -> Option<String> {
    stream.write_all(request.as_bytes()).ok()?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| {
        let length = line.strip_prefix("content-length: ")?;
        Some(length.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(head)
}

#[test]
#[ignore = "needs a running cluster (deploy/test services)"]
fn what_a_proxy_sends_on_kept_connections_while_a_gateway_drains_is_answered() {
    let Some([database, redis]) = gates() else {
        return;
    };
    database.open();
    redis.open();
    let mut gateway = Gateway::start(&[
        ("DATABASE_URL", database.url.as_str()),
        ("REDIS_URL", redis.url.as_str()),
        ("CONFAB_DRAIN__SPREAD_SECONDS", "8"),
    ]);
    gateway.answers("/readyz", 200, "ready\n");
    // As long as there is a session the drain goes on.
    let session = Raw::upgrade(gateway.address, "/socket.io/?EIO=4&transport=websocket");
    let mut kept: Vec<TcpStream> = (0..50)
        .map(|_| TcpStream::connect(gateway.address).unwrap())
        .collect();
    let get = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    for stream in &mut kept {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = say(stream, get).unwrap();
        assert!(!head.contains("connection: close"), "{head}");
    }
    gateway.terminate();
    gateway.answers("/readyz", 503, "draining\n");
    let post = "POST /api/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    for stream in &mut kept {
        let head = say(stream, post).expect("cut off");
        assert!(head.contains("connection: close"), "{head}");
    }
    drop(session);
    assert!(gateway.ended().success());
}

/// What it had begun by then ends with it, and has no say.
#[tokio::test]
#[ignore = "needs a running cluster (deploy/test services)"]
async fn a_start_that_fails_late_says_why() {
    let (server, client) = Redis::start().await;
    let deaf = [
        "SETUSER",
        "deaf",
        "on",
        ">secret",
        "~*",
        "+@all",
        "resetchannels",
    ];
    let acl = CustomCommand::new_static("ACL", None, false);
    let _: fred::types::Value = client.custom(acl, deaf.to_vec()).await.unwrap();
    let database = state()["postgres"]["url"].as_str().unwrap().to_owned();
    let redis = server.url.replace("redis://", "redis://deaf:secret@");
    let stores = [("DATABASE_URL", database.as_str()), ("REDIS_URL", &redis)];
    let command = Command::new(env!("CARGO_BIN_EXE_confab-gateway"));
    let mut gateway = Gateway::run_telling(command, &stores, Stdio::piped());
    let code = gateway.ended().code();
    let mut said = String::new();
    let mut told = gateway.child.stderr.take().unwrap();
    told.read_to_string(&mut said).unwrap();
    assert!(
        code == Some(1) && said.contains("NOPERM"),
        "{code:?}: {said}"
    );
}

#[test]
fn a_wrong_setting_ends_it_for_good_and_a_missing_file_for_now() {
    let ended = |settings: &[(&str, &str)]| Gateway::start(settings).ended().code();
    let production = [
        ("CONFAB_ENVIRONMENT", "production"),
        ("CORS_ORIGIN", "https://chat.example"),
    ];
    let short = [production[0], production[1], ("JWT_SECRET", "too short")];
    assert_eq!(ended(&short), Some(78));
    assert_eq!(ended(&[("CONFAB_DRAIN__SPREAD_SECONDS", "60")]), Some(78));
    let wildcard = format!("0.0.0.0:{}", free_port());
    let everywhere = [("CONFAB_HTTP__INTERNAL_LISTEN", wildcard.as_str())];
    assert_eq!(ended(&everywhere), Some(78));
    let files = [
        ("CONFAB_HTTP__TLS__CERT_FILE", "/nowhere/fullchain.pem"),
        ("CONFAB_HTTP__TLS__KEY_FILE", "/nowhere/privkey.pem"),
    ];
    assert_eq!(ended(&files), Some(1));
}

#[test]
fn a_socket_that_nobody_accepts_on_is_a_wrong_setting() {
    let mut shell = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_confab-gateway");
    shell.args(["-c", "LISTEN_PID=$$ exec \"$0\"", program]);
    let inherited = [("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "nobody.socket")];
    assert_eq!(Gateway::run(shell, &inherited).ended().code(), Some(78));
}
