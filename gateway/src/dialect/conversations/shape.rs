//! The JSON objects of this dialect, which its REST routes (/chats) share with its socket events.
//!
//! Owns which fields there are and in what order; borrows all they contain. Must never know where they are sent.

use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::account::Profile;
use confab_shared::model::conversation::{
    ConversationKind, ConversationView, MemberRole, Participant,
};
use confab_shared::model::message::{Message, MessageStatus};
use confab_shared::model::timestamp::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

pub use crate::dialect::numbers::as_string;
use crate::dialect::numbers::as_string_or_null;

/// What is said of a conversation's kind.
pub fn kind_schema() -> Object {
    words(&[
        ConversationKind::Direct,
        ConversationKind::Group,
        ConversationKind::Room,
    ])
}

/// What is said of a member's role.
pub fn role_schema() -> Object {
    words(&[MemberRole::Owner, MemberRole::Admin, MemberRole::Member])
}

/// One of these, as they are written.
fn words<T: Serialize>(values: &[T]) -> Object {
    let words = values
        .iter()
        .filter_map(|value| serde_json::to_value(value).ok());
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .build()
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ChatMessageStatus)]
pub enum Status {
    /// It is stored.
    Sent,
    /// It has reached somebody else.
    Delivered,
    /// Of one's own: all others have read it. Of another's: oneself has.
    Read,
}

impl From<MessageStatus> for Status {
    fn from(status: MessageStatus) -> Self {
        match status {
            MessageStatus::Sent => Self::Sent,
            MessageStatus::Delivered => Self::Delivered,
            MessageStatus::Read => Self::Read,
        }
    }
}

/// Who said a message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChatSender)]
pub struct SenderJson<'a> {
    #[serde(rename = "_id")]
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    name: &'a str,
    username: &'a str,
}

impl<'a> From<&'a Profile> for SenderJson<'a> {
    fn from(profile: &'a Profile) -> Self {
        Self {
            id: profile.id,
            name: &profile.name,
            username: &profile.username,
        }
    }
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ChatMessage)]
pub struct MessageJson<'a> {
    #[serde(rename = "_id", serialize_with = "as_string")]
    #[schema(value_type = String)]
    id: MessageId,
    #[schema(value_type = String, format = Uuid)]
    conversation_id: ConversationId,
    sender: SenderJson<'a>,
    content: &'a str,
    #[serde(rename = "type")]
    message_type: &'a str,
    status: Status,
    seq: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    is_edited: bool,
    is_deleted: bool,
    #[serde(serialize_with = "as_string_or_null")]
    #[schema(required, value_type = Option<String>)]
    reply_to: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temp_id: Option<&'a str>,
}

impl<'a> MessageJson<'a> {
    /// A message that is stored, with the client's own id for it if its sender is to see it.
    pub fn new(message: &'a Message, temp_id: Option<&'a str>) -> Self {
        Self {
            id: message.id,
            conversation_id: message.conversation,
            sender: SenderJson::from(&*message.sender),
            content: message.shown_content(),
            message_type: &message.message_type,
            status: Status::Sent,
            seq: message.seq.0,
            created_at: message.created_at,
            updated_at: message.updated_at(),
            is_edited: message.edited_at.is_some(),
            is_deleted: message.deleted_at.is_some(),
            reply_to: message.reply_to,
            temp_id,
        }
    }

    /// The same, where it is known how far it has come.
    #[must_use]
    pub fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }
}

/// A member.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ChatParticipant)]
pub struct ParticipantJson<'a> {
    #[serde(rename = "_id")]
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    name: &'a str,
    username: &'a str,
    is_online: bool,
    #[schema(schema_with = role_schema)]
    role: MemberRole,
}

impl<'a> ParticipantJson<'a> {
    /// A member.
    pub fn new(participant: &'a Participant) -> Self {
        let Participant {
            profile,
            role,
            is_online,
        } = participant;
        Self {
            id: profile.id,
            name: &profile.name,
            username: &profile.username,
            is_online: *is_online,
            role: *role,
        }
    }
}

