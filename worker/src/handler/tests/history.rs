//! Whole histories, cut into batches anywhere and redelivered from anywhere, against a model that counts on its fingers.

use std::collections::HashMap;

use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::command::{Command, CommandEnvelope, Outcome};
use confab_shared::model::content::Content;
use confab_shared::model::conversation::{ConversationKind, MemberRole};
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::Fact;
use proptest::prelude::*;

use super::database::{Database, envelope, user};
use crate::handler::Announcements;

const USERS: u128 = 4;

/// What somebody does. Messages are named by how far back they are.
#[derive(Debug, Clone)]
enum Act {
    Create(Vec<u8>),
    Send { reply: Option<u8> },
    Edit(u8),
    Delete(u8),
    Read(Option<u8>),
    Add(Vec<u8>),
    Remove(u8),
    Leave,
}

fn act() -> impl Strategy<Value = Act> {
    let somebody = 0..5_u8;
    prop_oneof![
        1 => prop::collection::vec(somebody.clone(), 0..3).prop_map(Act::Create),
        6 => prop::option::weighted(0.2, 0..6_u8).prop_map(|reply| Act::Send { reply }),
        2 => (0..6_u8).prop_map(Act::Edit),
        2 => (0..6_u8).prop_map(Act::Delete),
        3 => prop::option::of(0..6_u8).prop_map(Act::Read),
        2 => prop::collection::vec(somebody.clone(), 1..3).prop_map(Act::Add),
        1 => somebody.prop_map(Act::Remove),
        1 => Just(Act::Leave),
    ]
}

/// One conversation, as a person with pencil and paper would keep it.
#[derive(Debug, Default)]
struct Naive {
    exists: bool,
    /// Present members in the order they joined, each with a role and the messages it has not read.
    members: Vec<(UserId, MemberRole, Vec<MessageId>)>,
    messages: HashMap<MessageId, (UserId, bool)>,
    changes: i64,
}

impl Naive {
    fn role(&self, who: UserId) -> Option<MemberRole> {
        self.members
            .iter()
            .find(|(member, ..)| *member == who)
            .map(|(_, role, _)| *role)
    }

    fn unread(&mut self, who: UserId) -> &mut Vec<MessageId> {
        &mut self
            .members
            .iter_mut()
            .find(|(member, ..)| *member == who)
            .unwrap()
            .2
    }

    /// Does what the command asks, or says why not. `sent` is the number that a sent message got.
    fn apply(
        &mut self,
        actor: UserId,
        command: &Command,
        sent: Option<MessageId>,
    ) -> Result<Option<usize>, ErrorCode> {
        if let Command::CreateConversation { participants, .. } = command {
            return self.create(actor, participants);
        }
        let role = self.role(actor).ok_or(ErrorCode::NotFound)?;
        match command {
            Command::CreateConversation { .. } => unreachable!(),
            Command::SendMessage { reply_to, .. } => {
                if let Some(answered) = reply_to {
                    self.messages.get(answered).ok_or(ErrorCode::NotFound)?;
                }
                let id = sent.unwrap();
                self.messages.insert(id, (actor, false));
                for (member, _, unread) in &mut self.members {
                    if *member == actor {
                        unread.clear();
                    } else {
                        unread.push(id);
                    }
                }
                self.changes += 1;
            }
            Command::EditMessage { message, .. } => match self.messages.get(message) {
                Some((sender, false)) if *sender == actor => self.changes += 1,
                Some((_, false)) => return Err(ErrorCode::Forbidden),
                _ => return Err(ErrorCode::NotFound),
            },
            Command::DeleteMessage { message } => {
                let (sender, deleted) =
                    self.messages.get_mut(message).ok_or(ErrorCode::NotFound)?;
                if *sender != actor && !role.moderates() {
                    return Err(ErrorCode::Forbidden);
                }
                self.changes += i64::from(!*deleted);
                *deleted = true;
                for (_, _, unread) in &mut self.members {
                    unread.retain(|id| id != message);
                }
            }
            Command::MarkRead { up_to } => {
                if let Some(message) = up_to {
                    self.messages.get(message).ok_or(ErrorCode::NotFound)?;
                }
                let last = up_to.unwrap_or(MessageId(i64::MAX));
                self.unread(actor).retain(|id| *id > last);
                return Ok(Some(self.unread(actor).len()));
            }
            Command::AddMembers { users } => {
                if !role.moderates() {
                    return Err(ErrorCode::Forbidden);
                }
                if users.iter().any(|new| *new >= user(USERS)) {
                    return Err(ErrorCode::NotFound);
                }
                let before = self.members.len();
                self.join(users);
                self.changes += i64::from(self.members.len() > before);
            }
            Command::RemoveMember { user } if *user == actor => self.depart(actor),
            Command::RemoveMember { user } => {
                if !role.moderates() {
                    return Err(ErrorCode::Forbidden);
                }
                let target = self.role(*user).ok_or(ErrorCode::NotFound)?;
                if target == MemberRole::Owner && role != MemberRole::Owner {
                    return Err(ErrorCode::Forbidden);
                }
                self.depart(*user);
            }
            Command::Leave => self.depart(actor),
        }
        Ok(None)
    }

