//! A conversation as PostgreSQL has it, naively: every change with what was so after it.

use std::sync::Arc;

use confab_shared::id::{ConversationId, MessageId, Seq, UserId};
use confab_shared::model::account::{AccountRole, Profile};
use confab_shared::model::conversation::{MemberRole, Participant};
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::message::Message;
use confab_shared::model::timestamp::Timestamp;

use super::USERS;
use crate::hub::test_bench::event;

/// How much a member has not read, and the last message with its last change.
pub(super) type Known = (i64, Option<(i64, bool, String)>);

/// The conversation as PostgreSQL has it.
pub(super) struct Truth {
    pub(super) conversation: ConversationId,
    pub(super) people: Vec<Arc<Profile>>,
    pub(super) events: Vec<Event>,
    pub(super) messages: Vec<Message>,
    pub(super) read: Vec<i64>,
    pub(super) present: Vec<bool>,
    /// What was so after each change.
    pub(super) states: Vec<Vec<Known>>,
}

impl Truth {
    pub(super) fn new() -> Self {
        let people = (0..USERS).map(|_| {
            Arc::new(Profile {
                id: UserId::generate(),
                username: "ann".into(),
                name: "Ann".into(),
                avatar: None,
                account: AccountRole::User,
            })
        });
        let mut truth = Self {
            conversation: ConversationId::generate(),
            people: people.collect(),
            events: Vec::new(),
            messages: Vec::new(),
            read: vec![0; USERS],
            present: vec![true; USERS],
            states: Vec::new(),
        };
        truth.states.push(truth.state());
        let by = truth.people[0].id;
        truth.commit(Fact::ConversationCreated { by });
        truth
    }

    pub(super) fn seq(&self) -> Seq {
        Seq(i64::try_from(self.events.len()).unwrap())
    }

    pub(super) fn next(&self) -> Seq {
        self.seq().next()
    }

    pub(super) fn unread(&self, user: usize) -> i64 {
        let later = self
            .messages
            .iter()
            .filter(|message| message.ordinal > self.read[user] && message.deleted_at.is_none());
        i64::try_from(later.count()).unwrap()
    }

    pub(super) fn state(&self) -> Vec<Known> {
        let last = self.messages.last().map(|last| {
            (
                last.id.0,
                last.deleted_at.is_some(),
                last.shown_content().to_owned(),
            )
        });
        (0..USERS)
            .map(|user| (self.unread(user), last.clone()))
            .collect()
    }

    pub(super) fn commit(&mut self, fact: Fact) {
        let seq = self.next();
        self.events.push(event(seq.0, fact));
        self.states.push(self.state());
    }

    pub(super) fn send(&mut self, user: usize) {
        let ordinal = i64::try_from(self.messages.len()).unwrap() + 1;
        let message = Message {
            id: MessageId(ordinal),
            conversation: self.conversation,
            seq: self.next(),
            change_seq: self.next(),
            ordinal,
            sender: self.people[user].clone(),
            message_type: "text".into(),
            content: "first".into(),
            reply_to: None,
            created_at: Timestamp::now(),
            edited_at: None,
            deleted_at: None,
        };
        self.messages.push(message.clone());
        self.read[user] = ordinal;
        self.commit(Fact::MessageStored {
            message,
            temp_id: None,
        });
    }

    /// A message, counted back from the last one.
    pub(super) fn edit(&mut self, back: usize) {
        let (seq, count) = (self.next(), self.messages.len());
        let Some(index) = count.checked_sub(back + 1) else {
            return;
        };
        let message = &mut self.messages[index];
        if message.deleted_at.is_some() {
            return;
        }
        message.content = format!("changed by {seq}").into();
        (message.change_seq, message.edited_at) = (seq, Some(Timestamp::now()));
        let message = message.clone();
        self.commit(Fact::MessageEdited { message });
    }

    pub(super) fn delete(&mut self, back: usize) {
        let (seq, count) = (self.next(), self.messages.len());
        let Some(index) = count.checked_sub(back + 1) else {
            return;
        };
        let message = &mut self.messages[index];
        if message.deleted_at.is_some() {
            return;
        }
        (message.change_seq, message.deleted_at) = (seq, Some(Timestamp::now()));
        message.content = "".into();
        let (message, by) = (message.id, message.sender.id);
        self.commit(Fact::MessageDeleted { message, by });
    }

    pub(super) fn mark_read(&mut self, user: usize, back: usize) {
        let count = self.messages.len();
        let read_count = i64::try_from(count.saturating_sub(back)).unwrap();
        if read_count <= self.read[user] {
            return;
        }
        self.read[user] = read_count;
        let user = self.people[user].id;
        self.commit(Fact::MessagesRead {
            user,
            message: None,
            read_count,
        });
    }

    pub(super) fn remove(&mut self, user: usize) {
        if std::mem::replace(&mut self.present[user], false) {
            let (user, by) = (self.people[user].id, self.people[0].id);
            self.commit(Fact::MemberRemoved { user, by });
        }
    }

    pub(super) fn add(&mut self, user: usize) {
        if !std::mem::replace(&mut self.present[user], true) {
            self.read[user] = i64::try_from(self.messages.len()).unwrap();
            let member = Participant {
                profile: Profile::clone(&self.people[user]),
                role: MemberRole::Member,
                is_online: false,
            };
            self.commit(Fact::MembersAdded {
                members: vec![member],
            });
        }
    }

    /// What is found when it is read back later: of each row, what it is now, and its last change.
    pub(super) fn changes(&self, after: Seq) -> Vec<Event> {
        let is_last = |found: &Event, same: &dyn Fn(&Fact) -> bool| {
            let last = self.events.iter().rfind(|event| same(&event.fact));
            last.is_some_and(|last| last.seq == found.seq)
        };
        let present = |user: UserId| {
            let index = self.people.iter().position(|one| one.id == user).unwrap();
            self.present[index]
        };
        let later = self.events.iter().filter(|event| event.seq > Some(after));
        later
            .filter_map(|event| {
                let mut event = event.clone();
                let found = event.clone();
                let stays = match &mut event.fact {
                    Fact::MessageStored { message, .. } => {
                        *message = self.now(message.id);
                        true
                    }
                    Fact::MessageEdited { message } => {
                        *message = self.now(message.id);
                        Some(message.change_seq) == event.seq
                    }
                    Fact::MessagesRead { user, .. } => {
                        let user = *user;
                        is_last(&found, &|fact| {
                            matches!(fact, Fact::MessagesRead { user: other, .. } if *other == user)
                        })
                    }
                    Fact::MemberRemoved { user, .. } => {
                        let user = *user;
                        !present(user)
                            && is_last(&found, &|fact| {
                                matches!(fact, Fact::MemberRemoved { user: other, .. } if *other == user)
                            })
                    }
                    Fact::MembersAdded { members } => {
                        let user = members[0].profile.id;
                        present(user)
                            && is_last(&found, &|fact| {
                                matches!(fact, Fact::MembersAdded { members } if members[0].profile.id == user)
                            })
                    }
                    _ => true,
                };
                stays.then_some(event)
            })
            .collect()
    }

    pub(super) fn now(&self, id: MessageId) -> Message {
        let mut all = self.messages.iter();
        all.find(|message| message.id == id).unwrap().clone()
    }
}
