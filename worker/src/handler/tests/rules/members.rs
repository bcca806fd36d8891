//! Who is in a conversation, and who decides that.

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::command::{Command, CommandEnvelope, Outcome};
use confab_shared::model::conversation::MemberRole;
use confab_shared::model::error::ErrorCode;
use confab_shared::model::event::UserNotice;

use super::{ALICE, BOB, CAROL, NOBODY, World, add, direct, edit, group, remove, say, seqs, users};
use crate::handler::Announcements;
use crate::handler::tests::database::{BOUNDS, Database, envelope, user};

#[test]
fn a_conversation_is_announced_to_everybody_in_it() {
    let mut world = World {
        database: Database::with_users(4),
        group: ConversationId::generate(),
    };
    let announced = world.batch(vec![
        (ALICE, group(&[BOB, CAROL, BOB, ALICE])),
        (BOB, say("hello")),
    ]);
    let joined: Vec<UserId> = announced.notices.iter().map(|(user, _)| *user).collect();
    assert_eq!(joined, users(&[ALICE, BOB, CAROL]));
    assert!(
        announced
            .notices
            .iter()
            .all(|(_, notice)| matches!(notice, UserNotice::Joined { seq: Seq(1), .. }))
    );
    assert_eq!(seqs(&announced), [Some(1), Some(2)]);
    assert_eq!(
        (world.role(ALICE), world.role(BOB)),
        (Some(MemberRole::Owner), Some(MemberRole::Member))
    );
}

#[test]
fn nobody_is_put_into_a_conversation_who_does_not_exist() {
    let mut world = World {
        database: Database::with_users(4),
        group: ConversationId::generate(),
    };
    assert_eq!(
        world.refused(ALICE, group(&[BOB, NOBODY])),
        ErrorCode::NotFound
    );
    world.one(ALICE, group(&[])).unwrap();
    assert_eq!(
        world.refused(ALICE, add(&[BOB, NOBODY])),
        ErrorCode::NotFound
    );
    assert_eq!(world.refused(BOB, group(&[ALICE])), ErrorCode::Conflict);
}

#[test]
fn a_direct_conversation_is_made_once() {
    let mut world = World {
        database: Database::with_users(4),
        group: ConversationId::direct(user(0), user(1)),
    };
    assert_eq!(
        world.refused(ALICE, direct(CAROL)),
        ErrorCode::ValidationFailed
    );
    assert_eq!(
        world.refused(ALICE, direct(ALICE)),
        ErrorCode::ValidationFailed
    );
    let announced = world.batch(vec![(ALICE, direct(BOB)), (BOB, direct(ALICE))]);
    assert_eq!(
        announced.outcomes,
        [
            Ok(Outcome::Created { fresh: true }),
            Ok(Outcome::Created { fresh: false })
        ]
    );
    assert_eq!(seqs(&announced), [Some(1)]);
    assert_eq!(
        (world.role(ALICE), world.role(BOB)),
        (Some(MemberRole::Member), Some(MemberRole::Member))
    );
    for command in [Command::Leave, add(&[CAROL]), remove(BOB)] {
        assert_eq!(world.refused(ALICE, command), ErrorCode::Forbidden);
    }
}

#[test]
fn to_a_stranger_the_conversation_does_not_exist() {
    let mut world = World::new();
    let message = world.send(ALICE);
    let commands = [
        say("hi"),
        edit(message),
        Command::DeleteMessage { message },
        Command::MarkRead { up_to: None },
        add(&[CAROL]),
        remove(ALICE),
        Command::Leave,
    ];
    for command in commands {
        assert_eq!(world.refused(CAROL, command), ErrorCode::NotFound);
    }
}

#[test]
fn a_removed_members_later_commands_in_the_same_batch_are_refused() {
    let mut world = World::new();
    let announced = world.batch(vec![
        (BOB, say("one")),
        (ALICE, remove(BOB)),
        (BOB, say("two")),
        (ALICE, say("three")),
    ]);
    assert_eq!(
        announced.outcomes[2].clone().unwrap_err().code,
        ErrorCode::NotFound
    );
    assert_eq!(seqs(&announced), [Some(2), Some(3), Some(4)]);
    let removed = UserNotice::Removed {
        conversation: world.group,
        seq: Seq(3),
        by: user(ALICE),
        at: at(&announced, 1),
    };
    assert_eq!(announced.notices, [(user(BOB), removed)]);
}

