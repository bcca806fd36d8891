//! The rules, one by one.

mod members;
mod messages;
mod rooms;

use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::{Content, TempId};
use confab_shared::model::conversation::{ConversationKind, MemberRole};
use confab_shared::model::error::{ErrorCode, Rejection};

use crate::handler::Announcements;
use crate::handler::tests::database::{Database, envelope, user};

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
