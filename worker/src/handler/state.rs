//! The rows of a batch in memory: as they were loaded, then as the commands leave them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use confab_shared::id::{CommandId, ConversationId, MessageId, Seq, UserId};
use confab_shared::model::account::{AccountRole, Profile};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::Rejection;
use confab_shared::model::event::UserNotice;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::{
    AppliedCommand, ChangedMessage, Changes, Found, FoundDetails, MessageRow, NewMessage, PairRow,
};

use super::conversation::{Conversation, Info, Life, Member};
use super::draft::RoomDraft;
use super::scope::{Scope, invitable};
use super::{Answer, Bounds, Request};

/// A user, as far as a batch needs to know.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) profile: Arc<Profile>,
    pub(super) role: AccountRole,
}

/// A message that was there before the batch.
#[derive(Debug)]
pub(super) struct StoredMessage {
    pub(super) row: MessageRow,
    pub(super) content: Arc<str>,
    /// Set once the batch changes it.
    pub(super) change: Option<(Seq, Option<UserId>)>,
}

/// Everything a batch knows and does.
#[derive(Debug)]
pub(super) struct BatchState {
    pub(super) at: Timestamp,
    pub(super) bounds: Bounds,
    pub(super) conversations: HashMap<ConversationId, Conversation>,
    pub(super) accounts: HashMap<UserId, Account>,
    pub(super) messages: HashMap<MessageId, StoredMessage>,
    pub(super) sent: Vec<NewMessage>,
    pub(super) notices: Vec<(UserId, UserNotice)>,
    /// How many deleted messages lie beyond a marker, where any do.
    deleted_beyond: HashMap<(ConversationId, i64), i64>,
    first_runs: HashMap<(ConversationId, CommandId), Answer>,
    applied: Vec<AppliedCommand>,
    /// Conversations in the order in which the batch first touched them, so that its output has an order too.
    order: Vec<ConversationId>,
}

impl BatchState {
    pub(super) fn new(
        at: Timestamp,
        bounds: Bounds,
        size: usize,
        found: Found,
        details: FoundDetails,
    ) -> Self {
        let mut state = Self {
            at,
            bounds,
            conversations: HashMap::new(),
            accounts: HashMap::new(),
            messages: HashMap::with_capacity(found.messages.len()),
            sent: Vec::with_capacity(size),
            notices: Vec::new(),
            deleted_beyond: HashMap::with_capacity(details.deleted.len()),
            first_runs: HashMap::with_capacity(size),
            applied: Vec::new(),
            order: Vec::new(),
        };
        for row in found.pairs {
            state.take_pair(row);
        }
        for row in details.members {
            if let Some(conversation) = state.conversations.get_mut(&row.conversation) {
                conversation
                    .members
                    .entry(row.user_id)
                    .or_insert(Member { row, dirty: false });
            }
        }
        for row in found.messages {
            let content = Arc::from(row.content.as_str());
            state.messages.insert(
                row.id,
                StoredMessage {
                    row,
                    content,
                    change: None,
                },
            );
        }
        for row in found.sends {
            let outcome = Outcome::Stored {
                message: row.id,
                seq: row.seq,
                at: row.created_at,
            };
            state
                .first_runs
                .insert((row.conversation, row.command_id), Answer::Outcome(outcome));
        }
        for row in found.outcomes {
            // Only this program writes them; should one be illegible, the command did happen, and that is what is answered.
            let outcome = serde_json::from_str(&row.outcome).unwrap_or(Outcome::Done);
            state
                .first_runs
                .insert((row.conversation, row.command_id), Answer::Outcome(outcome));
        }
        for row in details.rooms {
            if let Some(conversation) = state.conversations.get_mut(&row.id) {
                conversation.learn(Info {
                    name: Some(row.name),
                    description: row.description,
                    max_users: row.max_users,
                });
            }
        }
        for (id, size) in details.sizes {
            if let Some(conversation) = state.conversations.get_mut(&id) {
                conversation.size = size;
            }
        }
        for (conversation, marker, count) in details.deleted {
            state.deleted_beyond.insert((conversation, marker), count);
        }
        state
    }

