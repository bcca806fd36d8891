//! The `rooms` dialect: source 000's events, people who are present in a room.
//!
//! A socket enters a room and is told what happens in it; `roomId` is what it entered by, the room's slug or a conversation's id.
//! This is the dialect that shows who comes and goes (`userStatus`). A payload's `sender` is ignored: the sender is who the
//! socket is. What source 000 has no word for is an addition in its style:
//!
//! | | |
//! |---|---|
//! | `chat.messageUpdated` | the message with type `EDIT` and `editedAt` |
//! | `chat.messageDeleted` | `{id, type: "DELETE", roomId, deletedBy, timestamp}` |
//! | `chat.messagesRead` | `{roomId, userId, messageId, timestamp}`; `messageId` is null where all was read |
//! | `chat.conversationCreated` | `{roomId, kind, name, participants, createdAt}` |
//! | `chat.participantsAdded`, `chat.participantRemoved` | `{roomId, participants, timestamp}`, `{roomId, userId, removedBy, timestamp}` |
//! | `chat.roomUpdated`, `chat.roomDeleted` | `{roomId, name, description, maxUsers, updatedBy, timestamp}`, `{roomId, deletedBy, timestamp}` |
//! | `chat.typing` | `{roomId, userId, username, isTyping, timestamp}` |
//! | `tempId` in `chat.sendMessage` | makes a send repeatable; the sender's sockets see it in `message` |

mod catalog;
mod inbound;
mod outbound;
mod shape;

use bytes::Bytes;
use confab_gateway_protocol::json::Args;
use confab_shared::model::conversation::ConversationView;
use confab_shared::model::error::Rejection;

use super::catalog::Catalog;
use super::{Audience, Confirmation, Dialect, Intent, Namespace, Scene, Shown, Tier};

/// The `rooms` dialect.
#[derive(Debug)]
pub struct Rooms;

impl Dialect for Rooms {
    fn id(&self) -> &'static str {
        "rooms"
    }

    fn knows(&self, event: &str) -> bool {
        inbound::EVENTS.contains(&event)
    }

    fn inbound(&self, event: &str, args: Args<'_>) -> Result<Intent, Rejection> {
        inbound::intent(event, args)
    }

    fn tier(&self) -> Tier {
        Tier::Strict
    }

    fn outbound(&self, scene: Scene<'_>, events: &[Shown<'_>], audience: Audience) -> Bytes {
        outbound::events(scene, events, audience)
    }

    fn joined(&self, namespace: Namespace, view: &ConversationView, offset: Option<&str>) -> Bytes {
        outbound::joined(namespace, view, offset)
    }

    fn confirmed(
        &self,
        namespace: Namespace,
        ack_id: Option<u64>,
        confirmation: Confirmation<'_>,
    ) -> Bytes {
        outbound::confirmed(namespace, ack_id, confirmation)
    }

    fn rejected(
        &self,
        namespace: Namespace,
        ack_id: Option<u64>,
        event: &str,
        rejection: &Rejection,
    ) -> Bytes {
        outbound::rejected(namespace, ack_id, event, rejection)
    }

    fn catalog(&self) -> Catalog {
        catalog::catalog()
    }
}

#[cfg(test)]
mod tests;
