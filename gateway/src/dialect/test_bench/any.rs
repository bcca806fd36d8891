//! Values for properties.

use confab_shared::id::{ConversationId, MessageId, UserId};
use proptest::prelude::*;
use proptest::string::string_regex;
use uuid::Uuid;

/// A message's text, as it is after trimming.
pub(in crate::dialect) fn content() -> impl Strategy<Value = String> {
    "\\PC{1,64}".prop_filter_map("blank", |text| {
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    })
}

/// A client's own id, or none.
pub(in crate::dialect) fn temp_id() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(string_regex("[ -~]{1,128}").unwrap())
}

pub(in crate::dialect) fn user_id() -> impl Strategy<Value = UserId> {
    any::<u128>().prop_map(|bits| UserId(Uuid::from_u128(bits)))
}

pub(in crate::dialect) fn conversation_id() -> impl Strategy<Value = ConversationId> {
    any::<u128>().prop_map(|bits| ConversationId(Uuid::from_u128(bits)))
}

pub(in crate::dialect) fn message_id() -> impl Strategy<Value = MessageId> {
    (1..=i64::MAX).prop_map(MessageId)
}

/// What a client calls a room: its slug, or a conversation's id.
pub(in crate::dialect) fn room() -> impl Strategy<Value = String> {
    prop_oneof![
        string_regex("[a-z0-9][a-z0-9_-]{0,30}").unwrap(),
        conversation_id().prop_map(|id| id.to_string()),
    ]
}
