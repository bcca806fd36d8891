//! Reads what pub/sub brings and hands it to whom it concerns.

use std::time::{Duration, Instant};

use confab_shared::model::command::Reply;
use confab_shared::redis::keyspace::Keyspace;
use fred::types::{Message, Value};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Shared;

/// While messages come faster than they are read, waiting commands are added again no more often than this.
const READD_EVERY: Duration = Duration::from_secs(1);

/// Runs until the connection's client is gone.
pub(super) async fn run(shared: Shared, mut messages: Receiver<Message>) {
    let mut readded: Option<Instant> = None;
    loop {
        match messages.recv().await {
            Ok(message) => route(&shared, message).await,
            Err(RecvError::Lagged(lost)) => {
                tracing::warn!(
                    lost,
                    "pub/sub messages came faster than they were read; repairing"
                );
                shared.resync.notify_one();
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
    if let Some(conversation) = Keyspace::parse_room(&message.channel) {
        shared.hub.published(conversation, payload).await;
    } else if let Some(user) = Keyspace::parse_user(&message.channel) {
        if let Some(notice) = parse(&payload) {
            shared.notice(user, notice);
        }
    } else if let Some(replies) = parse::<Vec<Reply>>(&payload) {
        // The only other channel is the node's own.
        for reply in &replies {
            shared.ingress.reply(reply);
        }
    }
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload)
        .inspect_err(
            |error| tracing::error!(%error, "a pub/sub message of another form than its channel's"),
        )
        .ok()
}
