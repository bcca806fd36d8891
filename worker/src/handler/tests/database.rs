//! A database in memory that answers and stores as PostgreSQL does, and minds the same constraints.

use std::collections::{BTreeMap, HashMap};

use confab_shared::id::{CommandId, ConversationId, MessageId, NodeId, Seq, UserId};
use confab_shared::model::account::AccountRole;
use confab_shared::model::command::{Command, CommandEnvelope};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::{
    Changes, Details, Found, FoundDetails, MemberRow, MessageRow, OutcomeRow, PairRow, RoomRow,
    SendRow, Wanted,
};
use uuid::Uuid;

use crate::handler::{Announcements, Bounds, Request, decide, details, wanted};

/// More than a creation may name, so that there is something beside.
pub(super) const BOUNDS: Bounds = Bounds { max_members: 300 };

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConversationRow {
    pub(super) kind: ConversationKind,
    pub(super) last_seq: Seq,
    pub(super) message_count: i64,
    created_by: UserId,
    pub(super) info: Info,
    pub(super) ended: bool,
}

/// A name, a description, and the most users.
pub(super) type Info = (Option<String>, Option<String>, Option<i32>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Database {
    accounts: HashMap<UserId, AccountRole>,
    pub(super) conversations: HashMap<ConversationId, ConversationRow>,
    pub(super) members: HashMap<(ConversationId, UserId), MemberRow>,
    pub(super) messages: BTreeMap<MessageId, MessageRow>,
    commands: HashMap<(ConversationId, CommandId), MessageId>,
    applied: HashMap<(ConversationId, CommandId), String>,
}

/// The n-th user of a test.
pub(super) fn user(n: u128) -> UserId {
    UserId(Uuid::from_u128(n))
}

pub(super) fn envelope(
    conversation: ConversationId,
    actor: UserId,
    command: Command,
) -> CommandEnvelope {
    CommandEnvelope {
        id: CommandId::generate(),
        node: NodeId::generate(),
        conversation,
        actor,
        command,
        trace: None,
    }
}

impl Database {
    /// With accounts for the first `users` users.
    pub(super) fn with_users(users: u128) -> Self {
        let accounts = (0..users).map(|n| (user(n), AccountRole::User)).collect();
        Self {
            accounts,
            ..Self::default()
        }
    }

    /// Adds an account, or gives it another role.
    pub(super) fn account(&mut self, user: UserId, role: AccountRole) {
        self.accounts.insert(user, role);
    }

    /// Runs one batch.
    pub(super) fn run(&mut self, batch: &[(CommandEnvelope, bool)]) -> Announcements {
        let requests: Vec<Request<'_>> = batch
            .iter()
            .map(|(envelope, redelivered)| Request {
                envelope,
                redelivered: *redelivered,
            })
            .collect();
        let found = self.load(&wanted(&requests));
        let more = self.load_details(&details(BOUNDS, &requests, &found));
        let decided = decide(Timestamp::now(), BOUNDS, &requests, found, more);
        let ids = self.store(&decided.changes);
        decided.announce(&ids)
    }

    /// How many messages a member has not read, counted one by one.
    pub(super) fn unread(&self, conversation: ConversationId, user: UserId) -> usize {
        let marker = self.members[&(conversation, user)].read_count;
        let counts = |row: &&MessageRow| {
            row.conversation == conversation && row.ordinal > marker && row.deleted_at.is_none()
        };
        self.messages.values().filter(counts).count()
    }

    fn load(&self, wanted: &Wanted) -> Found {
        let pairs = wanted
            .pairs
            .iter()
            .map(|(conversation, user)| self.pair(*conversation, *user))
            .collect();
        let sends = wanted.sends.iter().filter_map(|key| {
            let row = &self.messages[self.commands.get(key)?];
            let (conversation, command_id) = *key;
            Some(SendRow {
                conversation,
                command_id,
                id: row.id,
                seq: row.seq,
                created_at: row.created_at,
            })
        });
        let outcomes = wanted.commands.iter().filter_map(|key| {
            let (conversation, command_id) = *key;
            Some(OutcomeRow {
                conversation,
                command_id,
                outcome: self.applied.get(key)?.clone(),
            })
        });
        let messages = wanted
            .messages
            .iter()
            .filter_map(|id| self.messages.get(id).cloned());
        Found {
            pairs,
            sends: sends.collect(),
            outcomes: outcomes.collect(),
            messages: messages.collect(),
        }
    }

    fn pair(&self, conversation: ConversationId, user_id: UserId) -> PairRow {
        let thread = self.conversations.get(&conversation);
        let member = self.members.get(&(conversation, user_id));
        let account_role = self.accounts.get(&user_id).copied();
        let username = account_role.map(|_| format!("user{}", user_id.0.as_u128()));
        PairRow {
            conversation,
            user_id,
            kind: thread.map(|row| row.kind),
            last_seq: thread.map(|row| row.last_seq),
            message_count: thread.map(|row| row.message_count),
            created_by: thread.map(|row| row.created_by),
            ended_at: thread.filter(|row| row.ended).map(|_| Timestamp::now()),
            name: username.clone(),
            account_role,
            username,
            avatar: None,
            role: member.map(|row| row.role),
            read_count: member.map(|row| row.read_count),
            read_seq: member.map(|row| row.read_seq),
            read_message_id: member.and_then(|row| row.read_message_id),
            read_at: member.and_then(|row| row.read_at),
            change_seq: member.map(|row| row.change_seq),
            joined_seq: member.map(|row| row.joined_seq),
            joined_at: member.map(|row| row.joined_at),
            left_at: member.and_then(|row| row.left_at),
            removed_by: member.and_then(|row| row.removed_by),
        }
    }

    fn load_details(&self, wanted: &Details) -> FoundDetails {
        let present =
            |row: &&MemberRow| row.left_at.is_none() && wanted.rosters.contains(&row.conversation);
        let deleted = wanted.markers.iter().filter_map(|(conversation, marker)| {
            let beyond = |row: &&MessageRow| {
                row.conversation == *conversation
                    && row.ordinal > *marker
                    && row.deleted_at.is_some()
            };
            let count = self.messages.values().filter(beyond).count();
            (count > 0).then(|| (*conversation, *marker, i64::try_from(count).unwrap()))
        });
        let rooms = wanted.rooms.iter().filter_map(|id| {
            let row = self.conversations.get(id)?;
            let (name, description, max_users) = row.info.clone();
            (row.kind == ConversationKind::Room).then(|| RoomRow {
                id: *id,
                name: name.unwrap(),
                description,
                max_users,
            })
        });
        let sizes = wanted.sizes.iter().map(|id| {
            let present = |row: &&MemberRow| row.left_at.is_none() && row.conversation == *id;
            let size = i64::try_from(self.members.values().filter(present).count()).unwrap();
            (*id, size.min(wanted.largest))
        });
        FoundDetails {
            sizes: sizes.collect(),
            rooms: rooms.collect(),
            members: self.members.values().filter(present).cloned().collect(),
            deleted: deleted.collect(),
        }
    }

    fn store(&mut self, changes: &Changes) -> Vec<MessageId> {
        for new in &changes.created {
            let row = ConversationRow {
                kind: new.kind,
                last_seq: new.last_seq,
                message_count: new.message_count,
                created_by: new.created_by,
                info: (new.name.clone(), new.description.clone(), new.max_users),
                ended: new.ended,
            };
            assert!(new.kind != ConversationKind::Room || new.name.is_some());
            assert!(!new.ended || new.info_change.is_some());
            assert!(self.accounts.contains_key(&new.created_by));
            assert!(
                self.conversations.insert(new.id, row).is_none(),
                "made twice"
            );
        }
        for changed in &changes.changed {
            let row = self.conversations.get_mut(&changed.id).unwrap();
            assert_eq!(row.last_seq, changed.previous_seq);
            assert!(
                changed.last_seq > changed.previous_seq
                    && changed.message_count >= row.message_count
            );
            row.last_seq = changed.last_seq;
            row.message_count = changed.message_count;
            assert!(!row.ended, "nothing happens in a room that has ended");
            if let Some(info) = &changed.info {
                assert!(info.seq > changed.previous_seq && info.seq <= changed.last_seq);
                row.info = (info.name.clone(), info.description.clone(), info.max_users);
                row.ended = info.ended;
            }
        }
        for changed in &changes.members {
            let member = &changed.row;
            assert_eq!(member.left_at.is_none(), member.removed_by.is_none());
            assert!(member.joined_seq <= member.change_seq);
            assert!(self.conversations.contains_key(&member.conversation));
            self.members
                .insert((member.conversation, member.user_id), member.clone());
        }
        let mut ids = Vec::new();
        for sent in &changes.sent {
            let guest = self.accounts[&sent.sender] == AccountRole::Guest;
            assert_eq!(changes.guests.contains(&sent.sender), guest);
            let id = MessageId(i64::try_from(self.messages.len()).unwrap() + 1);
            let same_seq =
                |row: &MessageRow| row.conversation == sent.conversation && row.seq == sent.seq;
            assert!(
                !self.messages.values().any(same_seq),
                "two messages at one place"
            );
            assert!(
                self.commands
                    .insert((sent.conversation, sent.command), id)
                    .is_none(),
                "stored twice"
            );
            ids.push(id);
            let row = MessageRow {
                id,
                conversation: sent.conversation,
                seq: sent.seq,
                ordinal: sent.ordinal,
                sender_id: sent.sender,
                message_type: sent.message_type.to_string(),
                content: sent.content.to_string(),
                reply_to: sent.reply_to,
                created_at: changes.at,
                edited_at: None,
                deleted_at: None,
            };
            self.messages.insert(id, row);
        }
        for changed in &changes.messages {
            let row = self.messages.get_mut(&changed.id).unwrap();
            assert!(changed.change_seq > row.seq);
            row.content = changed.content.to_string();
            row.edited_at = changed.edited_at;
            row.deleted_at = changed.deleted.map(|(at, _)| at);
            assert!(
                row.deleted_at.is_none() || row.content.is_empty(),
                "a tombstone keeps no words"
            );
        }
        for applied in &changes.applied {
            assert!(self.conversations.contains_key(&applied.conversation));
            let key = (applied.conversation, applied.command);
            assert!(
                self.applied.insert(key, applied.outcome.clone()).is_none(),
                "applied twice"
            );
        }
        ids
    }
}
