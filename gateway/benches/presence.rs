//! What it costs to know who is online: Redis commands, processor time and announcements of three nodes with so many users, at rest and while
//! one in a hundred goes, and one comes back, every second.
//!
//! The nodes are whole but for their listeners, in this process; Redis is one of its own, PostgreSQL that of a running cluster (`deploy/dev`), in a
//! database of its own. Every user has a socket and about twenty contacts, in groups of six and direct conversations. Run with
//! `CONFAB_TEST_STATE=<state.json> cargo bench -p confab-gateway --bench presence -- --users 1000,10000,50000`. Without `--bench`, or
//! without a cluster, it does nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement that cannot go on has failed, and its figures are its output"
)]

use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_gateway::config::{DEFAULTS, GatewayConfig};
use confab_gateway::dialect::conversations::Conversations;
use confab_gateway::dialect::{Dialect, Namespace};
use confab_gateway::hub::send_queue::SendQueue;
use confab_gateway::hub::socket::{Socket, SocketRef};
use confab_gateway::node::{Life, Node};
use confab_shared::auth::Claims;
use confab_shared::config::{Environment, load};
use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::{self, partitions};
use confab_shared::redis::{self, Retries};
use confab_shared::testing::on_fresh_database;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::InfoKind;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

const NODES: usize = 3;
/// How long each figure is taken.
const WINDOW: Duration = Duration::from_secs(15);
/// How often people go and come while they do.
const PACE: Duration = Duration::from_millis(100);
/// How long they stay away: longer than they linger.
const AWAY: Duration = Duration::from_secs(8);
static DIALECT: Conversations = Conversations;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    if !is_bench || std::env::var_os("CONFAB_TEST_STATE").is_none() {
        println!("nothing is measured without --bench and CONFAB_TEST_STATE");
        return;
    }
    let users = arguments.iter().skip_while(|one| *one != "--users").nth(1);
    let users = users.map_or("1000,10000", String::as_str).to_owned();
    for count in users.split(',') {
        let count: usize = count.parse().expect("--users takes numbers");
        let url = Arc::new(parking_lot::Mutex::new(String::new()));
        let seen = url.clone();
        on_fresh_database(
            move |config, name| {
                seen.lock().clone_from(&config.url);
                postgres::pool(config, name)
            },
            move |pool| async move {
                let url = url.lock().clone();
                measure(&pool, url, count).await;
            },
        );
    }
}

/// A port that nobody has; not even this process, once it is known.
fn free_port() -> u16 {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    taken.local_addr().unwrap().port()
}

/// A Redis that keeps nothing.
struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn measure(pool: &PgPool, url: String, count: usize) {
    partitions::prepare(pool, 16).await.unwrap();
    let users = people(pool, count).await;
    let port = free_port();
    let server = Command::new("redis-server")
        .args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--port",
            &port.to_string(),
        ])
        .stdout(Stdio::null())
        .spawn();
    let _server = Redis(server.expect("redis-server is installed"));
    let mut config = load::<GatewayConfig>(DEFAULTS).unwrap().config;
    config.environment = Environment::Development;
    config.auth.jwt_secret = "a secret of this measurement alone".into();
    config.database.url = url;
    config.redis.url = format!("redis://127.0.0.1:{port}");
    let stop = CancellationToken::new();
    let redis = redis::connect(&config.redis, Retries::Idempotent)
        .await
        .unwrap();
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let (node, mut notices) = Node::start(config.clone(), Life::begin().unwrap(), &stop)
            .await
            .unwrap();
        tokio::spawn(async move { while notices.recv().await.is_some() {} });
        nodes.push(node);
    }
    // A memory of Redis's that is this young is not trusted yet.
    tokio::time::sleep(config.database.patience().min(Duration::from_secs(4))).await;
    println!("\n{count} users on {NODES} nodes");
    report("nobody there", &redis, &nodes, tokio::time::sleep(WINDOW)).await;

    let mut sockets = Vec::with_capacity(count);
    let connecting = async {
        for (index, user) in users.iter().enumerate() {
            sockets.push(connect(&nodes[index % NODES], *user));
        }
        let shown = || {
            nodes
                .iter()
                .map(|node| node.metrics.online.shown_total.get())
                .sum::<u64>()
        };
        let announced = || {
            nodes
                .iter()
                .map(|node| node.metrics.online.announced_total.get())
                .sum::<u64>()
        };
        while shown() < count as u64 || announced() < count as u64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    report("all come at once", &redis, &nodes, connecting).await;
    drain(&sockets);
    tokio::time::sleep(Duration::from_secs(2)).await;
    report("at rest", &redis, &nodes, tokio::time::sleep(WINDOW)).await;
    // Until as many come back as go.
    let mut churn = Churn::new(&nodes, sockets, count);
    churn.run(AWAY + Duration::from_secs(2)).await;
    report(
        "1 % go and 1 % come per second",
        &redis,
        &nodes,
        churn.run(WINDOW),
    )
    .await;
    stop.cancel();
}

