//! Conversations that a user may find itself in.

use confab_shared::model::conversation::{ConversationKind, ConversationView, MemberRole};

use super::fixtures::{group_view, participant};

/// The conversation of two people.
fn direct_view() -> ConversationView {
    ConversationView {
        kind: ConversationKind::Direct,
        name: None,
        participants: vec![
            participant(1, "Alice", MemberRole::Member),
            participant(2, "Bob", MemberRole::Member),
        ],
        ..group_view()
    }
}

/// A group that nobody gave a name.
fn nameless_view() -> ConversationView {
    ConversationView {
        name: None,
        participants: vec![
            participant(1, "Alice", MemberRole::Owner),
            participant(2, "Bob", MemberRole::Admin),
            participant(3, "Carol", MemberRole::Member),
            participant(4, "Dave", MemberRole::Member),
        ],
        last_message: None,
        unread_count: 0,
        ..group_view()
    }
}

/// Conversations that a user may find itself in.
pub(in crate::dialect) fn views() -> [(&'static str, ConversationView); 3] {
    [
        ("joined", group_view()),
        ("joined by two", direct_view()),
        ("joined by many", nameless_view()),
    ]
}
