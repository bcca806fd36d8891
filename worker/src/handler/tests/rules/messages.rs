//! What is said, changed and read.

use confab_shared::id::{ConversationId, MessageId, Seq};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::error::ErrorCode;
use confab_shared::model::event::{Event, Fact};

use super::{ALICE, BOB, CAROL, World, add, answer, edit, group, remove, say, seqs};
use crate::handler::tests::database::{envelope, user};

#[test]
fn a_repeated_send_is_stored_once_and_answered_alike() {
    let mut world = World::new();
    let send = envelope(world.group, user(BOB), say("once"));
    let first = world
        .database
        .run(&[(send.clone(), false), (send.clone(), false)]);
    assert_eq!(first.outcomes[0], first.outcomes[1]);
    let again = world.database.run(&[(send, true)]);
    assert_eq!(first.outcomes[0], again.outcomes[0]);
    let advanced = |event: &Event| event.fact == Fact::Advanced && event.seq == Some(Seq(2));
    assert!(again.rooms[0].events.iter().all(advanced), "{again:?}");
    assert_eq!(world.database.messages.len(), 1);
}

#[test]
fn only_the_sender_edits_and_nobody_edits_a_tombstone() {
    let mut world = World::new();
    let message = world.send(BOB);
    assert_eq!(world.refused(ALICE, edit(message)), ErrorCode::Forbidden);
    let announced = world.batch(vec![
        (BOB, edit(message)),
        (ALICE, Command::DeleteMessage { message }),
        (BOB, edit(message)),
        (BOB, Command::DeleteMessage { message }),
    ]);
    let codes: Vec<_> = announced
        .outcomes
        .iter()
        .map(|outcome| outcome.as_ref().err().map(|no| no.code))
        .collect();
    assert_eq!(codes, [None, None, Some(ErrorCode::NotFound), None]);
    assert_eq!(seqs(&announced), [Some(3), Some(4)]);
    assert_eq!(world.database.messages[&message].content, "");
    assert!(world.one(ALICE, answer(message)).is_ok());
    assert_eq!(world.refused(BOB, edit(MessageId(77))), ErrorCode::NotFound);
}

#[test]
fn a_plain_member_deletes_nothing_of_others() {
    let mut world = World::new();
    let message = world.send(ALICE);
    assert_eq!(
        world.refused(BOB, Command::DeleteMessage { message }),
        ErrorCode::Forbidden
    );
    assert_eq!(world.refused(BOB, add(&[CAROL])), ErrorCode::Forbidden);
    assert_eq!(world.refused(BOB, remove(ALICE)), ErrorCode::Forbidden);
    assert_eq!(world.refused(ALICE, remove(CAROL)), ErrorCode::NotFound);
}

#[test]
fn a_message_of_another_conversation_is_not_to_be_found() {
    let mut world = World::new();
    let message = world.send(ALICE);
    world.group = ConversationId::generate();
    world.one(ALICE, group(&[])).unwrap();
    for command in [
        edit(message),
        Command::DeleteMessage { message },
        Command::MarkRead {
            up_to: Some(message),
        },
        answer(message),
    ] {
        assert_eq!(world.refused(ALICE, command), ErrorCode::NotFound);
    }
}

#[test]
fn a_read_marker_rises_and_never_falls() {
    let mut world = World::new();
    let messages: Vec<MessageId> = (0..4).map(|_| world.send(ALICE)).collect();
    world
        .one(
            ALICE,
            Command::DeleteMessage {
                message: messages[3],
            },
        )
        .unwrap();
    let read = |message: MessageId| Command::MarkRead {
        up_to: Some(message),
    };
    let announced = world.batch(vec![
        (BOB, read(messages[1])),
        (BOB, read(messages[0])),
        (BOB, say("so")),
    ]);
    assert_eq!(announced.outcomes[0], Ok(Outcome::Read { unread: 1 }));
    assert_eq!(announced.outcomes[1], Ok(Outcome::Read { unread: 1 }));
    assert_eq!(seqs(&announced), [Some(7), Some(8)]);
    assert_eq!((world.marker(ALICE), world.marker(BOB)), (4, 5));
    assert_eq!(
        world.one(ALICE, Command::MarkRead { up_to: None }),
        Ok(Outcome::Read { unread: 0 })
    );
    for up_to in [None, Some(messages[0])] {
        let announced = world.batch(vec![(ALICE, Command::MarkRead { up_to })]);
        assert_eq!(announced.outcomes, [Ok(Outcome::Read { unread: 0 })]);
        assert!(announced.rooms.is_empty(), "nothing changed");
    }
    assert_eq!(
        world.database.members[&(world.group, user(ALICE))].read_seq,
        Seq(9)
    );

    let again = envelope(world.group, user(BOB), read(messages[0]));
    let announced = world.database.run(&[(again, true)]);
    assert!(
        announced.rooms[0]
            .events
            .iter()
            .all(|event| event.fact == Fact::Advanced),
        "no echo of a redelivery"
    );
}

#[test]
fn messages_deleted_in_the_same_batch_are_not_unread() {
    let mut world = World::new();
    let messages: Vec<MessageId> = (0..3).map(|_| world.send(ALICE)).collect();
    let announced = world.batch(vec![
        (
            ALICE,
            Command::DeleteMessage {
                message: messages[2],
            },
        ),
        (
            BOB,
            Command::MarkRead {
                up_to: Some(messages[0]),
            },
        ),
        (ALICE, say("new")),
        (
            BOB,
            Command::MarkRead {
                up_to: Some(messages[0]),
            },
        ),
    ]);
    assert_eq!(announced.outcomes[1], Ok(Outcome::Read { unread: 1 }));
    assert_eq!(announced.outcomes[3], Ok(Outcome::Read { unread: 2 }));
}