fn connect(node: &Node, user: UserId) -> SocketRef {
    let claims = Claims {
        sub: user,
        iat: 0,
        exp: u64::MAX,
        jti: None,
        ver: None,
    };
    let dialect: &'static dyn Dialect = &DIALECT;
    let queue = Arc::new(SendQueue::new(1 << 20));
    let socket = Socket::new(
        user,
        Some(claims),
        Namespace::Chat,
        Some(dialect),
        dialect,
        queue,
    );
    socket.release(|_| Vec::new());
    node.hub.users().add(socket.clone());
    node.presence.touch(user);
    node.presence.welcome(&socket, false);
    socket
}

fn drain<'a>(sockets: impl IntoIterator<Item = &'a SocketRef>) {
    let mut frames = VecDeque::new();
    for socket in sockets {
        socket.queue().take(&mut frames);
        frames.clear();
    }
}

/// People who go and come back.
struct Churn<'a> {
    nodes: &'a [Node],
    here: VecDeque<SocketRef>,
    away: VecDeque<(Instant, UserId)>,
    per_turn: f64,
    owed: f64,
    turns: usize,
}

impl<'a> Churn<'a> {
    fn new(nodes: &'a [Node], mut sockets: Vec<SocketRef>, count: usize) -> Self {
        // In any order: contacts do not come and go together.
        sockets.sort_by_key(|socket| socket.user().0.as_u64_pair().1);
        Self {
            nodes,
            here: sockets.into(),
            away: VecDeque::new(),
            per_turn: count as f64 * 0.01 * PACE.as_secs_f64(),
            owed: 0.0,
            turns: 0,
        }
    }

    async fn run(&mut self, how_long: Duration) {
        let until = Instant::now() + how_long;
        let mut pace = tokio::time::interval(PACE);
        while Instant::now() < until {
            pace.tick().await;
            self.owed += self.per_turn;
            while self.owed >= 1.0 {
                self.owed -= 1.0;
                let socket = self.here.pop_front().unwrap();
                let user = socket.user();
                for node in self.nodes {
                    if node.hub.users().remove(&socket) {
                        node.presence.touch(user);
                    }
                }
                self.away.push_back((Instant::now() + AWAY, user));
            }
            while let Some((back, user)) = self.away.front().copied()
                && back <= Instant::now()
            {
                self.away.pop_front();
                self.turns += 1;
                self.here
                    .push_back(connect(&self.nodes[self.turns % NODES], user));
            }
            if self.turns.is_multiple_of(8) {
                drain(&self.here);
            }
        }
    }
}

