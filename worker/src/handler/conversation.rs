//! A conversation in memory: its counters and members, and what is to be said in it.

use std::collections::HashMap;
use std::sync::Arc;

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::account::Profile;
use confab_shared::model::conversation::{ConversationKind, MemberRole};
use confab_shared::model::event::{Event, Fact, UserNotice};
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::{
    ChangedConversation, ChangedInfo, ChangedMember, Changes, MAX_RELISTED, MemberRow,
    NewConversation,
};

use super::draft::{Draft, RoomDraft};

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

/// What a conversation is beside its messages and members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Info {
    /// Every room has one, a group may.
    pub(super) name: Option<String>,
    /// What a room is for.
    pub(super) description: Option<String>,
    /// The most people who may be present in a room; none: no limit.
    pub(super) max_users: Option<i32>,
}

/// Whether there is still a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// As conversations that are no rooms always are.
    Open,
    /// It was a room, and is no more.
    Ended,
}

/// A conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) kind: ConversationKind,
    pub(super) created_by: UserId,
    pub(super) life: Life,
    /// Known of those that the batch makes, and of rooms that it changes.
    info: Option<Info>,
    pub(super) last_seq: Seq,
    pub(super) message_count: i64,
    pub(super) members: HashMap<UserId, Member>,
    /// How many present members it has, known where the batch adds some; elsewhere, how many more than before it.
    pub(super) size: i64,
    /// The ordinals of messages that this batch deleted.
    pub(super) deleted: Vec<i64>,
    /// Whether anything but reading happened.
    active: bool,
    /// Its last change before the batch; zero: it is made in it.
    loaded_seq: Seq,
    /// The last change of `info` or `ended`, and by whom.
    info_change: Option<(Seq, UserId)>,
    /// Whether the room is to be told how far it had come.
    catch_up: bool,
    /// Whether it is in the batch's list of conversations.
    touched: bool,
    events: Vec<Draft>,
}

impl Conversation {
    /// One that was there before the batch.
    pub(super) fn loaded(
        kind: ConversationKind,
        created_by: UserId,
        last_seq: Seq,
        message_count: i64,
    ) -> Self {
        Self {
            kind,
            created_by,
            life: Life::Open,
            info: None,
            last_seq,
            message_count,
            members: HashMap::new(),
            size: 0,
            deleted: Vec::new(),
            active: false,
            loaded_seq: last_seq,
            info_change: None,
            catch_up: false,
            touched: false,
            events: Vec::new(),
        }
    }

    /// One that the batch makes.
    pub(super) fn made(kind: ConversationKind, info: Info, by: UserId) -> Self {
        Self {
            info: Some(info),
            ..Self::loaded(kind, by, Seq(0), 0)
        }
    }

    /// Learns what a room is before the batch changes it.
    pub(super) fn learn(&mut self, info: Info) {
        self.info = Some(info);
    }

    /// What it is beside its messages and members, if that was asked for.
    pub(super) fn info(&self) -> Option<&Info> {
        self.info.as_ref()
    }

    /// Makes something else of a room.
    pub(super) fn inform(&mut self, info: Info, by: UserId) -> Seq {
        let seq = self.advance_quietly();
        self.info = Some(info);
        self.info_change = Some((seq, by));
        seq
    }

    /// Ends a room.
    pub(super) fn end(&mut self, by: UserId) -> Seq {
        let seq = self.advance_quietly();
        self.life = Life::Ended;
        self.info_change = Some((seq, by));
        seq
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
        self.size += i64::from(self.member(row.user_id).is_none());
        self.members
            .insert(row.user_id, Member { row, dirty: true });
    }

    /// Ends a present member's membership, and says as what it was there.
    pub(super) fn part(
        &mut self,
        user: UserId,
        by: UserId,
        seq: Seq,
        at: Timestamp,
    ) -> Option<MemberRole> {
        let member = self.member_mut(user)?;
        let role = member.role;
        member.left_at = Some(at);
        member.removed_by = Some(by);
        member.change_seq = seq;
        self.size -= 1;
        Some(role)
    }

    pub(super) fn announce(&mut self, seq: Seq, at: Timestamp, fact: Fact) {
        let seq = Some(seq);
        self.events.push(Draft::Event(Event { seq, at, fact }));
    }

    /// Sorts what happened here into what to store and what to say.
    pub(super) fn finish(self, id: ConversationId, changes: &mut Changes) -> Option<RoomDraft> {
        let Self {
            kind,
            created_by,
            life,
            info,
            last_seq,
            message_count,
            loaded_seq,
            info_change,
            active,
            size,
            ..
        } = self;
        let joined = |member: &Member| member.row.joined_seq > loaded_seq;
        let crowded = size > MAX_RELISTED && self.members.values().any(joined);
        let ended = life == Life::Ended;
        if loaded_seq == Seq(0) {
            let Info {
                name,
                description,
                max_users,
            } = info.unwrap_or_default();
            changes.created.push(NewConversation {
                id,
                kind,
                name,
                description,
                max_users,
                created_by,
                last_seq,
                message_count,
                info_change,
                ended,
                crowded,
            });
        } else if last_seq > loaded_seq {
            let previous_seq = loaded_seq;
            let info = info_change.zip(info).map(|((seq, by), info)| ChangedInfo {
                seq,
                by,
                name: info.name,
                description: info.description,
                max_users: info.max_users,
                ended,
            });
            changes.changed.push(ChangedConversation {
                id,
                previous_seq,
                last_seq,
                message_count,
                active,
                crowded,
                info,
            });
        }
        let dirty = self.members.into_values().filter(|member| member.dirty);
        changes.members.extend(dirty.map(|member| ChangedMember {
            row: member.row,
            active,
            crowded,
        }));
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
