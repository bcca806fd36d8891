//! Rooms: who may do what in a place that everybody may enter.

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::account::AccountRole;
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::Slug;
use confab_shared::model::error::ErrorCode;
use confab_shared::model::event::{Event, Fact};

use super::{
    ALICE, BOB, CAROL, NOBODY, World, add, answer, direct, edit, group, remove, say, seqs,
};
use crate::handler::tests::database::{Database, envelope, user};

const ADMIN: u128 = 3;
const GUEST: u128 = 7;

fn room() -> Command {
    Command::CreateRoom {
        slug: Slug::parse("support").unwrap(),
        name: "Support".to_owned(),
        description: Some("Ask here".to_owned()),
        max_users: Some(10),
    }
}

fn rename(name: &str) -> Command {
    Command::UpdateRoom {
        name: Some(name.to_owned()),
        description: None,
        max_users: None,
    }
}

/// Alice's room.
fn world() -> World {
    let mut database = Database::with_users(4);
    database.account(user(ADMIN), AccountRole::Admin);
    database.account(user(GUEST), AccountRole::Guest);
    let mut world = World {
        database,
        group: ConversationId::generate(),
    };
    assert_eq!(
        world.one(ALICE, room()),
        Ok(Outcome::Created { fresh: true })
    );
    world
}

#[test]
fn a_room_is_made_once_and_has_no_members() {
    let mut world = world();
    assert!(world.database.members.is_empty());
    assert_eq!(
        world.one(BOB, room()),
        Ok(Outcome::Created { fresh: false })
    );
    world.group = ConversationId::generate();
    let announced = world.batch(vec![(GUEST, room()), (NOBODY, room()), (BOB, group(&[]))]);
    assert_eq!(seqs(&announced), [Some(1)]);
    assert!(announced.notices.is_empty());
    let codes: Vec<_> = announced
        .outcomes
        .iter()
        .map(|outcome| outcome.as_ref().err().map(|no| no.code))
        .collect();
    assert_eq!(
        codes,
        [None, Some(ErrorCode::NotFound), Some(ErrorCode::Conflict)]
    );
    world.group = ConversationId::generate();
    world.one(BOB, group(&[])).unwrap();
    assert_eq!(world.refused(BOB, room()), ErrorCode::Conflict);
    assert_eq!(world.refused(BOB, rename("mine")), ErrorCode::NotFound);
    assert_eq!(world.refused(BOB, Command::DeleteRoom), ErrorCode::NotFound);
}

#[test]
fn everybody_speaks_in_a_room_and_nobody_joins_it() {
    let mut world = world();
    let said = world.send(GUEST);
    assert!(world.one(BOB, answer(said)).is_ok());
    assert_eq!(world.refused(NOBODY, say("hm")), ErrorCode::NotFound);
    assert!(world.one(GUEST, edit(said)).is_ok());
    assert_eq!(world.refused(BOB, edit(said)), ErrorCode::Forbidden);
    for command in [add(&[BOB]), remove(BOB), remove(ALICE), Command::Leave] {
        assert_eq!(world.refused(ALICE, command), ErrorCode::Conflict);
    }
    assert!(world.database.members.is_empty());
}

#[test]
fn reading_a_room_leaves_no_trace() {
    let mut world = world();
    let said = world.send(BOB);
    let before = world.database.clone();
    for up_to in [None, Some(said)] {
        let announced = world.batch(vec![(CAROL, Command::MarkRead { up_to })]);
        assert_eq!(announced.outcomes[0], Ok(Outcome::Read { unread: 0 }));
        assert!(announced.rooms.is_empty());
    }
    assert_eq!(world.database, before);
}

#[test]
fn its_creator_and_admins_moderate_a_room() {
    let mut world = world();
    let [first, second, third] = [world.send(BOB), world.send(BOB), world.send(BOB)];
    let delete = |message| Command::DeleteMessage { message };
    assert_eq!(world.refused(CAROL, delete(first)), ErrorCode::Forbidden);
    assert_eq!(world.refused(GUEST, delete(first)), ErrorCode::Forbidden);
    assert!(world.one(ALICE, delete(first)).is_ok());
    assert!(world.one(ADMIN, delete(second)).is_ok());
    assert!(world.one(BOB, delete(third)).is_ok());
}