/// So many accounts, with about twenty contacts each.
async fn people(pool: &PgPool, count: usize) -> Vec<UserId> {
    let users: Vec<UserId> = (0..count).map(|_| UserId::generate()).collect();
    for some in users.chunks(5_000) {
        sqlx::query(
            "INSERT INTO users (id, email, username, name, password_hash)
             SELECT id, id || '@example.com', left(replace(id::text, '-', ''), 32), 'name', 'hash' FROM unnest($1::uuid[]) AS made (id)",
        )
        .bind(some)
        .execute(pool)
        .await
        .unwrap();
    }
    let mut conversations: Vec<(ConversationId, Vec<UserId>)> = Vec::new();
    for stride in [1, 7, 31] {
        // Another order each time, so that nobody is in two groups with the same people.
        let order: Vec<UserId> = (0..stride)
            .flat_map(|first| users.iter().skip(first).step_by(stride).copied())
            .collect();
        let groups = order
            .chunks(6)
            .map(|members| (ConversationId::generate(), members.to_vec()));
        conversations.extend(groups);
    }
    for (index, user) in users.iter().enumerate() {
        for distance in [11, 101] {
            let other = users[(index + distance) % count];
            conversations.push((ConversationId::direct(*user, other), vec![*user, other]));
        }
    }
    for some in conversations.chunks(2_000) {
        let ids: Vec<ConversationId> = some.iter().map(|(id, _)| *id).collect();
        let owners: Vec<UserId> = some.iter().map(|(_, members)| members[0]).collect();
        sqlx::query(
            "INSERT INTO conversations (id, kind, created_by, last_seq, created_at, updated_at, changed_at)
             SELECT id, 'group', owner, 1, $3, $3, $3 FROM unnest($1::uuid[], $2::uuid[]) AS made (id, owner)",
        )
        .bind(ids)
        .bind(owners)
        .bind(Timestamp::now())
        .execute(pool)
        .await
        .unwrap();
        let members = some
            .iter()
            .flat_map(|(id, members)| members.iter().map(|user| (*id, *user)));
        let (ids, members): (Vec<ConversationId>, Vec<UserId>) = members.unzip();
        sqlx::query(
            "INSERT INTO memberships (conversation_id, user_id, role, change_seq, joined_seq, joined_at)
             SELECT id, member, 'member', 1, 1, $3 FROM unnest($1::uuid[], $2::uuid[]) AS made (id, member)",
        )
        .bind(ids)
        .bind(members)
        .bind(Timestamp::now())
        .execute(pool)
        .await
        .unwrap();
    }
    sqlx::query("ANALYZE").execute(pool).await.unwrap();
    users
}

/// Counters of Redis, of this process, and of the nodes.
struct Reading {
    at: Instant,
    scripts: f64,
    published: f64,
    calls: f64,
    redis_seconds: f64,
    own_seconds: f64,
    announced: u64,
    told: u64,
    shown: u64,
}

impl Reading {
    async fn take(redis: &Client, nodes: &[Node]) -> Self {
        let stats: String = redis.info(Some(InfoKind::CommandStats)).await.unwrap();
        let cpu: String = redis.info(Some(InfoKind::Cpu)).await.unwrap();
        let calls = |line: &str| -> f64 {
            let (_, rest) = line.split_once("calls=").unwrap();
            rest.split(',').next().unwrap().parse().unwrap()
        };
        let of = |name: &str| {
            let line = stats.lines().find(|line| line.starts_with(name));
            line.map_or(0.0, calls)
        };
        let seconds = |name: &str| -> f64 {
            let line = cpu.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse().unwrap()
        };
        let sum = |of: fn(&Node) -> u64| nodes.iter().map(of).sum();
        Self {
            at: Instant::now(),
            scripts: of("cmdstat_evalsha:"),
            published: of("cmdstat_publish:"),
            calls: stats
                .lines()
                .filter(|line| line.contains("calls="))
                .map(calls)
                .sum(),
            redis_seconds: seconds("used_cpu_sys:") + seconds("used_cpu_user:"),
            own_seconds: own_seconds(),
            announced: sum(|node| node.metrics.online.announced_total.get()),
            told: sum(|node| node.metrics.online.told_total.get()),
            shown: sum(|node| node.metrics.online.shown_total.get()),
        }
    }
}

/// Processor time of this process.
fn own_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

async fn report(what: &str, redis: &Client, nodes: &[Node], meanwhile: impl Future<Output = ()>) {
    let before = Reading::take(redis, nodes).await;
    meanwhile.await;
    let after = Reading::take(redis, nodes).await;
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let rate = |before: f64, after: f64| (after - before) / seconds;
    let count = |before: u64, after: u64| (after - before) as f64 / seconds;
    let scripts = rate(before.scripts, after.scripts);
    println!(
        "  {what:32} {seconds:5.1} s · scripts/s {scripts:7.0} ({:5.0} a node) · PUBLISH/s {:5.0} · all calls/s, inside scripts too {:7.0} · \
         Redis CPU {:5.1} % · gateways' CPU {:5.1} % ({:4.1} % a node) · announced/s {:6.0} · told/s {:7.0} · shown/s {:6.0}",
        scripts / NODES as f64,
        rate(before.published, after.published),
        rate(before.calls, after.calls),
        rate(before.redis_seconds, after.redis_seconds) * 100.0,
        rate(before.own_seconds, after.own_seconds) * 100.0,
        rate(before.own_seconds, after.own_seconds) * 100.0 / NODES as f64,
        count(before.announced, after.announced),
        count(before.told, after.told),
        count(before.shown, after.shown),
    );
}
