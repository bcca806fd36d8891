//! The rules, one by one.

use confab_shared::id::{ConversationId, MessageId, Seq, UserId};
use confab_shared::model::command::{Command, CommandEnvelope, Outcome};
use confab_shared::model::content::{Content, TempId};
use confab_shared::model::conversation::{ConversationKind, MemberRole};
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::{Event, Fact, UserNotice};

use super::database::{Database, envelope, user};
use crate::handler::Announcements;

const ALICE: u128 = 0;
const BOB: u128 = 1;
const CAROL: u128 = 2;
const NOBODY: u128 = 9;

struct World {
    database: Database,
    group: ConversationId,
}

impl World {
    /// Alice's group with Bob.
    fn new() -> Self {
        let mut world = Self {
            database: Database::with_users(4),
            group: ConversationId::generate(),
        };
        assert_eq!(
            world.one(ALICE, group(&[BOB])),
            Ok(Outcome::Created { fresh: true })
        );
        world
    }

    fn batch(&mut self, commands: Vec<(u128, Command)>) -> Announcements {
        let group = self.group;
        let batch: Vec<_> = commands
            .into_iter()
            .map(|(actor, command)| (envelope(group, user(actor), command), false))
            .collect();
        self.database.run(&batch)
    }

    fn one(&mut self, actor: u128, command: Command) -> Result<Outcome, Rejection> {
        self.batch(vec![(actor, command)]).outcomes.remove(0)
    }

    fn refused(&mut self, actor: u128, command: Command) -> ErrorCode {
        let before = self.database.clone();
        let announced = self.batch(vec![(actor, command)]);
        assert_eq!(self.database, before, "a refusal changes nothing");
        assert!(
            announced.rooms.is_empty() && announced.notices.is_empty(),
            "a refusal is between us"
        );
        announced.outcomes[0].clone().unwrap_err().code
    }

    fn send(&mut self, actor: u128) -> MessageId {
        match self.one(actor, say("hi")) {
            Ok(Outcome::Stored { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    fn role(&self, member: u128) -> Option<MemberRole> {
        let row = self.database.members.get(&(self.group, user(member)))?;
        row.left_at.is_none().then_some(row.role)
    }

    fn marker(&self, member: u128) -> i64 {
        self.database.members[&(self.group, user(member))].read_count
    }
}

fn users(numbers: &[u128]) -> Vec<UserId> {
    numbers.iter().copied().map(user).collect()
}

fn group(others: &[u128]) -> Command {
    let name = Some("team".to_owned());
    Command::CreateConversation {
        kind: ConversationKind::Group,
        name,
        participants: users(others),
    }
}

fn direct(other: u128) -> Command {
    Command::CreateConversation {
        kind: ConversationKind::Direct,
        name: None,
        participants: users(&[other]),
    }
}

fn say(text: &str) -> Command {
    Command::SendMessage {
        content: Content::parse(text).unwrap(),
        message_type: "text".into(),
        reply_to: None,
        temp_id: Some(TempId::parse("t").unwrap()),
    }
}

fn answer(message: MessageId) -> Command {
    let Command::SendMessage {
        content,
        message_type,
        temp_id,
        ..
    } = say("re")
    else {
        unreachable!()
    };
    Command::SendMessage {
        content,
        message_type,
        reply_to: Some(message),
        temp_id,
    }
}

fn edit(message: MessageId) -> Command {
    Command::EditMessage {
        message,
        content: Content::parse("better").unwrap(),
    }
}

fn add(numbers: &[u128]) -> Command {
    Command::AddMembers {
        users: users(numbers),
    }
}

fn remove(number: u128) -> Command {
    Command::RemoveMember { user: user(number) }
}

fn seqs(announced: &Announcements) -> Vec<Option<i64>> {
    announced
        .rooms
        .iter()
        .flat_map(|room| room.events.iter().map(|event| event.seq.map(|seq| seq.0)))
        .collect()
}

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
    assert_eq!(seqs(&announced), [Some(7), None, Some(8)]);
    assert_eq!((world.marker(ALICE), world.marker(BOB)), (4, 5));
    assert_eq!(
        world.one(ALICE, Command::MarkRead { up_to: None }),
        Ok(Outcome::Read { unread: 0 })
    );
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
