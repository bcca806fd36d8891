//! The JSON objects of source 001's routes. Those of source 003 are the `conversations` dialect's own.

use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::account::Profile;
use confab_shared::model::conversation::{ConversationKind, MemberRole, Participant};
use confab_shared::model::message::{Message, MessageStatus};
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::conversations::Listed;
use confab_shared::postgres::messages::{MessagePage, MessageView, Page, Slice};
use confab_shared::postgres::users::Account;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Shape, shapes};
use crate::dialect::conversations::shape::{as_string, kind_schema, role_schema};

shapes!(UserJson, PublicUserJson, MessageJson, ConversationJson,);

/// An account, for its owner.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(super) struct UserJson<'a> {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    #[schema(required, example = "user@example.com")]
    email: Option<&'a str>,
    #[schema(example = "johndoe")]
    username: &'a str,
    #[schema(example = "John Doe")]
    name: &'a str,
    #[schema(required)]
    avatar: Option<&'a str>,
    is_online: bool,
    #[schema(value_type = String, format = DateTime)]
    last_seen: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl<'a> UserJson<'a> {
    /// An account whose owner is seen as this.
    pub(super) fn seen(account: &'a Account, is_online: bool) -> Self {
        Self {
            id: account.id,
            email: account.email.as_deref(),
            username: &account.username,
            name: &account.name,
            avatar: account.avatar.as_deref(),
            is_online,
            last_seen: account.last_seen_at,
            created_at: account.created_at,
        }
    }
}

/// Somebody, for everybody else.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PublicUser)]
pub(super) struct PublicUserJson<'a> {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    #[schema(example = "johndoe")]
    username: &'a str,
    #[schema(example = "John Doe")]
    name: &'a str,
    #[schema(required)]
    avatar: Option<&'a str>,
    is_online: bool,
    #[schema(value_type = String, format = DateTime)]
    last_seen: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl<'a> PublicUserJson<'a> {
    /// Somebody who is seen as this.
    pub(super) fn new(account: &'a Account, is_online: bool) -> Self {
        Self {
            id: account.id,
            username: &account.username,
            name: &account.name,
            avatar: account.avatar.as_deref(),
            is_online,
            last_seen: account.last_seen_at,
            created_at: account.created_at,
        }
    }
}

/// Who said a message.
#[derive(Serialize, ToSchema)]
#[schema(as = Sender)]
pub(super) struct SenderJson<'a> {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    #[schema(example = "johndoe")]
    username: &'a str,
    #[schema(required)]
    avatar: Option<&'a str>,
}

impl<'a> From<&'a Profile> for SenderJson<'a> {
    fn from(profile: &'a Profile) -> Self {
        Self {
            id: profile.id,
            username: &profile.username,
            avatar: profile.avatar.as_deref(),
        }
    }
}

/// A message.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Message)]
pub(super) struct MessageJson<'a> {
    #[serde(serialize_with = "as_string")]
    #[schema(value_type = String, example = "1")]
    id: MessageId,
    /// Empty where the message has been deleted.
    #[schema(example = "Hello!")]
    content: &'a str,
    #[schema(example = "text")]
    message_type: &'a str,
    /// Of one's own message: all others have read it. Of another's: oneself has.
    is_read: bool,
    is_edited: bool,
    is_deleted: bool,
    #[schema(value_type = String, format = Uuid)]
    sender_id: UserId,
    #[schema(value_type = String, format = Uuid)]
    conversation_id: ConversationId,
    /// Its place among the conversation's changes.
    seq: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    sender: SenderJson<'a>,
}

impl<'a> MessageJson<'a> {
    fn new(message: &'a Message, is_read: bool) -> Self {
        Self {
            id: message.id,
            content: if message.deleted_at.is_some() {
                ""
            } else {
                &message.content
            },
            message_type: &message.message_type,
            is_read,
            is_edited: message.edited_at.is_some(),
            is_deleted: message.deleted_at.is_some(),
            sender_id: message.sender.id,
            conversation_id: message.conversation,
            seq: message.seq.0,
            created_at: message.created_at,
            updated_at: message.updated_at(),
            sender: SenderJson::from(&*message.sender),
        }
    }
}

impl<'a> From<&'a MessageView> for MessageJson<'a> {
    fn from(view: &'a MessageView) -> Self {
        Self::new(&view.message, view.is_read)
    }
}

/// A member of a conversation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Participant)]
pub(super) struct ParticipantJson<'a> {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    #[schema(example = "johndoe")]
    username: &'a str,
    #[schema(example = "John Doe")]
    name: &'a str,
    #[schema(required)]
    avatar: Option<&'a str>,
    is_online: bool,
    #[schema(schema_with = role_schema)]
    role: MemberRole,
}

