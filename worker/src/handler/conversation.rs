//! A conversation in memory: its counters and members, and what is to be said in it.

use std::collections::HashMap;
use std::sync::Arc;

use confab_shared::id::{ConversationId, MessageId, Seq, UserId};
use confab_shared::model::account::Profile;
use confab_shared::model::conversation::{ConversationKind, MemberRole};
use confab_shared::model::event::{Event, Fact, RoomBatch, UserNotice};
use confab_shared::model::message::Message;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::{
    ChangedConversation, Changes, MemberRow, NewConversation, NewMessage,
};

/// A membership, present or past.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) row: MemberRow,
    /// Whether the row differs from what was loaded.
    pub(super) dirty: bool,
}

impl Member {
    pub(super) fn present(&self) -> bool {
        self.row.left_at.is_none()
    }

    /// Where the user stands, as a notice.
    pub(super) fn standing(&self) -> UserNotice {
        let MemberRow {
            conversation,
            user_id,
            change_seq,
            joined_seq,
            left_at,
            removed_by,
            ..
        } = self.row;
        match left_at {
            Some(at) => UserNotice::Removed {
                conversation,
                seq: change_seq,
                by: removed_by.unwrap_or(user_id),
                at,
            },
            None => UserNotice::Joined {
                conversation,
                seq: joined_seq,
            },
        }
    }

    /// The row, to be changed.
    pub(super) fn change(&mut self) -> &mut MemberRow {
        self.dirty = true;
        &mut self.row
    }
}

/// An event whose message may not have its number yet.
#[derive(Debug)]
enum Draft {
    Event(Event),
    Sent {
        index: usize,
        sender: Arc<Profile>,
        temp_id: Option<Arc<str>>,
    },
}

/// A conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) kind: ConversationKind,
    pub(super) last_seq: Seq,
    pub(super) message_count: i64,
    pub(super) members: HashMap<UserId, Member>,
    /// The ordinals of messages that this batch deleted.
    pub(super) deleted: Vec<i64>,
    /// Whether anything but reading happened.
    active: bool,
    /// Its last change before the batch; zero: it is made in it.
    loaded_seq: Seq,
    made: Option<(Option<String>, UserId)>,
    /// Whether the room is to be told how far it had come.
    catch_up: bool,
    /// Whether it is in the batch's list of conversations.
    touched: bool,
    events: Vec<Draft>,
}

impl Conversation {
    /// One that was there before the batch.
    pub(super) fn loaded(kind: ConversationKind, last_seq: Seq, message_count: i64) -> Self {
        Self {
            kind,
            last_seq,
            message_count,
            members: HashMap::new(),
            deleted: Vec::new(),
            active: false,
            loaded_seq: last_seq,
            made: None,
            catch_up: false,
            touched: false,
            events: Vec::new(),
        }
    }

    /// One that the batch makes.
    pub(super) fn made(kind: ConversationKind, name: Option<String>, by: UserId) -> Self {
        Self {
            made: Some((name, by)),
            ..Self::loaded(kind, Seq(0), 0)
        }
    }

    /// Notes that the batch does something here. True the first time.
    pub(super) fn touch(&mut self) -> bool {
        !std::mem::replace(&mut self.touched, true)
    }

    /// Has the room told how far it had come before the batch.
    pub(super) fn catch_up(&mut self) {
        self.catch_up = self.loaded_seq > Seq(0);
    }

    /// The next place in the order, for a change that moves the conversation up its members' lists.
    pub(super) fn advance(&mut self) -> Seq {
        self.active = true;
        self.advance_quietly()
    }

    /// The next place in the order, for a change that does not.
    pub(super) fn advance_quietly(&mut self) -> Seq {
        self.last_seq = self.last_seq.next();
        self.last_seq
    }

    /// A present member's row.
    pub(super) fn member(&self, user: UserId) -> Option<&MemberRow> {
        self.members
            .get(&user)
            .filter(|member| member.present())
            .map(|member| &member.row)
    }

