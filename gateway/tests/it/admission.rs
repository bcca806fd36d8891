//! Limits per client address.

use std::time::{Duration, Instant};

use crate::http::Polling;
use crate::raw::{Echo, PATIENCE};

#[test]
fn sessions_per_address_are_limited_and_the_address_is_the_clients() {
    let echo = Echo::alone(&[
        "--ping-interval-ms",
        "60000",
        "--sessions-per-ip",
        "2",
        "--trusted-proxies",
        "127.0.0.0/8",
    ]);
    let handshake = |from: &str| {
        let forwarded = format!("X-Forwarded-For: 6.6.6.6, {from}\r\n");
        echo.get("/engine.io/?EIO=4&transport=polling", &forwarded)
            .answer()
    };
    assert_eq!(handshake("192.0.2.1").status, 200);
    let open = handshake("192.0.2.1");
    let refused = handshake("192.0.2.1");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after").len(), 1);
    assert!(refused.text().starts_with("{\"code\":4,"));
    assert_eq!(handshake("192.0.2.2").status, 200);
    let opened: serde_json::Value = serde_json::from_str(&open.text()[1..]).unwrap();
    let session = Polling {
        echo: &echo,
        target: format!(
            "/engine.io/?EIO=4&transport=polling&sid={}",
            opened["sid"].as_str().unwrap()
        ),
        sid: String::new(),
    };
    session.post("1").is(200, "ok");
    let until = Instant::now() + PATIENCE;
    while handshake("192.0.2.1").status != 200 {
        assert!(Instant::now() < until, "the place was never given back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn handshakes_per_address_are_limited() {
    let echo = Echo::alone(&["--handshakes-per-ip", "1"]);
    let statuses: Vec<u16> = (0..12)
        .map(|_| {
            let handshake = echo.get("/engine.io/?EIO=4&transport=polling", "");
            { handshake }.answer().status
        })
        .collect();
    // Twice as many as a second has may come at once. Whether another second has gone by after these depends on the machine.
    let (first, later) = statuses.split_at(2);
    assert_eq!(first, [200, 200], "{statuses:?}");
    assert!(later.contains(&429), "{statuses:?}");
    assert!(
        later.iter().all(|status| [200, 429].contains(status)),
        "{statuses:?}"
    );
}
