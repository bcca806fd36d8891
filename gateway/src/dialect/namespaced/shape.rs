//! The JSON objects of this dialect.
//!
//! Owns which fields there are and in what order; borrows all they contain. Must never know in which event they stand.

use std::borrow::Cow;

use confab_shared::id::{MessageId, UserId};
use confab_shared::model::account::{AccountRole, Profile};
use confab_shared::model::conversation::{ConversationView, Participant};
use confab_shared::model::message::Message;
use confab_shared::model::timestamp::Timestamp;
use serde::Serialize;

use crate::dialect::Called;
use crate::dialect::numbers::as_string;

/// A user.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserJson<'a> {
    user_id: UserId,
    user_name: &'a str,
    role: AccountRole,
}

impl<'a> From<&'a Profile> for UserJson<'a> {
    fn from(profile: &'a Profile) -> Self {
        Self {
            user_id: profile.id,
            user_name: &profile.username,
            role: profile.account,
        }
    }
}

impl<'a> From<&'a Participant> for UserJson<'a> {
    fn from(participant: &'a Participant) -> Self {
        Self::from(&participant.profile)
    }
}

/// A message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageJson<'a> {
    #[serde(serialize_with = "as_string")]
    id: MessageId,
    sender: UserJson<'a>,
    content: &'a str,
    timestamp: Timestamp,
    room_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temp_id: Option<&'a str>,
}

impl<'a> MessageJson<'a> {
    /// A message, with the client's own id for it if its sender is to see it.
    pub(super) fn new(
        room_id: impl Into<Cow<'a, str>>,
        message: &'a Message,
        temp_id: Option<&'a str>,
    ) -> Self {
        Self {
            id: message.id,
            sender: UserJson::from(&*message.sender),
            content: message.shown_content(),
            timestamp: message.created_at,
            room_id: room_id.into(),
            edited_at: message.edited_at,
            deleted_at: message.deleted_at,
            temp_id,
        }
    }
}

/// A conversation of whatever kind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChatRoomJson<'a> {
    id: String,
    name: Cow<'a, str>,
    participants: Vec<UserJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_message: Option<MessageJson<'a>>,
    created_at: Timestamp,
}

impl<'a> ChatRoomJson<'a> {
    /// A conversation, by the name that the socket has for it.
    pub(super) fn new(view: &'a ConversationView, called: Called) -> Self {
        let id = called.name(view.id, view.slug.as_deref());
        let last_message = view
            .last_message
            .as_ref()
            .map(|message| MessageJson::new(id.clone(), message, None));
        Self {
            name: name(view),
            participants: view.participants.iter().map(UserJson::from).collect(),
            last_message,
            created_at: view.created_at,
            id,
        }
    }
}

/// How many people's names make up for a missing name.
const NAMED_PEOPLE: usize = 3;

/// A room's name, which clients of this dialect take for granted. A conversation that has none is called by its people.
fn name(view: &ConversationView) -> Cow<'_, str> {
    if let Some(name) = &view.name {
        return Cow::Borrowed(name);
    }
    let people = view.participants.iter().take(NAMED_PEOPLE);
    let names: Vec<&str> = people.map(|person| &*person.profile.name).collect();
    let more = if view.participants.len() > NAMED_PEOPLE {
        "…"
    } else {
        ""
    };
    Cow::Owned(format!("{}{more}", names.join(", ")))
}
