//! Server → client: what is told beside the events of conversations, once and without an offset: unread counts, and who is online.

use bytes::Bytes;
use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::timestamp::Timestamp;
use serde::Serialize;

use super::shape::MessageJson;
use crate::dialect::{Badge, ContactStatus, ContactsOnline, Frames, Namespace};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BadgeJson<'a> {
    conversation_id: ConversationId,
    unread_count: i64,
    last_message: Option<MessageJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserStatusChanged {
    user_id: UserId,
    status: &'static str,
    timestamp: Timestamp,
}

/// How much a member has not read in a conversation that its socket has not joined.
pub(super) fn unread(namespace: Namespace, badge: Badge<'_>) -> Bytes {
    let mut frames = Frames::new(namespace);
    let last_message = badge
        .last
        .map(|last| MessageJson::new(last, None).with_status(badge.status.into()));
    frames.event(
        "unreadCount",
        &BadgeJson {
            conversation_id: badge.conversation,
            unread_count: badge.unread,
            last_message,
        },
    );
    frames.finish()
}

/// Who of a user's contacts is online. Clients forget whom they took for it before.
pub(super) fn contacts(namespace: Namespace, contacts: ContactsOnline<'_>) -> Bytes {
    let mut frames = Frames::new(namespace);
    frames.event("onlineUsers", contacts.online);
    frames.finish()
}

/// A contact's status has changed.
pub(super) fn contact(namespace: Namespace, status: ContactStatus) -> Bytes {
    let mut frames = Frames::new(namespace);
    frames.event(
        "userStatusChanged",
        &UserStatusChanged {
            user_id: status.user,
            status: if status.is_online {
                "online"
            } else {
                "offline"
            },
            timestamp: status.at,
        },
    );
    frames.finish()
}