#[test]
fn a_change_says_what_the_room_is_now() {
    let mut world = world();
    assert_eq!(world.refused(BOB, rename("Mine")), ErrorCode::Forbidden);
    let narrower = Command::UpdateRoom {
        name: None,
        description: Some(None),
        max_users: Some(Some(2)),
    };
    let announced = world.batch(vec![
        (ALICE, rename("Support")),
        (ALICE, rename("Help")),
        (ADMIN, narrower),
    ]);
    assert!(announced.outcomes.iter().all(|it| *it == Ok(Outcome::Done)));
    let facts: Vec<_> = announced.rooms[0]
        .events
        .iter()
        .map(|Event { seq, fact, .. }| (*seq, fact.clone()))
        .collect();
    let updated = |by, description: Option<&str>, max_users| Fact::RoomUpdated {
        by: user(by),
        name: "Help".into(),
        description: description.map(Into::into),
        max_users,
    };
    assert_eq!(
        facts,
        [
            (Some(Seq(2)), updated(ALICE, Some("Ask here"), Some(10))),
            (Some(Seq(3)), updated(ADMIN, None, Some(2))),
        ]
    );
    let row = &world.database.conversations[&world.group];
    assert_eq!(row.info, (Some("Help".to_owned()), None, Some(2)));
}

#[test]
fn a_change_that_changed_nothing_changes_nothing_later() {
    let mut world = world();
    let same = envelope(world.group, user(ALICE), rename("Support"));
    let batch = [
        (same.clone(), false),
        (envelope(world.group, user(ALICE), rename("Help")), false),
    ];
    world.database.run(&batch);
    let again = world.database.run(&[(same, true)]);
    assert_eq!(again.outcomes, [Ok(Outcome::Done)]);
    let row = &world.database.conversations[&world.group];
    assert_eq!(row.info.0.as_deref(), Some("Help"));
}

#[test]
fn nothing_happens_in_a_room_that_has_ended() {
    let mut world = world();
    let said = envelope(world.group, user(BOB), say("last words"));
    let end = envelope(world.group, user(ALICE), Command::DeleteRoom);
    assert_eq!(
        world.refused(BOB, Command::DeleteRoom),
        ErrorCode::Forbidden
    );
    let announced = world.database.run(&[
        (said.clone(), false),
        (end.clone(), false),
        (envelope(world.group, user(BOB), say("too late")), false),
    ]);
    assert_eq!(
        announced.outcomes[2].as_ref().unwrap_err().code,
        ErrorCode::NotFound
    );
    assert_eq!(
        announced.rooms[0].events.last().map(|event| &event.fact),
        Some(&Fact::RoomDeleted { by: user(ALICE) })
    );
    for command in [
        room(),
        rename("again"),
        say("hello?"),
        Command::MarkRead { up_to: None },
        Command::DeleteRoom,
        Command::Leave,
        group(&[]),
    ] {
        assert_eq!(world.refused(ALICE, command), ErrorCode::NotFound);
    }
    // What took effect before is answered as before.
    let again = world.database.run(&[(said, true), (end, true)]);
    assert_eq!(again.outcomes[..], announced.outcomes[..2]);
}

#[test]
fn a_room_made_changed_and_ended_at_once_is_stored_as_it_ended() {
    let mut world = world();
    world.group = ConversationId::generate();
    let announced = world.batch(vec![
        (BOB, room()),
        (BOB, rename("Brief")),
        (BOB, Command::DeleteRoom),
    ]);
    assert_eq!(seqs(&announced), [Some(1), Some(2), Some(3)]);
    let row = &world.database.conversations[&world.group];
    assert_eq!((row.info.0.as_deref(), row.ended), (Some("Brief"), true));
}

#[test]
fn the_systems_rooms_stay() {
    let mut world = world();
    world.database.account(UserId::SYSTEM, AccountRole::Guest);
    world.group = ConversationId::LOBBY;
    let made = envelope(world.group, UserId::SYSTEM, room());
    world.database.run(&[(made, false)]);
    assert_eq!(
        world.refused(BOB, Command::DeleteRoom),
        ErrorCode::Forbidden
    );
    assert_eq!(
        world.refused(ADMIN, Command::DeleteRoom),
        ErrorCode::Conflict
    );
    assert!(world.one(ADMIN, rename("Foyer")).is_ok());
}

#[test]
fn guests_stay_in_rooms() {
    let mut world = world();
    world.group = ConversationId::generate();
    assert_eq!(world.refused(GUEST, group(&[BOB])), ErrorCode::Forbidden);
    assert_eq!(world.refused(BOB, group(&[GUEST])), ErrorCode::NotFound);
    world.group = ConversationId::direct(user(GUEST), user(BOB));
    assert_eq!(world.refused(GUEST, direct(BOB)), ErrorCode::Forbidden);
    assert_eq!(world.refused(BOB, direct(GUEST)), ErrorCode::NotFound);
}
