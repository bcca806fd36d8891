//! The `namespaced` dialect: source 004's events, whose names say what they are about.
//!
//! A socket may log in late (`auth:login`) and is in the `lobby` from then on. `ChatRoom.id` and `roomId` are what the socket calls
//! the room: its slug, if it entered by that, else its id. A user's role is the account's. What source 004 has no word for is
//! an addition in its style:
//!
//! | | |
//! |---|---|
//! | `chat:message:updated` | the message, with `editedAt` |
//! | `chat:message:deleted` | `{id, roomId, deletedBy, timestamp}` |
//! | `chat:message:read` | `{roomId, userId, messageId, timestamp}`; `messageId` is null where all was read |
//! | `chat:room:participants:added`, `chat:room:participants:removed` | `{roomId, participants, timestamp}`, `{roomId, userId, removedBy, timestamp}` |
//! | `chat:room:updated`, `chat:room:deleted` | `{roomId, name, description, maxUsers, updatedBy, timestamp}`, `{roomId, deletedBy, timestamp}` |
//! | `tempId` in `chat:message` | makes a send repeatable; the sender's sockets see it in `chat:message` |
//!
//! When a socket comes, each contact of its user who is online is told of by a `status:online`; after a loss, those who are not by a
//! `status:offline` as well. Contacts are the people of one's groups and direct conversations; nobody is told of himself.
//!
//! Who comes and goes in a room is not shown: every socket of this dialect is in the lobby, and a lobby of thousands would drown
//! in it. The dialect `rooms` shows it. `chat:room:left` has a `null` behind its string, see `Frames::text_event`.

mod catalog;
mod inbound;
mod outbound;
mod shape;

use bytes::Bytes;
use confab_gateway_protocol::json::Args;
use confab_shared::model::conversation::ConversationView;
use confab_shared::model::error::Rejection;

use super::catalog::Catalog;
use super::{
    Audience, Confirmation, ContactStatus, ContactsOnline, Dialect, Intent, Namespace, RoomName,
    Scene, Shown,
};

/// The `namespaced` dialect.
#[derive(Debug)]
pub struct Namespaced;

impl Dialect for Namespaced {
    fn id(&self) -> &'static str {
        "namespaced"
    }

    fn knows(&self, event: &str) -> bool {
        inbound::EVENTS.contains(&event)
    }

    fn inbound(&self, event: &str, args: Args<'_>) -> Result<Intent, Rejection> {
        inbound::intent(event, args)
    }

    fn shows_entered(&self) -> bool {
        true
    }

    fn lobby(&self) -> Option<RoomName> {
        Some(inbound::lobby())
    }

    fn shows_contacts(&self) -> bool {
        true
    }

    fn contacts(&self, namespace: Namespace, contacts: ContactsOnline<'_>) -> Bytes {
        outbound::contacts(namespace, contacts)
    }

    fn contact(&self, namespace: Namespace, status: ContactStatus) -> Bytes {
        outbound::contact(namespace, status)
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
