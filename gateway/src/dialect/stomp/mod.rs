//! STOMP's face of the `rooms` and `direct` dialects: what is sent to destinations, and what subscriptions show.
//!
//! Each kind of subscription has a dialect of its own, since its sockets see something of their own, and so has the session as such, which
//! sees nothing. They are not in [`ALL`](super::ALL): no Socket.IO socket can ask for them. What they write is not a frame that any client
//! gets: it is the rest of a MESSAGE from the line after its destination on, which each subscription gets behind a head of its own (see
//! `session/stomp/subscription.rs`).
//!
//! | SEND to, behind the application's prefix | body | |
//! |---|---|---|
//! | `chat.addUser`, `chat/{roomId}/addUser` | `{roomId?, sender?, username?}` | comes into a room; a guest's name is its `username`, or `sender` |
//! | `chat.sendMessage`, `chat/{roomId}/sendMessage` | `{roomId?, content, tempId?}` | says something there |
//! | `chat.removeUser`, `chat/{roomId}/removeUser` | `{roomId?}` | leaves it |
//! | `chat.private` | `{receiverId, content, tempId?}` | says something to somebody |
//!
//! A body is a JSON object, or nothing where it needs no field. Other fields are ignored, `type` among them, and `sender` where it names no
//! guest: the sender is who the session is. `roomId` is a slug or a conversation's id; `public` where it is missing; one in the destination
//! is the one that counts.
//!
//! A topic's bodies are `{type, content, sender, roomId, id, timestamp, …}`, with `roomId` as the client called it. `content` and `sender` are
//! strings in each of them, since clients take what they do not know for a message: empty where there is no content, or no name is known
//! of whoever did it (of two people both are; of more, those of the types with `senderId`).
//!
//! | `type` | … |
//! |---|---|
//! | `CHAT`, `EDIT` | `senderId`, between two people `receiver` and `receiverId`; `editedAt`, `deletedAt` if it was; `tempId` to its sender |
//! | `DELETE` | `deletedBy`; `id` is the message's |
//! | `JOIN`, `LEAVE` | `senderId`, `activeUsers` |
//! | `READ` | `readBy`, `messageId` (null where all was read) |
//! | `PARTICIPANTS_ADDED`, `PARTICIPANT_REMOVED` | `participants`; `userId`, `removedBy` |
//! | `ROOM_UPDATED`, `ROOM_DELETED` | `name`, `description`, `maxUsers`, `updatedBy`; `deletedBy` |
//!
//! That somebody types has no word: it passes, nothing that lasts is hidden by that, and clients that know `CHAT`, `JOIN` and `LEAVE` alone
//! would show it as a message of nobody's.
//!
//! The user's messages (`/user/queue/messages`) are those of all direct conversations, in the same words; `roomId` is the conversation's id.
//! The user's notifications are `UNREAD` `{roomId, unreadCount, lastMessage, timestamp}`, `CONVERSATION_CREATED` `{roomId, kind, name, participants,
//! timestamp, unreadCount, lastMessage}` for whatever the user comes into, and `PARTICIPANT_REMOVED` for what it is put out of.

mod inbound;
mod outbound;
mod rest;
mod shape;

use bytes::Bytes;
use confab_gateway_protocol::json::Args;
use confab_shared::model::conversation::ConversationView;
use confab_shared::model::error::Rejection;

use super::catalog::Catalog;
use super::{Audience, Badge, Confirmation, Dialect, Intent, Namespace, Scene, Shown, Sight, Tier};
pub use inbound::intent;

/// What a session as such is shown: nothing. Its subscriptions are.
pub static SESSION: Stomp = Stomp(View::Session);
/// What happens in a room, or in any one conversation.
pub static TOPIC: Stomp = Stomp(View::Topic);
/// What happens in the user's direct conversations.
pub static DIRECT_MESSAGES: Stomp = Stomp(View::DirectMessages);
/// What the user has not read, and what it came into or was put out of.
pub static NOTIFICATIONS: Stomp = Stomp(View::Notifications);

/// What is seen of a STOMP session's conversations.
#[derive(Debug)]
pub struct Stomp(View);

#[derive(Debug, Clone, Copy)]
enum View {
    Session,
    Topic,
    DirectMessages,
    Notifications,
}

impl Dialect for Stomp {
    fn id(&self) -> &'static str {
        match self.0 {
            View::Session => "stomp",
            View::Topic => "stomp-topic",
            View::DirectMessages => "stomp-messages",
            View::Notifications => "stomp-notifications",
        }
    }

    fn knows(&self, _event: &str) -> bool {
        false
    }

    fn inbound(&self, _event: &str, _args: Args<'_>) -> Result<Intent, Rejection> {
        Err(Rejection::invalid("STOMP knows destinations, not events"))
    }

    fn hears(&self) -> bool {
        !matches!(self.0, View::Session)
    }

    fn sight(&self) -> Sight {
        match self.0 {
            View::DirectMessages => Sight::Directs,
            View::Session | View::Topic | View::Notifications => Sight::Entered,
        }
    }

    fn shows_unread(&self) -> bool {
        matches!(self.0, View::Notifications)
    }

    fn tier(&self) -> Tier {
        Tier::Strict
    }

    fn outbound(&self, scene: Scene<'_>, events: &[Shown<'_>], audience: Audience) -> Bytes {
        match self.0 {
            View::Session => Bytes::new(),
            View::Topic => outbound::events(scene, events, audience),
            View::DirectMessages => outbound::direct_messages(scene, events, audience),
            View::Notifications => outbound::removals(scene, events),
        }
    }

    fn joined(
        &self,
        _namespace: Namespace,
        view: &ConversationView,
        _offset: Option<&str>,
    ) -> Bytes {
        match self.0 {
            View::Notifications => outbound::joined(view),
            View::Session | View::Topic | View::DirectMessages => Bytes::new(),
        }
    }

    fn unread(&self, _namespace: Namespace, badge: Badge<'_>) -> Bytes {
        match self.0 {
            View::Notifications => outbound::unread(badge),
            View::Session | View::Topic | View::DirectMessages => Bytes::new(),
        }
    }

    /// A receipt confirms, which is no dialect's word.
    fn confirmed(
        &self,
        _namespace: Namespace,
        _ack_id: Option<u64>,
        _confirmation: Confirmation<'_>,
    ) -> Bytes {
        Bytes::new()
    }

    /// Refusals are the session's.
    fn rejected(
        &self,
        _namespace: Namespace,
        _ack_id: Option<u64>,
        _event: &str,
        _rejection: &Rejection,
    ) -> Bytes {
        Bytes::new()
    }

    fn catalog(&self) -> Catalog {
        Catalog {
            summary: "Spring Boot clients, by STOMP",
            events: Vec::new(),
            schemas: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
