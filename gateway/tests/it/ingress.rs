//! The way of commands into a Redis of the test's own, which comes back with less than it had taken.

use std::sync::Arc;
use std::time::Duration;

use confab_gateway::config::{DEFAULTS, GatewayConfig};
use confab_gateway::ingress::Ingress;
use confab_gateway::metrics::Metrics;
use confab_shared::config::load;
use confab_shared::id::{CommandId, ConversationId, NodeId, UserId};
use confab_shared::lifecycle::Vitals;
use confab_shared::model::command::{Command, CommandEnvelope, Outcome, Reply};
use confab_shared::redis::keyspace::{COMMAND_FIELD, Keyspace};
use confab_shared::redis::{self, Retries};
use fred::clients::Client;
use fred::interfaces::{ClientLike, StreamsInterface};
use fred::types::{ClientState, CustomCommand, Value};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::registry::{Redis, keyspace};

/// What one sender has sent to one conversation, and what of it is in the stream.
struct Sender {
    ingress: Ingress,
    redis: Client,
    conversation: ConversationId,
    actor: UserId,
}

impl Sender {
    fn sends(&self) -> CommandId {
        let id = CommandId::generate();
        // A command that says nothing but its id: nobody here carries it out.
        let command = Command::MarkRead { up_to: None };
        (self.ingress).submit(id, self.conversation, self.actor, command, None, |_| {});
        id
    }

    /// The commands in the stream, in its order, each once: workers know the others by their ids.
    async fn stream(&self) -> Vec<CommandId> {
        let stream = Keyspace::ingress(keyspace().partition(self.conversation));
        let Ok(entries) = self
            .redis
            .xrange_values::<String, String, String, _, _, _>(stream, "-", "+", None)
            .await
        else {
            return Vec::new();
        };
        let mut ids = Vec::new();
        for (_, fields) in entries {
            let envelope: CommandEnvelope = serde_json::from_str(&fields[COMMAND_FIELD]).unwrap();
            if !ids.contains(&envelope.id) {
                ids.push(envelope.id);
            }
        }
        ids
    }

    /// The stream, once it has so many commands.
    async fn stream_of(&self, count: usize) -> Vec<CommandId> {
        let full = async {
            loop {
                let stream = self.stream().await;
                if stream.len() >= count {
                    return stream;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = timeout(Duration::from_secs(30), full).await;
        in_time.expect("commands do not come into the stream")
    }
}

/// Nothing is under way when Redis dies: what is sent meanwhile waits in the client library, and is the first to be written when Redis is
/// back, before the lane hears that it was away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_begins_with_a_snapshot_gets_what_it_lacks_first() {
    let (mut server, redis) = Redis::start().await;
    let mut config = load::<GatewayConfig>(DEFAULTS).unwrap().config.ingress;
    config.reply_timeout_ms = 120_000;
    let appending = redis::connect(&server.config(), Retries::None)
        .await
        .unwrap();
    let (node, stop) = (NodeId::generate(), CancellationToken::new());
    let metrics = Arc::new(Metrics::new().unwrap());
    let vitals = Vitals::default();
    let ingress = Ingress::start(
        &config,
        node,
        keyspace(),
        &appending,
        &metrics,
        &vitals,
        &stop,
    );
    let sender = Sender {
        ingress,
        redis,
        conversation: ConversationId::generate(),
        actor: UserId::generate(),
    };
    // So that there is an epoch in the snapshot.
    let answered = sender.sends();
    sender.stream_of(1).await;
    sender.ingress.reply(&Reply {
        id: answered,
        outcome: Ok(Outcome::Done),
    });
    let save = CustomCommand::new_static("SAVE", None, false);
    let _: Value = sender
        .redis
        .custom(save, Vec::<String>::new())
        .await
        .unwrap();

    let mut sent = vec![answered];
    sent.extend((0..4).map(|_| sender.sends()));
    assert_eq!(sender.stream_of(5).await, sent);
    server.kill();
    while appending.state() == ClientState::Connected {
        sleep(Duration::from_millis(1)).await;
    }
    sent.push(sender.sends());
    server.start_again();
    assert_eq!(sender.stream_of(6).await, sent);
    stop.cancel();
}