    /// A present member's row, to be changed.
    pub(super) fn member_mut(&mut self, user: UserId) -> Option<&mut MemberRow> {
        self.members
            .get_mut(&user)
            .filter(|member| member.present())
            .map(Member::change)
    }

    /// Makes a user a member, as if never one before.
    pub(super) fn join(&mut self, row: MemberRow) {
        self.members
            .insert(row.user_id, Member { row, dirty: true });
    }

    pub(super) fn announce(&mut self, seq: Option<Seq>, at: Timestamp, fact: Fact) {
        self.events.push(Draft::Event(Event { seq, at, fact }));
    }

    /// Sorts what happened here into what to store and what to say.
    pub(super) fn finish(self, id: ConversationId, changes: &mut Changes) -> Option<RoomDraft> {
        let Self {
            kind,
            last_seq,
            message_count,
            loaded_seq,
            active,
            ..
        } = self;
        if let Some((name, created_by)) = self.made {
            changes.created.push(NewConversation {
                id,
                kind,
                name,
                created_by,
                last_seq,
                message_count,
            });
        } else if last_seq > loaded_seq {
            let previous_seq = loaded_seq;
            changes.changed.push(ChangedConversation {
                id,
                previous_seq,
                last_seq,
                message_count,
                active,
            });
        }
        let dirty = self.members.into_values().filter(|member| member.dirty);
        changes.members.extend(dirty.map(|member| member.row));
        let mut events = self.events;
        if self.catch_up {
            // First: whoever is behind reads all up to here, and beyond, before what follows.
            let advanced = Event {
                seq: Some(loaded_seq),
                at: changes.at,
                fact: Fact::Advanced,
            };
            events.insert(0, Draft::Event(advanced));
        }
        (!events.is_empty()).then_some(RoomDraft {
            conversation: id,
            events,
        })
    }

    pub(super) fn announce_sent(
        &mut self,
        index: usize,
        sender: Arc<Profile>,
        temp_id: Option<Arc<str>>,
    ) {
        self.events.push(Draft::Sent {
            index,
            sender,
            temp_id,
        });
    }
}

/// A room's events, to be finished once new messages have their numbers.
#[derive(Debug)]
pub(super) struct RoomDraft {
    conversation: ConversationId,
    events: Vec<Draft>,
}

impl RoomDraft {
    pub(super) fn finish(self, changes: &Changes, ids: &[MessageId]) -> RoomBatch {
        let finish = |draft| match draft {
            Draft::Event(event) => event,
            Draft::Sent {
                index,
                sender,
                temp_id,
            } => {
                let new: &NewMessage = &changes.sent[index];
                let message = Message {
                    id: ids[index],
                    conversation: new.conversation,
                    seq: new.seq,
                    change_seq: new.seq,
                    ordinal: new.ordinal,
                    sender,
                    message_type: Arc::clone(&new.message_type),
                    content: Arc::clone(&new.content),
                    reply_to: new.reply_to,
                    created_at: changes.at,
                    edited_at: None,
                    deleted_at: None,
                };
                Event {
                    seq: Some(new.seq),
                    at: changes.at,
                    fact: Fact::MessageStored { message, temp_id },
                }
            }
        };
        RoomBatch {
            conversation: self.conversation,
            events: self.events.into_iter().map(finish).collect(),
        }
    }
}

/// The membership of somebody who joins, whether for the first time or again.
pub(super) fn joining(
    conversation: ConversationId,
    user_id: UserId,
    role: MemberRole,
    read_count: i64,
    seq: Seq,
    at: Timestamp,
) -> MemberRow {
    MemberRow {
        conversation,
        user_id,
        role,
        read_count,
        read_seq: Seq(0),
        read_message_id: None,
        read_at: None,
        change_seq: seq,
        joined_seq: seq,
        joined_at: at,
        left_at: None,
        removed_by: None,
    }
}
