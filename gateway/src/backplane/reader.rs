//! Reads what pub/sub brings and hands it to whom it concerns.

use confab_shared::model::command::Reply;
use confab_shared::model::event::UserNotice;
use confab_shared::redis::keyspace::Keyspace;
use fred::types::{Message, MessageKind, Value};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Shared;

/// Runs until the connection's client is gone.
pub(super) async fn run(shared: Shared, mut messages: Receiver<Message>) {
    loop {
        match messages.recv().await {
            Ok(message) => route(&shared, message).await,
            Err(RecvError::Lagged(lost)) => {
                tracing::warn!(
                    lost,
                    "pub/sub messages came faster than they were read; repairing"
                );
                shared.ingress.readd_all();
                shared.resync.notify_one();
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
    match message.kind {
        MessageKind::SMessage => match Keyspace::parse_room(&message.channel) {
            Some(conversation) => shared.hub.published(conversation, payload).await,
            None => tracing::error!(channel = %message.channel, "a message on an unknown channel"),
        },
        MessageKind::Message | MessageKind::PMessage => {
            match Keyspace::parse_user(&message.channel) {
                Some(user) => match serde_json::from_slice::<UserNotice>(&payload) {
                    Ok(notice) => {
                        if shared.notices.send((user, notice)).await.is_err() {
                            tracing::debug!("the node is shutting down; a notice is dropped");
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "a user channel carried what is no notice")
                    }
                },
                None => match serde_json::from_slice::<Vec<Reply>>(&payload) {
                    Ok(replies) => replies
                        .into_iter()
                        .for_each(|reply| shared.ingress.reply(reply)),
                    Err(error) => {
                        tracing::error!(%error, "the node's channel carried what are no replies")
                    }
                },
            }
        }
    }
}
