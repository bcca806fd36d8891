//! Reads what pub/sub brings and hands it to whom it concerns.

use std::time::{Duration, Instant};

use confab_shared::model::command::Reply;
use confab_shared::model::event::{UserNotice, UserSignal};
use confab_shared::model::position::Position;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::telemetry::Unreadable;
use fred::types::config::Server;
use fred::types::{Message, Value};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;

use super::{GatewayMessage, NoticeItem, Shared, Statuses};

/// While messages come faster than they are read, waiting commands are added again no more often than this.
const READD_EVERY: Duration = Duration::from_secs(1);

/// What a node's own channel carries.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NodeMessage {
    /// From a worker.
    Replies(Vec<Reply>),
    /// From itself: whatever was announced up to here was published before, and has been heard.
    Tick {
        /// Where.
        tick: String,
        /// Which of its beats it was.
        beat: u64,
    },
    /// From a gateway: what contacts of users here are to be told.
    Statuses(Statuses),
    /// From another gateway.
    Gateway(GatewayMessage),
}

/// Runs until the connection's client is gone. Inputs: messages, and reconnections, which are suspicions, and are passed on to `broken`.
pub(super) async fn run(
    shared: Shared,
    mut messages: Receiver<Message>,
    mut reconnections: Receiver<Server>,
    broken: watch::Sender<()>,
) {
    let mut readded: Option<Instant> = None;
    loop {
        let message = tokio::select! {
            message = messages.recv() => message,
            reconnected = reconnections.recv() => {
                if reconnected == Err(RecvError::Closed) {
                    return;
                }
                shared.hub.suspect().await;
                broken.send_replace(());
                continue;
            }
        };
        // Said before anything can be said over the new connection, on which some may have subscribed already: what they hear does not mean
        // that nothing was missed.
        while !reconnections.is_empty() {
            if reconnections.try_recv() == Err(TryRecvError::Closed) {
                return;
            }
            shared.hub.suspect().await;
            broken.send_replace(());
        }
        match message {
            Ok(message) => route(&shared, message).await,
            Err(RecvError::Lagged(lost)) => {
                tracing::warn!(
                    lost,
                    "pub/sub messages came faster than they were read; repairing"
                );
                shared.metrics.lost_messages_total.inc_by(lost);
                shared.resync().await;
                if readded.is_none_or(|last| last.elapsed() >= READD_EVERY) {
                    readded = Some(Instant::now());
                    shared.ingress.readd_all();
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

async fn route(shared: &Shared, message: Message) {
    let payload = match message.value {
        Value::Bytes(bytes) => bytes,
        Value::String(text) => text.into_inner(),
        other => {
            tracing::error!(kind = ?other.kind(), "a pub/sub message that is no text");
            return;
        }
    };
    if Keyspace::parse_room(&message.channel).is_some() {
        shared.hub.published(payload).await;
    } else if let Some(user) = Keyspace::parse_user(&message.channel) {
        if payload.first() == Some(&b'{') {
            if let Some(signal) = parse::<UserSignal>(&payload) {
                let item = NoticeItem::Signal(user, signal);
                if shared.notices.try_send(item).is_err() {
                    // Too many wait already: the sweep finds out what it said.
                    shared.resync().await;
                }
            }
        } else if let Some((position, notice)) = parse_notice(&payload) {
            shared.hub.noticed(user, position, notice).await;
        }
    } else {
        // The only other channels are the node's own.
        match parse::<NodeMessage>(&payload) {
            Some(NodeMessage::Replies(replies)) => {
                for reply in &replies {
                    shared.ingress.reply(reply);
                }
            }
            Some(NodeMessage::Tick { tick, beat }) => {
                let slot = Keyspace::parse_node(&message.channel);
                if let (Some(slot), Ok(position)) = (slot, tick.parse()) {
                    let order = shared.keyspace.memory_of(slot);
                    shared.hub.arrived(order, position, beat).await;
                    shared.heard.send_modify(|heard| {
                        if let Some(last) = heard.get_mut(usize::from(order.0)) {
                            *last = beat.max(*last);
                        }
                    });
                }
            }
            Some(NodeMessage::Statuses(statuses)) => {
                shared.hear_statuses(statuses);
            }
            Some(NodeMessage::Gateway(message)) => shared.hear(message),
            None => {}
        }
    }
}

/// `<position>\n<UserNotice>`, as the worker's script writes it.
fn parse_notice(payload: &[u8]) -> Option<(Position, UserNotice)> {
    let end = payload.iter().position(|byte| *byte == b'\n')?;
    let position = std::str::from_utf8(&payload[..end]).ok()?.parse().ok()?;
    Some((position, parse(&payload[end + 1..])?))
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload)
        .inspect_err(|error| {
            let error = Unreadable::from(error);
            tracing::error!(%error, "a pub/sub message of another form than its channel's");
        })
        .ok()
}
