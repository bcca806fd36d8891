//! One conversation as a handler sees it, and what may be done there by whom.

use std::collections::HashMap;
use std::sync::Arc;

use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::account::{AccountRole, Profile};
use confab_shared::model::conversation::{ConversationKind, MemberRole};
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::UserNotice;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::NewMessage;

use super::Bounds;
use super::conversation::Conversation;
use super::state::{Account, StoredMessage};

/// What a handler works on: the conversation, in which the actor may take part, and the rest of the batch.
pub(super) struct Scope<'a> {
    pub(super) at: Timestamp,
    pub(super) bounds: Bounds,
    pub(super) id: ConversationId,
    pub(super) conversation: &'a mut Conversation,
    pub(super) messages: &'a mut HashMap<MessageId, StoredMessage>,
    pub(super) sent: &'a mut Vec<NewMessage>,
    pub(super) notices: &'a mut Vec<(UserId, UserNotice)>,
    pub(super) accounts: &'a HashMap<UserId, Account>,
}

impl Scope<'_> {
    /// The profile of a user who acts.
    pub(super) fn profile(&self, user: UserId) -> Result<Arc<Profile>, Rejection> {
        self.accounts
            .get(&user)
            .map(|account| Arc::clone(&account.profile))
            .ok_or_else(|| Rejection::not_found("user"))
    }

    /// The profile of a user who may take part in conversations by invitation.
    pub(super) fn invitable(&self, user: UserId) -> Result<&Arc<Profile>, Rejection> {
        invitable(self.accounts, user)
    }

    /// The role of a user who acts, if present.
    pub(super) fn role(&self, user: UserId) -> Option<MemberRole> {
        self.conversation.member(user).map(|member| member.role)
    }

    /// Whether a user who acts may delete others' messages, and change and end a room.
    pub(super) fn moderates(&self, user: UserId) -> bool {
        match self.conversation.kind {
            ConversationKind::Direct | ConversationKind::Group => {
                self.role(user).is_some_and(MemberRole::moderates)
            }
            ConversationKind::Room => {
                let account = self.accounts.get(&user).map(|account| account.role);
                self.conversation.created_by == user || account == Some(AccountRole::Admin)
            }
        }
    }

    /// Refuses what is for groups alone.
    pub(super) fn in_group(&self) -> Result<(), Rejection> {
        match self.conversation.kind {
            ConversationKind::Group => Ok(()),
            ConversationKind::Direct => Err(Rejection::forbidden(
                "members are fixed in this conversation",
            )),
            ConversationKind::Room => {
                Err(Rejection::new(ErrorCode::Conflict, "a room has no members"))
            }
        }
    }

    /// Refuses so many more members than a group may have.
    pub(super) fn has_room_for(&self, more: usize) -> Result<(), Rejection> {
        within_bounds(self.bounds, self.conversation.size, more)
    }

    /// Refuses what is for rooms alone, and for whoever may do this to them. To the others of a conversation it is no room.
    pub(super) fn in_own_room(&self, user: UserId, deed: &str) -> Result<(), Rejection> {
        if self.conversation.kind != ConversationKind::Room {
            return Err(Rejection::not_found("room"));
        }
        if !self.moderates(user) {
            return Err(Rejection::forbidden(format!(
                "only its creator or an admin may {deed} a room"
            )));
        }
        Ok(())
    }
}

/// Refuses so many more members than a group may have that has `size`.
pub(super) fn within_bounds(
    Bounds { max_members }: Bounds,
    size: i64,
    more: usize,
) -> Result<(), Rejection> {
    let more = i64::try_from(more).unwrap_or(i64::MAX);
    if size.saturating_add(more) > max_members {
        return Err(Rejection::new(
            ErrorCode::Conflict,
            format!("a group has at most {max_members} members"),
        ));
    }
    Ok(())
}

/// A message of a conversation.
pub(super) fn message_of(
    messages: &mut HashMap<MessageId, StoredMessage>,
    id: MessageId,
    conversation: ConversationId,
) -> Result<&mut StoredMessage, Rejection> {
    messages
        .get_mut(&id)
        .filter(|message| message.row.conversation == conversation)
        .ok_or_else(|| Rejection::not_found("message"))
}

/// The profile of a user who may take part in conversations by invitation.
pub(super) fn invitable(
    accounts: &HashMap<UserId, Account>,
    user: UserId,
) -> Result<&Arc<Profile>, Rejection> {
    accounts
        .get(&user)
        .filter(|account| account.role != AccountRole::Guest)
        .map(|account| &account.profile)
        .ok_or_else(|| Rejection::not_found("participant"))
}