    fn create(
        &mut self,
        actor: UserId,
        participants: &[UserId],
    ) -> Result<Option<usize>, ErrorCode> {
        if participants.iter().any(|other| *other >= user(USERS)) {
            return Err(ErrorCode::NotFound);
        }
        if self.exists {
            return Err(ErrorCode::Conflict);
        }
        self.exists = true;
        self.members.push((actor, MemberRole::Owner, Vec::new()));
        self.join(participants);
        self.changes = 1;
        Ok(None)
    }

    /// Who joins together is ranked by id, as rows with one `joined_seq` are.
    fn join(&mut self, users: &[UserId]) {
        let mut users = users.to_vec();
        users.sort_unstable();
        for new in users {
            if self.role(new).is_none() {
                self.members.push((new, MemberRole::Member, Vec::new()));
            }
        }
    }

    fn depart(&mut self, who: UserId) {
        self.changes += 1;
        let owned = self.role(who) == Some(MemberRole::Owner);
        self.members.retain(|(member, ..)| *member != who);
        if owned && let Some((_, role, _)) = self.members.first_mut() {
            *role = MemberRole::Owner;
        }
    }
}

/// An act as a command. Messages are those stored before the batch, or none: nobody knows a number before its commit.
fn command(act: &Act, database: &Database) -> Command {
    let back = |steps: u8| {
        let newest = i64::try_from(database.messages.len()).unwrap();
        let number = newest - i64::from(steps);
        MessageId(if number > 0 { number } else { i64::MAX })
    };
    let users = |numbers: &[u8]| numbers.iter().map(|n| user(u128::from(*n))).collect();
    let content = || Content::parse("text").unwrap();
    match act {
        Act::Create(others) => Command::CreateConversation {
            kind: ConversationKind::Group,
            name: None,
            participants: users(others),
        },
        Act::Send { reply } => Command::SendMessage {
            content: content(),
            message_type: "text".into(),
            reply_to: reply.map(back),
            temp_id: None,
        },
        Act::Edit(steps) => Command::EditMessage {
            message: back(*steps),
            content: content(),
        },
        Act::Delete(steps) => Command::DeleteMessage {
            message: back(*steps),
        },
        Act::Read(steps) => Command::MarkRead {
            up_to: steps.map(back),
        },
        Act::Add(others) => Command::AddMembers {
            users: users(others),
        },
        Act::Remove(other) => Command::RemoveMember {
            user: user(u128::from(*other)),
        },
        Act::Leave => Command::Leave,
    }
}