    fn take_pair(&mut self, row: PairRow) {
        if let (Some(kind), Some(created_by), Some(last_seq), Some(message_count)) =
            (row.kind, row.created_by, row.last_seq, row.message_count)
        {
            let conversation = self
                .conversations
                .entry(row.conversation)
                .or_insert_with(|| Conversation::loaded(kind, created_by, last_seq, message_count));
            if row.ended_at.is_some() {
                conversation.life = Life::Ended;
            }
            if let Some(member) = row.membership() {
                conversation.members.insert(
                    row.user_id,
                    Member {
                        row: member,
                        dirty: false,
                    },
                );
            }
        }
        if let (Some(username), Some(name), Some(role)) = (row.username, row.name, row.account_role)
        {
            self.accounts.entry(row.user_id).or_insert_with(|| {
                let avatar = row.avatar.map(Arc::from);
                let profile = Profile {
                    id: row.user_id,
                    username: username.into(),
                    name: name.into(),
                    avatar,
                    account: role,
                };
                Account {
                    profile: Arc::new(profile),
                    role,
                }
            });
        }
    }

    /// What a handler works on, if the actor may take part: as a present member, or as anybody may in a room. To others the
    /// conversation does not exist.
    pub(super) fn scope(&mut self, request: &Request<'_>) -> Result<Scope<'_>, Rejection> {
        let (id, actor) = (request.conversation(), request.actor());
        let known = self.accounts.contains_key(&actor);
        let conversation = self
            .conversations
            .get_mut(&id)
            .filter(|conversation| match conversation.kind {
                ConversationKind::Direct | ConversationKind::Group => {
                    conversation.member(actor).is_some()
                }
                ConversationKind::Room => known,
            })
            .ok_or_else(|| Rejection::not_found("conversation"))?;
        if conversation.touch() {
            self.order.push(id);
        }
        Ok(Scope {
            at: self.at,
            bounds: self.bounds,
            id,
            conversation,
            accounts: &self.accounts,
            messages: &mut self.messages,
            sent: &mut self.sent,
            notices: &mut self.notices,
        })
    }

    /// The profile of a user who may take part in conversations by invitation.
    pub(super) fn invitable(&self, user: UserId) -> Result<&Arc<Profile>, Rejection> {
        invitable(&self.accounts, user)
    }

    /// What a user's account may do; none: there is no such user.
    pub(super) fn account_role(&self, user: UserId) -> Option<AccountRole> {
        self.accounts.get(&user).map(|account| account.role)
    }

    /// Whether it was a room that is no more.
    pub(super) fn ended(&self, id: ConversationId) -> bool {
        self.conversations
            .get(&id)
            .is_some_and(|conversation| conversation.life == Life::Ended)
    }

    /// Adds a conversation that the batch makes. There must be none of this id.
    pub(super) fn make(&mut self, id: ConversationId, mut conversation: Conversation) {
        conversation.touch();
        self.order.push(id);
        self.conversations.insert(id, conversation);
    }

    /// How many messages a member has not read whose marker stands at `marker`.
    pub(super) fn unread(&self, id: ConversationId, marker: i64) -> i64 {
        let Some(conversation) = self.conversations.get(&id) else {
            return 0;
        };
        let before = self.deleted_beyond.get(&(id, marker)).copied().unwrap_or(0);
        let now = conversation
            .deleted
            .iter()
            .filter(|ordinal| **ordinal > marker)
            .count();
        conversation.message_count - marker - before - i64::try_from(now).unwrap_or(i64::MAX)
    }

    /// What the command did if it is not the first of its id.
    pub(super) fn first_run(&self, request: &Request<'_>) -> Option<Answer> {
        self.first_runs
            .get(&(request.conversation(), request.id()))
            .cloned()
    }

    /// Remembers what a command did: for this batch, and for good where nothing else would tell.
    ///
    /// That includes a command that found nothing to do: adding somebody who is a member must not add them on a repetition after
    /// they were removed.
    pub(super) fn remember(&mut self, request: &Request<'_>, answer: &Answer) {
        let (conversation, command) = (request.conversation(), request.id());
        self.first_runs
            .insert((conversation, command), answer.clone());
        // A message carries its command's id, and a marker at a message never goes back: these are their own memory. "Everything"
        // is more on a repetition than it was, but for a room, where nobody's reading is kept.
        let in_room = || {
            self.conversations
                .get(&conversation)
                .is_some_and(|conversation| conversation.kind == ConversationKind::Room)
        };
        let own_memory = match request.envelope.command {
            Command::SendMessage { .. } | Command::MarkRead { up_to: Some(_) } => true,
            Command::MarkRead { up_to: None } if in_room() => true,
            Command::CreateConversation { .. }
            | Command::CreateRoom { .. }
            | Command::UpdateRoom { .. }
            | Command::DeleteRoom
            | Command::MarkRead { up_to: None }
            | Command::EditMessage { .. }
            | Command::DeleteMessage { .. }
            | Command::AddMembers { .. }
            | Command::RemoveMember { .. }
            | Command::Leave => false,
        };
        if let (Answer::Outcome(outcome), false) = (answer, own_memory) {
            // Serialising this enum cannot fail; were it to, an empty text would still say that the command took effect.
            let outcome = serde_json::to_string(outcome).unwrap_or_default();
            self.applied.push(AppliedCommand {
                conversation,
                command,
                outcome,
            });
        }
    }

    /// Has the room told how far it had come, since what happened then may not have been announced.
    pub(super) fn catch_up(&mut self, id: ConversationId) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.catch_up();
            if conversation.touch() {
                self.order.push(id);
            }
        }
    }

    /// Tells the users that a repeated command names where they stand, since they may not have been told.
    pub(super) fn notify_again(&mut self, request: &Request<'_>) {
        let users: Vec<UserId> = match &request.envelope.command {
            Command::CreateConversation { participants, .. } => participants
                .iter()
                .copied()
                .chain([request.actor()])
                .collect(),
            Command::AddMembers { users } => users.clone(),
            Command::RemoveMember { user } => vec![*user],
            Command::Leave => vec![request.actor()],
            Command::SendMessage { .. }
            | Command::EditMessage { .. }
            | Command::DeleteMessage { .. }
            | Command::CreateRoom { .. }
            | Command::UpdateRoom { .. }
            | Command::DeleteRoom
            | Command::MarkRead { .. } => return,
        };
        let Some(conversation) = self.conversations.get(&request.conversation()) else {
            return;
        };
        for user in users {
            let Some(member) = conversation.members.get(&user) else {
                continue;
            };
            self.notices.push((user, member.standing()));
        }
    }

    /// What to store, and what to announce then.
    pub(super) fn finish(mut self) -> (Changes, Vec<RoomDraft>, Vec<(UserId, UserNotice)>) {
        let is_guest = |user: &UserId| {
            self.accounts
                .get(user)
                .is_some_and(|account| account.role == AccountRole::Guest)
        };
        let guests: BTreeSet<UserId> = self
            .sent
            .iter()
            .map(|message| message.sender)
            .filter(is_guest)
            .collect();
        let mut changes = Changes {
            at: self.at,
            created: Vec::new(),
            changed: Vec::new(),
            members: Vec::new(),
            guests: guests.into_iter().collect(),
            sent: self.sent,
            messages: Vec::new(),
            applied: self.applied,
        };
        let mut rooms = Vec::with_capacity(self.order.len());
        for id in self.order {
            if let Some(conversation) = self.conversations.remove(&id) {
                rooms.extend(conversation.finish(id, &mut changes));
            }
        }
        for message in self.messages.into_values() {
            if let Some((change_seq, deleted_by)) = message.change {
                let StoredMessage { row, content, .. } = message;
                let deleted = row.deleted_at.zip(deleted_by);
                let edited_at = row.edited_at;
                changes.messages.push(ChangedMessage {
                    id: row.id,
                    change_seq,
                    content,
                    edited_at,
                    deleted,
                });
            }
        }
        (changes, rooms, self.notices)
    }
}