impl<'a> From<&'a Participant> for ParticipantJson<'a> {
    fn from(participant: &'a Participant) -> Self {
        let Participant {
            profile,
            role,
            is_online,
        } = participant;
        Self {
            id: profile.id,
            username: &profile.username,
            name: &profile.name,
            avatar: profile.avatar.as_deref(),
            is_online: *is_online,
            role: *role,
        }
    }
}

/// A conversation as one of its members sees it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Conversation)]
pub(super) struct ConversationJson<'a> {
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

impl<'a> From<&'a Listed> for ConversationJson<'a> {
    fn from(Listed { view, last_status }: &'a Listed) -> Self {
        let is_read = *last_status == MessageStatus::Read;
        Self {
            id: view.id,
            kind: view.kind,
            name: view.name.as_deref(),
            participants: view
                .participants
                .iter()
                .map(ParticipantJson::from)
                .collect(),
            last_message: view
                .last_message
                .as_ref()
                .map(|message| MessageJson::new(message, is_read)),
            unread_count: view.unread_count,
            created_at: view.created_at,
            updated_at: view.updated_at,
        }
    }
}

/// A page of messages, newest first, each in the vocabulary of its route.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageJson<T> {
    messages: Vec<T>,
    /// What leads on, as `before` or `after`.
    #[schema(required)]
    next_cursor: Option<String>,
    has_more: bool,
}

impl<T: Shape<Named: ToSchema>> Shape for PageJson<T> {
    type Named = PageJson<T::Named>;
}

impl<'a, T> PageJson<T> {
    /// A page, with the cursor that leads on in the direction asked for.
    pub(super) fn new(
        found: &'a MessagePage,
        asked: Page,
        show: impl Fn(&'a MessageView) -> T,
    ) -> Self {
        let last = match asked.slice {
            Slice::After(_) => found.messages.first(),
            Slice::Newest | Slice::Before(_) | Slice::Numbered(_) => found.messages.last(),
        };
        Self {
            messages: found.messages.iter().map(show).collect(),
            next_cursor: last
                .filter(|_| found.has_more)
                .map(|view| view.message.id.to_string()),
            has_more: found.has_more,
        }
    }
}

/// How many messages are left unread.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Unread)]
pub(super) struct UnreadJson {
    /// How many.
    pub(super) unread_count: i64,
}

impl Shape for UnreadJson {
    type Named = Self;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use confab_shared::id::Seq;
    use confab_shared::model::account::AccountRole;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn view(id: i64) -> MessageView {
        let ann = Profile {
            id: UserId(Uuid::from_u128(1)),
            username: "ann".into(),
            name: "Ann".into(),
            avatar: None,
            account: AccountRole::User,
        };
        let message = Message {
            id: MessageId(id),
            conversation: ConversationId(Uuid::from_u128(2)),
            seq: Seq(3),
            change_seq: Seq(3),
            ordinal: 2,
            sender: Arc::new(ann),
            message_type: "text".into(),
            content: "hé".into(),
            reply_to: None,
            created_at: serde_json::from_value(json!("2025-10-14T12:00:00.120Z")).unwrap(),
            edited_at: None,
            deleted_at: None,
        };
        MessageView {
            message,
            is_read: true,
            is_delivered: true,
        }
    }

    #[test]
    fn a_message_has_the_contracts_fields_in_their_order() {
        assert_eq!(
            serde_json::to_string(&MessageJson::from(&view(7))).unwrap(),
            concat!(
                r#"{"id":"7","content":"hé","messageType":"text","isRead":true,"isEdited":false,"isDeleted":false,"#,
                r#""senderId":"00000000-0000-0000-0000-000000000001","#,
                r#""conversationId":"00000000-0000-0000-0000-000000000002","seq":3,"#,
                r#""createdAt":"2025-10-14T12:00:00.120Z","updatedAt":"2025-10-14T12:00:00.120Z","#,
                r#""sender":{"id":"00000000-0000-0000-0000-000000000001","username":"ann","avatar":null}}"#
            )
        );
    }

    #[test]
    fn a_cursor_leads_on_in_the_direction_asked_for() {
        let found = MessagePage {
            messages: vec![view(9), view(8)],
            has_more: true,
        };
        let cursor = |slice| PageJson::new(&found, Page { slice, limit: 2 }, |_| ()).next_cursor;
        assert_eq!(cursor(Slice::Newest).as_deref(), Some("8"));
        assert_eq!(cursor(Slice::Before(MessageId(10))).as_deref(), Some("8"));
        assert_eq!(cursor(Slice::After(MessageId(7))).as_deref(), Some("9"));
        let last = MessagePage {
            has_more: false,
            ..found
        };
        assert_eq!(
            PageJson::new(
                &last,
                Page {
                    slice: Slice::Newest,
                    limit: 2
                },
                |_| ()
            )
            .next_cursor,
            None
        );
    }
}
