//! The `direct` dialect: source 002's events, two people who write to each other.
//!
//! There is nothing to enter: its sockets see all of their user's conversations. A group or a room is seen as well; it stands
//! where the other person would stand, as `receiverId` and `receiverName`. What source 002 has no word for is an addition in
//! its style:
//!
//! | | |
//! |---|---|
//! | `message_updated` | the message, with `editedAt` |
//! | `message_deleted` | `{id, conversationId, deletedBy, deletedAt}` |
//! | `messages_read` | `{readerId, otherUserId, conversationId, messageId, readAt}`; `messageId` is null where all was read |
//! | `conversation_created` | `{id, type, name, participants, lastMessage, unreadCount, createdAt}` |
//! | `participants_added`, `participant_removed` | `{conversationId, participants}`, `{conversationId, userId, removedBy}` |
//! | `room_updated`, `room_deleted` | `{conversationId, name, description, maxUsers, updatedBy}`, `{conversationId, deletedBy}` |
//! | `user_typing` | `{userId, conversationId, isTyping}` |
//! | `tempId` in `send_message` | makes a send repeatable; the sender's sockets see it in `receive_message` |
//!
//! A deleted message in `messages_list` has no content and a `deletedAt`. Who is present in a room is not shown.

mod catalog;
mod inbound;
mod outbound;
mod shape;

use bytes::Bytes;
use confab_gateway_protocol::json::Args;
use confab_shared::model::conversation::ConversationView;
use confab_shared::model::error::Rejection;

use super::catalog::Catalog;
use super::{Audience, Confirmation, Dialect, Intent, Namespace, Scene, Shown, Sight};

/// The `direct` dialect.
#[derive(Debug)]
pub struct Direct;

impl Dialect for Direct {
    fn id(&self) -> &'static str {
        "direct"
    }

    fn knows(&self, event: &str) -> bool {
        inbound::EVENTS.contains(&event)
    }

    fn inbound(&self, event: &str, args: Args<'_>) -> Result<Intent, Rejection> {
        inbound::intent(event, args)
    }

    fn sight(&self) -> Sight {
        Sight::All
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
        _event: &str,
        rejection: &Rejection,
    ) -> Bytes {
        outbound::rejected(namespace, ack_id, rejection)
    }

    fn catalog(&self) -> Catalog {
        catalog::catalog()
    }
}

#[cfg(test)]
mod tests;
