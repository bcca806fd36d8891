//! The programs: two gateways of a test's own beside a running cluster, whose workers answer them.

use std::net::{Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{Answer, Request};
use crate::nodes::free_port;
use crate::raw::{PATIENCE, Raw};

/// A gateway with settings of its own.
struct Gateway {
    child: Child,
    address: SocketAddr,
    internal: SocketAddr,
}

impl Gateway {
    fn start(settings: &[(&str, &str)]) -> Self {
        let path = std::env::var("CONFAB_TEST_STATE").expect("the state file of a running cluster");
        let state: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (port, internal) = (free_port(), free_port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_confab-gateway"));
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
            .env("CONFAB_HTTP__TRUSTED_PROXIES", "127.0.0.0/8")
            .env("CONFAB_AUTH__GUESTS", "true")
            .env("PORT", port.to_string())
            .env("DATABASE_URL", text(&state["postgres"]["url"]))
            .env("REDIS_URL", text(&state["redis"]["url"]))
            .env("JWT_SECRET", text(&state["jwtSecret"]))
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let gateway = Self {
            child,
            address: ([127, 0, 0, 1], port).into(),
            internal: ([127, 0, 0, 1], internal).into(),
        };
        let until = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(gateway.internal).is_err()
            || std::net::TcpStream::connect(gateway.address).is_err()
        {
            assert!(Instant::now() < until, "the gateway does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
        gateway
    }

    /// Whether somebody came through because Redis was too slow to be asked.
    fn has_failed_open(&self) -> bool {
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        let metrics = Request::raw(self.internal, request).answer();
        assert_eq!(metrics.status, 200, "{}", metrics.text());
        let name = "confab_gateway_rate_limit_decisions_total";
        let decisions = metrics.text().lines().filter(|line| line.starts_with(name));
        let mut failed_open = decisions.filter(|line| line.contains("outcome=\"failed_open\""));
        failed_open.any(|line| !line.ends_with(" 0"))
    }

    /// A request, from a client behind a proxy.
    fn ask(&self, whose: &Client, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let token = whose.token.as_ref();
        let token = token.map_or(String::new(), |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{token}\r\n{body}",
            whose.address,
            body.len()
        );
        Request::raw(self.address, head.as_bytes()).answer()
    }

    /// A socket in a namespace.
    fn socket(&self, query: &str, connect: &str) -> Raw {
        let target = format!("/socket.io/?EIO=4&transport=websocket{query}");
        let mut raw = Raw::upgrade(self.address, &target);
        assert!(raw.text().starts_with("0{"));
        raw.send_text(connect);
        assert!(raw.text().starts_with("40"));
        raw
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Gateways that count, and what is to be seen of them; again, if that was not seen and Redis was too slow to be asked.
fn with_gateways<const COUNT: usize>(settings: &[(&str, &str)], seen: impl Fn(&[Gateway; COUNT])) {
    for tries_left in (0..5).rev() {
        let gateways = std::array::from_fn(|_| Gateway::start(settings));
        match catch_unwind(AssertUnwindSafe(|| seen(&gateways))) {
            Ok(()) => return,
            Err(_) if tries_left > 0 && gateways.iter().any(Gateway::has_failed_open) => {}
            Err(failure) => resume_unwind(failure),
        }
    }
}

/// Somebody at an address that nobody else has.
struct Client {
    address: Ipv6Addr,
    token: Option<String>,
    id: String,
}

impl Client {
    fn stranger() -> Self {
        let random = Uuid::new_v4().as_u128() >> 64 << 64;
        Self {
            address: Ipv6Addr::from_bits(random >> 16 | 0x2001 << 112),
            token: None,
            id: String::new(),
        }
    }

    fn new(gateway: &Gateway) -> Self {
        let mut client = Self::stranger();
        let name = format!("limits_{}", &Uuid::new_v4().simple().to_string()[..16]);
        let form = json!({"email": format!("{name}@example.com"), "username": name, "password": "long enough"});
        let answer = gateway.ask(&client, "POST", "/auth/register", &form);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let grant = body(&answer);
        client.token = grant["accessToken"].as_str().map(str::to_owned);
        grant["user"]["id"]
            .as_str()
            .unwrap()
            .clone_into(&mut client.id);
        client
    }
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// The next acknowledgement, whatever comes before it.
fn ack(raw: &mut Raw) -> Value {
    loop {
        let text = raw.text();
        if text.starts_with("43") {
            let args: Value = serde_json::from_str(&text[text.find('[').unwrap()..]).unwrap();
            return args[0].clone();
        }
    }
}

/// The headers that say how somebody stands.
fn standing(answer: &Answer) -> [u64; 3] {
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
        .map(|name| answer.header(name)[0].parse().unwrap())
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn one_user_with_four_sockets_on_two_gateways_sends_exactly_as_much_as_it_may() {
    let settings = [("CONFAB_RATE_LIMITS__MESSAGES", "40/1h")];
    with_gateways(&settings, send_too_much);
}

fn send_too_much(gateways: &[Gateway; 2]) {
    let (ann, ben) = (Client::new(&gateways[0]), Client::new(&gateways[1]));
    let wish = json!({"participantIds": [ben.id]});
    let made = gateways[0].ask(&ann, "POST", "/conversations", &wish);
    assert_eq!(made.status, 201, "{}", made.text());
    let conversation = body(&made)["id"].as_str().unwrap().to_owned();
    let connect = format!("40/chat,{}", json!({"token": ann.token}));
    let outcomes: Vec<Value> = std::thread::scope(|scope| {
        let sockets: Vec<_> = (0..4)
            .map(|number| {
                let mut raw = gateways[number % 2].socket("", &connect);
                let conversation = &conversation;
                scope.spawn(move || {
                    for message in 0..25 {
                        let payload = json!({"conversationId": conversation, "content": format!("{number} {message}")});
                        raw.send_text(&format!("42/chat,{message}{}", json!(["sendMessage", payload])));
                    }
                    (0..25).map(|_| ack(&mut raw)).collect::<Vec<_>>()
                })
            })
            .collect();
        let ended = sockets.into_iter();
        ended.flat_map(|socket| socket.join().unwrap()).collect()
    });
    let (stored, refused): (Vec<_>, Vec<_>) = outcomes
        .iter()
        .partition(|outcome| outcome["success"] == json!(true));
    assert_eq!((stored.len(), refused.len()), (40, 60));
    for outcome in refused {
        assert_eq!(outcome["error"]["code"], "RATE_LIMITED");
        let wait = outcome["error"]["retryAfterMs"].as_u64().unwrap();
        // One comes back every 90 seconds.
        assert!((1..=90_000).contains(&wait), "{wait}");
    }
    // REST counts with the sockets; reading what is there is another matter.
    let message = json!({"conversationId": conversation, "content": "once more"});
    assert_eq!(
        gateways[1].ask(&ann, "POST", "/messages", &message).status,
        429
    );
    let path = format!("/messages/conversation/{conversation}?limit=100");
    let page = body(&gateways[1].ask(&ann, "GET", &path, &Value::Null));
    assert_eq!(page["messages"].as_array().unwrap().len(), 40);
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn rest_says_how_one_stands_and_when_to_come_again() {
    let settings = [("THROTTLE_LIMIT", "3"), ("THROTTLE_TTL", "3600")];
    with_gateways(&settings, ask_too_often);
}

fn ask_too_often(gateways: &[Gateway; 2]) {
    let ann = Client::new(&gateways[0]);
    for (number, gateway) in [0, 1, 0].into_iter().enumerate() {
        let answer = gateways[gateway].ask(&ann, "GET", "/auth/me", &Value::Null);
        assert_eq!(answer.status, 200);
        let [limit, remaining, reset] = standing(&answer);
        assert_eq!((limit, remaining), (3, 2 - number as u64));
        assert!(reset <= 1_200 * (number as u64 + 1));
    }
    for path in ["/auth/me", "/conversations"] {
        let refused = gateways[1].ask(&ann, "GET", path, &Value::Null);
        assert_eq!(refused.status, 429);
        assert_eq!(standing(&refused)[..2], [3, 0]);
        let wait: u64 = refused.header("retry-after")[0].parse().unwrap();
        let shown = body(&refused);
        assert_eq!(
            (&shown["code"], &shown["statusCode"]),
            (&json!("RATE_LIMITED"), &json!(429))
        );
        let exactly = shown["details"]["retryAfterMs"].as_u64().unwrap();
        assert_eq!(wait, exactly.div_ceil(1_000));
    }
    // Without a token an address counts, and its network with it.
    let mut stranger = Client::stranger();
    for expected in [200, 401, 200, 429] {
        let path = if expected == 401 {
            "/auth/me"
        } else {
            "/api/rooms"
        };
        assert_eq!(
            gateways[0].ask(&stranger, "GET", path, &Value::Null).status,
            expected
        );
        stranger.address = Ipv6Addr::from_bits(stranger.address.to_bits() + 1);
    }
    let health = gateways[0].ask(&stranger, "GET", "/health", &Value::Null);
    assert_eq!(
        (health.status, health.header("ratelimit-limit").len()),
        (200, 0)
    );
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn logins_are_counted_by_account_and_address() {
    let settings = [
        ("CONFAB_RATE_LIMITS__LOGIN", "2/1h"),
        ("CONFAB_RATE_LIMITS__LOGIN_ADDRESS", "4/1h"),
    ];
    with_gateways(&settings, guess_too_often);
}

fn guess_too_often([gateway]: &[Gateway; 1]) {
    let (here, elsewhere) = (Client::stranger(), Client::stranger());
    let log_in = |from: &Client, email: &str| {
        let form = json!({"email": email, "password": "not the one"});
        gateway.ask(from, "POST", "/auth/login", &form).status
    };
    let guessed = format!("{}@example.com", Uuid::new_v4().simple());
    assert_eq!(
        [
            log_in(&here, &guessed),
            log_in(&here, &guessed.to_uppercase())
        ],
        [401, 401]
    );
    assert_eq!(log_in(&here, &guessed), 429);
    assert_eq!(
        log_in(&elsewhere, &guessed),
        401,
        "its owner is somewhere else"
    );
    assert_eq!(
        [
            log_in(&here, "a@example.com"),
            log_in(&here, "b@example.com")
        ],
        [401, 429]
    );
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn another_socket_is_no_other_guest() {
    let settings = [("CONFAB_RATE_LIMITS__ROOMS_ROOM_OPERATIONS", "3/1h")];
    with_gateways(&settings, enter_too_often);
}

fn enter_too_often([gateway]: &[Gateway; 1]) {
    let name = format!("g-{}", &Uuid::new_v4().simple().to_string()[..12]);
    let enter = |name: &str| {
        let mut raw = gateway.socket("&dialect=rooms", "40");
        let payload = json!({"roomId": "public", "username": name});
        raw.send_text(&format!("421{}", json!(["chat.addUser", payload])));
        let outcome = ack(&mut raw);
        outcome["success"] == json!(true) || {
            assert_eq!(outcome["error"]["code"], "RATE_LIMITED");
            false
        }
    };
    assert_eq!(
        [enter(&name), enter(&name), enter(&name), enter(&name)],
        [true, true, true, false]
    );
    assert!(enter(&format!("{name}-b")));
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_bad_setting_is_named_and_off_is_off() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confab-gateway"));
    let refused = command
        .env("CONFAB_RATE_LIMITS__LOGIN", "often")
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("rate_limits.login"), "{said}");

    let gateway = Gateway::start(&[
        ("CONFAB_RATE_LIMITS__ENABLED", "false"),
        ("THROTTLE_LIMIT", "1"),
    ]);
    let ann = Client::new(&gateway);
    for _ in 0..5 {
        let answer = gateway.ask(&ann, "GET", "/auth/me", &Value::Null);
        assert_eq!(
            (answer.status, answer.header("ratelimit-limit").len()),
            (200, 0)
        );
    }
}