/// A conversation as one of its members sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ChatConversation)]
pub struct ConversationJson<'a> {
    #[serde(rename = "_id")]
    #[schema(value_type = String, format = Uuid)]
    id: ConversationId,
    #[serde(rename = "type")]
    #[schema(schema_with = kind_schema)]
    kind: ConversationKind,
    #[schema(required)]
    name: Option<&'a str>,
    participants: Vec<ParticipantJson<'a>>,
    #[schema(required)]
    last_message: Option<MessageJson<'a>>,
    unread_count: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl<'a> ConversationJson<'a> {
    /// A conversation, of whose last message no more is told than that it is stored.
    pub fn new(view: &'a ConversationView) -> Self {
        Self {
            id: view.id,
            kind: view.kind,
            name: view.name.as_deref(),
            participants: view.participants.iter().map(ParticipantJson::new).collect(),
            last_message: view
                .last_message
                .as_ref()
                .map(|message| MessageJson::new(message, None)),
            unread_count: view.unread_count,
            created_at: view.created_at,
            updated_at: view.updated_at,
        }
    }

    /// The same, where it is known how far the last message has come.
    #[must_use]
    pub fn with_last_status(self, status: Status) -> Self {
        Self {
            last_message: self.last_message.map(|message| message.with_status(status)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use confab_shared::id::Seq;
    use confab_shared::model::account::AccountRole;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn moment(text: &str) -> Timestamp {
        serde_json::from_value(json!(text)).unwrap()
    }

    fn profile() -> Profile {
        Profile {
            id: UserId(Uuid::from_u128(1)),
            username: "ann".into(),
            name: "Ann".into(),
            avatar: None,
            account: AccountRole::User,
        }
    }

    fn message() -> Message {
        Message {
            id: MessageId(7),
            conversation: ConversationId(Uuid::from_u128(2)),
            seq: Seq(3),
            change_seq: Seq(3),
            ordinal: 2,
            sender: Arc::new(profile()),
            message_type: "text".into(),
            content: "hé".into(),
            reply_to: Some(MessageId(5)),
            created_at: moment("2025-10-14T12:00:00.120Z"),
            edited_at: None,
            deleted_at: None,
        }
    }

    #[test]
    fn a_message_has_the_contracts_fields_in_their_order() {
        assert_eq!(
            serde_json::to_string(&MessageJson::new(&message(), Some("t1"))).unwrap(),
            concat!(
                r#"{"_id":"7","conversationId":"00000000-0000-0000-0000-000000000002","#,
                r#""sender":{"_id":"00000000-0000-0000-0000-000000000001","name":"Ann","username":"ann"},"#,
                r#""content":"hé","type":"text","status":"sent","seq":3,"createdAt":"2025-10-14T12:00:00.120Z","#,
                r#""updatedAt":"2025-10-14T12:00:00.120Z","isEdited":false,"isDeleted":false,"replyTo":"5","tempId":"t1"}"#
            )
        );
    }

    #[test]
    fn a_tombstone_has_no_content() {
        let mut message = message();
        message.deleted_at = Some(moment("2025-10-14T13:00:00.000Z"));
        message.reply_to = None;
        let value =
            serde_json::to_value(MessageJson::new(&message, None).with_status(Status::Read))
                .unwrap();
        assert_eq!(
            (&value["content"], &value["isDeleted"], &value["replyTo"]),
            (&json!(""), &json!(true), &json!(null))
        );
        assert_eq!(
            (&value["status"], value.get("tempId")),
            (&json!("read"), None)
        );
        assert_eq!(value["updatedAt"], "2025-10-14T13:00:00.000Z");
    }

    #[test]
    fn a_conversation_has_the_contracts_fields_in_their_order() {
        let view = ConversationView {
            id: ConversationId(Uuid::from_u128(2)),
            kind: ConversationKind::Direct,
            slug: None,
            name: None,
            participants: vec![Participant::new(profile(), MemberRole::Member)],
            last_message: None,
            unread_count: 4,
            last_seq: Seq(9),
            created_at: moment("2025-10-14T12:00:00.120Z"),
            updated_at: moment("2025-10-14T12:00:00.121Z"),
        };
        assert_eq!(
            serde_json::to_string(&ConversationJson::new(&view)).unwrap(),
            concat!(
                r#"{"_id":"00000000-0000-0000-0000-000000000002","type":"direct","name":null,"#,
                r#""participants":[{"_id":"00000000-0000-0000-0000-000000000001","name":"Ann","username":"ann","#,
                r#""isOnline":false,"role":"member"}],"lastMessage":null,"unreadCount":4,"#,
                r#""createdAt":"2025-10-14T12:00:00.120Z","updatedAt":"2025-10-14T12:00:00.121Z"}"#
            )
        );
    }
}
