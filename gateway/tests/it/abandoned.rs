//! Sessions that nobody comes back to leave nothing behind.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::raw::{Echo, PATIENCE};

const SESSIONS: usize = 10_000;

/// How long memory may take to go back to the system.
const RETURNED: Duration = Duration::from_secs(90);

impl Echo {
    /// Resident memory, in KiB.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Handshakes over polling, pipelined on one connection.
    fn abandon(&self, path: &str, count: usize) {
        const BATCH: usize = 50;
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request =
            format!("GET {path}?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n");
        for _ in 0..count / BATCH {
            stream.write_all(request.repeat(BATCH).as_bytes()).unwrap();
            let mut answers = String::new();
            while answers.matches("maxPayload").count() < BATCH || !answers.ends_with('}') {
                let mut bytes = [0; 16_384];
                let read = stream.read(&mut bytes).unwrap();
                assert!(read > 0, "the connection ended");
                answers.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
        }
    }
}

#[test]
fn ten_thousand_abandoned_sessions_leave_nothing_behind() {
    // They are to be there at once, so they live for twice as long as this machine takes to open them.
    let begun = Instant::now();
    Echo::alone(&[]).abandon("/engine.io/", SESSIONS / 10);
    let interval = (begun.elapsed() * 20).max(Duration::from_secs(20));
    let lifetime = interval + Duration::from_secs(1);
    let interval = interval.as_millis().to_string();
    let flags = ["--ping-interval-ms", &interval, "--ping-timeout-ms", "1000"];
    let echo = Echo::alone(&flags);
    // The first crowd shows what stays once a crowd has been there; a leak would show in the second.
    let fresh = echo.resident();
    let mut after = Vec::new();
    let mut most = 0;
    for _ in 0..2 {
        echo.abandon("/engine.io/", SESSIONS);
        let open = echo.open_sessions();
        assert!(open > SESSIONS / 2, "{open} sessions are open at once");
        most = most.max(echo.resident());
        let begun = Instant::now();
        while echo.open_sessions() > 0 {
            assert!(
                begun.elapsed() < lifetime + PATIENCE,
                "{} stay",
                echo.open_sessions()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        // The allocator gives memory back some seconds after it was last used: it may be wanted again at once.
        let settled = most.midpoint(fresh);
        let begun = Instant::now();
        while echo.resident() > settled && begun.elapsed() < RETURNED {
            std::thread::sleep(Duration::from_millis(250));
        }
        after.push(echo.resident());
    }
    #[expect(clippy::print_stdout, reason = "the figure is the point")]
    {
        println!("resident KiB: {fresh} fresh, {most} at most, {after:?} after each crowd");
    }
    assert!(
        after.iter().all(|after| *after <= most.midpoint(fresh)),
        "memory is kept: {fresh} {most} {after:?}"
    );
    assert!(
        after[1] < after[0] + (most - fresh) / 4,
        "{fresh} {most} {after:?}"
    );
}

#[test]
fn abandoned_socket_io_sessions_leave_at_the_connect_timeout() {
    let echo = Echo::alone(&["--connect-timeout-ms", "15000"]);
    let begun = Instant::now();
    echo.abandon("/socket.io/", 500);
    assert_eq!(echo.open_sessions(), 500);
    echo.has(0);
    assert!(begun.elapsed() >= Duration::from_millis(14_990));
}
