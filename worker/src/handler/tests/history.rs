//! Whole histories, cut into batches anywhere and redelivered from anywhere, against a model that counts on its fingers.

mod naive;

use confab_shared::id::{ConversationId, MessageId};
use confab_shared::model::account::AccountRole;
use confab_shared::model::command::{Command, CommandEnvelope, Outcome};
use confab_shared::model::content::{Content, Slug};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::Rejection;
use confab_shared::model::event::Fact;
use proptest::prelude::*;

use naive::Naive;

use super::database::{Database, envelope, user};
use crate::handler::Announcements;

/// Accounts are 0 to 3. Then come a stranger without an account, and a guest.
const USERS: u128 = 4;
const ADMIN: u8 = 3;
const GUEST: u8 = 5;

/// What somebody does. Messages are named by how far back they are.
#[derive(Debug, Clone)]
enum Act {
    Create(Vec<u8>),
    Send {
        reply: Option<u8>,
    },
    Edit(u8),
    Delete(u8),
    Read(Option<u8>),
    Add(Vec<u8>),
    Remove(u8),
    Leave,
    CreateRoom,
    Update {
        name: Option<u8>,
        description: Option<bool>,
        /// Zero takes the limit away.
        max_users: Option<u8>,
    },
    End,
}

fn act() -> impl Strategy<Value = Act> {
    let somebody = 0..6_u8;
    let update = (
        prop::option::of(0..2_u8),
        prop::option::of(any::<bool>()),
        prop::option::of(0..3_u8),
    );
    prop_oneof![
        1 => prop::collection::vec(somebody.clone(), 0..3).prop_map(Act::Create),
        6 => prop::option::weighted(0.2, 0..6_u8).prop_map(|reply| Act::Send { reply }),
        2 => (0..6_u8).prop_map(Act::Edit),
        2 => (0..6_u8).prop_map(Act::Delete),
        3 => prop::option::of(0..6_u8).prop_map(Act::Read),
        2 => prop::collection::vec(somebody.clone(), 1..3).prop_map(Act::Add),
        1 => somebody.prop_map(Act::Remove),
        1 => Just(Act::Leave),
        1 => Just(Act::CreateRoom),
        2 => update.prop_map(|(name, description, max_users)| Act::Update { name, description, max_users }),
        1 => prop::bool::weighted(0.2).prop_map(|end| if end { Act::End } else { Act::Leave }),
    ]
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
        Act::CreateRoom => Command::CreateRoom {
            slug: Slug::of_name("room"),
            name: "room".to_owned(),
            description: None,
            max_users: None,
        },
        Act::Update {
            name,
            description,
            max_users,
        } => Command::UpdateRoom {
            name: name.map(|n| format!("name {n}")),
            description: description.map(|given| given.then(|| "described".to_owned())),
            max_users: max_users.map(|size| (size > 0).then_some(i32::from(size))),
        },
        Act::End => Command::DeleteRoom,
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
        begins_as_room in any::<bool>(),
        acts in prop::collection::vec((0..6_u8, act(), prop::bool::weighted(0.4)), 1..60),
        redeliver in any::<prop::sample::Index>(),
    ) {
        let conversation = ConversationId::generate();
        let mut database = Database::with_users(USERS);
        database.account(user(u128::from(ADMIN)), AccountRole::Admin);
        database.account(user(u128::from(GUEST)), AccountRole::Guest);
        let mut naive = Naive::default();
        let first = if begins_as_room { Act::CreateRoom } else { Act::Create(vec![1, 2]) };
        let creation = command(&first, &database);
        let mut batch = vec![(envelope(conversation, user(0), creation), false)];
        let mut accepted = Vec::new();
        for (actor, act, cut) in &acts {
            if *cut {
                accepted.extend(run_and_compare(&mut database, &mut naive, &batch)?);
                batch.clear();
            }
            let actor = user(u128::from(*actor));
            batch.push((envelope(conversation, actor, command(act, &database)), false));
        }
        accepted.extend(run_and_compare(&mut database, &mut naive, &batch)?);

        let row = &database.conversations[&conversation];
        prop_assert_eq!(row.last_seq.0, naive.changes);
        prop_assert_eq!((&row.info, row.ended), (&naive.info, naive.ended));
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
