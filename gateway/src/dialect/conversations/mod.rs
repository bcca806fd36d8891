//! The `conversations` dialect: source 003's events (and 001's, which names none).
//!
//! `onlineUsers` and `userStatusChanged` are about the people with whom the user shares a group or a direct conversation. The list comes when the
//! socket does, when it is asked for, and again after something may have been lost: it replaces whatever was known. Nobody is told of himself.

mod asides;
mod catalog;
mod inbound;
mod outbound;
pub mod shape;

use bytes::Bytes;
use confab_gateway_protocol::json::Args;
use confab_shared::model::conversation::ConversationView;
use confab_shared::model::error::Rejection;

use super::catalog::Catalog;
use super::{
    Audience, Badge, Confirmation, ContactStatus, ContactsOnline, Dialect, Intent, Namespace,
    Scene, Shown,
};

/// The `conversations` dialect.
#[derive(Debug)]
pub struct Conversations;

impl Dialect for Conversations {
    fn id(&self) -> &'static str {
        "conversations"
    }

    fn knows(&self, event: &str) -> bool {
        inbound::EVENTS.contains(&event)
    }

    fn inbound(&self, event: &str, args: Args<'_>) -> Result<Intent, Rejection> {
        inbound::intent(event, args)
    }

    fn shows_unread(&self) -> bool {
        true
    }

    fn unread(&self, namespace: Namespace, badge: Badge<'_>) -> Bytes {
        asides::unread(namespace, badge)
    }

    fn shows_contacts(&self) -> bool {
        true
    }

    fn contacts(&self, namespace: Namespace, contacts: ContactsOnline<'_>) -> Bytes {
        asides::contacts(namespace, contacts)
    }

    fn contact(&self, namespace: Namespace, status: ContactStatus) -> Bytes {
        asides::contact(namespace, status)
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