/// Runs a batch and compares every answer and every place in the order with the model.
fn run_and_compare(
    database: &mut Database,
    naive: &mut Naive,
    batch: &[(CommandEnvelope, bool)],
) -> Result<Vec<(CommandEnvelope, Outcome)>, TestCaseError> {
    let first = naive.changes;
    let announced = database.run(batch);
    let mut accepted = Vec::new();
    for ((envelope, _), outcome) in batch.iter().zip(&announced.outcomes) {
        let sent = match outcome {
            Ok(Outcome::Stored { message, .. }) => Some(*message),
            // Were the model to accept it, the comparison below fails.
            _ => Some(MessageId(i64::MAX)),
        };
        let expected = naive.apply(envelope.actor, &envelope.command, sent);
        let unread = match outcome {
            Ok(Outcome::Read { unread }) => Some(usize::try_from(*unread).unwrap()),
            _ => None,
        };
        let code = |rejection: &Rejection| rejection.code;
        prop_assert_eq!(
            outcome.as_ref().map(|_| unread).map_err(code),
            expected,
            "{:?}",
            envelope
        );
        if let Ok(outcome) = outcome {
            accepted.push((envelope.clone(), outcome.clone()));
        }
    }
    let reads = places_of(&announced, true).len();
    naive.changes += i64::try_from(reads).unwrap();
    let expected: Vec<i64> = (first + 1..=naive.changes).collect();
    prop_assert_eq!(
        places_of(&announced, false),
        expected,
        "no gap, no repetition, in order"
    );
    Ok(accepted)
}

/// The places in the order that were announced: of all facts, or of readings alone.
fn places_of(announced: &Announcements, readings: bool) -> Vec<i64> {
    let events = announced.rooms.iter().flat_map(|room| &room.events);
    events
        .filter(|event| event.fact != Fact::Advanced)
        .filter(|event| !readings || matches!(event.fact, Fact::MessagesRead { .. }))
        .filter_map(|event| event.seq.map(|seq| seq.0))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_history_agrees_with_the_model_however_it_is_cut(
        acts in prop::collection::vec((0..5_u8, act(), prop::bool::weighted(0.4)), 1..60),
        redeliver in any::<prop::sample::Index>(),
    ) {
        let conversation = ConversationId::generate();
        let mut database = Database::with_users(USERS);
        let mut naive = Naive::default();
        let creation = command(&Act::Create(vec![1, 2]), &database);
        let mut batch = vec![(envelope(conversation, user(0), creation), false)];
        let mut accepted = Vec::new();
        for (actor, act, cut) in &acts {
            if *cut {
                accepted.extend(run_and_compare(&mut database, &mut naive, &batch)?);
                batch.clear();
            }
            // The model knows one conversation of accounts that exist; a fifth user is a stranger without an account.
            let actor = user(u128::from(*actor));
            if matches!(act, Act::Create(_)) && actor >= user(USERS) {
                continue;
            }
            batch.push((envelope(conversation, actor, command(act, &database)), false));
        }
        accepted.extend(run_and_compare(&mut database, &mut naive, &batch)?);

        let row = &database.conversations[&conversation];
        prop_assert_eq!(row.last_seq.0, naive.changes);
        for (member, role, unread) in &naive.members {
            let row = &database.members[&(conversation, *member)];
            prop_assert_eq!((row.left_at, row.role), (None, *role));
            prop_assert_eq!(database.unread(conversation, *member), unread.len());
        }
        let present = database.members.values().filter(|row| row.left_at.is_none()).count();
        prop_assert_eq!(present, naive.members.len());

        // Whatever took effect takes none again, from wherever the stream is read anew, and is answered as before.
        let from = redeliver.index(accepted.len().max(1));
        let again: Vec<_> = accepted.iter().skip(from).map(|(envelope, _)| (envelope.clone(), true)).collect();
        let before = database.clone();
        let announced = database.run(&again);
        prop_assert_eq!(places_of(&announced, false), Vec::<i64>::new());
        for ((envelope, first), outcome) in accepted.iter().skip(from).zip(&announced.outcomes) {
            let reading = matches!(envelope.command, Command::MarkRead { .. });
            // A marker is its own memory: it answers with what is unread now, and only to a member.
            prop_assert!(reading || outcome.as_ref() == Ok(first), "{:?} {:?}", first, outcome);
        }
        prop_assert_eq!(database, before);
    }
}