fn at(announced: &Announcements, index: usize) -> confab_shared::model::timestamp::Timestamp {
    announced.rooms[0].events[index].at
}

#[test]
fn a_redelivered_membership_change_is_told_again_but_not_done_again() {
    let mut world = World::new();
    let commands: Vec<(CommandEnvelope, bool)> = [
        add(&[BOB, CAROL]),
        remove(BOB),
        add(&[CAROL]),
        remove(CAROL),
    ]
    .map(|command| (envelope(world.group, user(ALICE), command), false))
    .into();
    world.database.run(&commands);
    let before = world.database.clone();
    let redelivered: Vec<_> = commands
        .into_iter()
        .map(|(envelope, _)| (envelope, true))
        .collect();
    let announced = world.database.run(&redelivered);
    assert_eq!(world.database, before);
    // Both are gone by now, whatever each command did in its time.
    assert!(
        announced
            .notices
            .iter()
            .all(|(_, notice)| matches!(notice, UserNotice::Removed { .. }))
    );
    assert_eq!(announced.notices.len(), 5);
    assert_eq!(
        seqs(&announced),
        [Some(world.database.conversations[&world.group].last_seq.0)]
    );
}

#[test]
fn who_comes_back_starts_with_everything_read() {
    let mut world = World::new();
    world.send(BOB);
    world.one(ALICE, remove(BOB)).unwrap();
    world.send(ALICE);
    let announced = world.batch(vec![
        (ALICE, add(&[BOB, BOB])),
        (ALICE, say("welcome back")),
    ]);
    assert_eq!(seqs(&announced), [Some(5), Some(6)]);
    assert_eq!(world.database.unread(world.group, user(BOB)), 1);
}

#[test]
fn ownership_is_passed_to_the_longest_standing() {
    let mut world = World::new();
    world.one(ALICE, add(&[CAROL])).unwrap();
    // An admin goes before members who were there earlier.
    world
        .database
        .members
        .get_mut(&(world.group, user(CAROL)))
        .unwrap()
        .role = MemberRole::Admin;
    assert_eq!(world.refused(CAROL, remove(ALICE)), ErrorCode::Forbidden);
    world.one(ALICE, remove(ALICE)).unwrap();
    assert_eq!(
        (world.role(ALICE), world.role(CAROL)),
        (None, Some(MemberRole::Owner))
    );
    // The heir goes in the same batch as the one who inherits next.
    let announced = world.batch(vec![
        (CAROL, Command::Leave),
        (BOB, add(&[ALICE])),
        (BOB, Command::Leave),
    ]);
    assert!(
        announced.outcomes.iter().all(Result::is_ok),
        "{announced:?}"
    );
    assert_eq!(world.role(ALICE), Some(MemberRole::Owner));
    world.one(ALICE, Command::Leave).unwrap();
    assert_eq!(world.refused(ALICE, say("anybody?")), ErrorCode::NotFound);
}

#[test]
fn a_group_has_so_many_members_and_no_more() {
    let mut world = World {
        database: Database::with_users(400),
        group: ConversationId::generate(),
    };
    let numbers = |range: std::ops::Range<u128>| range.collect::<Vec<u128>>();
    // As many as a request may name beside whoever makes it.
    assert_eq!(
        world.refused(ALICE, group(&numbers(1..258))),
        ErrorCode::ValidationFailed
    );
    world.one(ALICE, group(&numbers(1..257))).unwrap();
    let most = u128::try_from(BOUNDS.max_members).unwrap();
    assert_eq!(
        world.refused(ALICE, add(&numbers(257..most + 1))),
        ErrorCode::Conflict
    );
    world.one(ALICE, add(&numbers(257..most))).unwrap();
    assert_eq!(world.refused(ALICE, add(&[most])), ErrorCode::Conflict);
    // Who is there already takes no room, and who leaves makes some, within a batch as well.
    world.one(ALICE, add(&[BOB, 299])).unwrap();
    let announced = world.batch(vec![
        (ALICE, remove(BOB)),
        (CAROL, Command::Leave),
        (ALICE, add(&[BOB, most])),
        (ALICE, add(&[CAROL])),
    ]);
    let codes: Vec<Option<ErrorCode>> = announced
        .outcomes
        .iter()
        .map(|outcome| outcome.as_ref().err().map(|refusal| refusal.code))
        .collect();
    assert_eq!(codes, [None, None, None, Some(ErrorCode::Conflict)]);
}
