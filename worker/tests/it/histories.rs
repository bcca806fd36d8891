//! A long random history, cut into batches anywhere: unread counts and the order agree with what SQL counts one by one.

use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::Content;
use confab_shared::model::event::{Event, Fact};

use crate::database::{envelope, group, say, with_database};

/// The same numbers on every run (xorshift), so that a failure can be looked at again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (sides as u64)).unwrap()
    }
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn unread_counts_are_what_sql_counts() {
    with_database(|db| async move {
        let users: [UserId; 4] = db.users().await;
        let (room, epoch) = (ConversationId::generate(), db.take_over().await);
        db.run(epoch, &[envelope(room, users[0], group(&users[1..]))])
            .await;
        let mut dice = Dice(0x5eed_cafe);
        let mut messages: Vec<MessageId> = Vec::new();
        let mut places = vec![1];
        for _ in 0..120 {
            let batch: Vec<_> = (0..=dice.roll(6))
                .map(|_| {
                    let actor = users[dice.roll(4)];
                    envelope(room, actor, command(&mut dice, &users, &messages))
                })
                .collect();
            let announced = db.run(epoch, &batch).await;
            let events = announced.rooms.iter().flat_map(|room| &room.events);
            places.extend(
                events
                    .filter(|event| event.fact != Fact::Advanced)
                    .filter_map(place),
            );
            for (envelope, outcome) in batch.iter().zip(&announced.outcomes) {
                match outcome {
                    Ok(Outcome::Stored { message, .. }) => messages.push(*message),
                    // The last command of a batch leaves what the database says.
                    Ok(Outcome::Read { unread }) if envelope.id == batch[batch.len() - 1].id => {
                        assert_eq!(*unread, truth(&db.pool, room, envelope.actor).await);
                    }
                    _ => {}
                }
            }
        }
        let last = db
            .count("SELECT last_seq FROM conversations WHERE id = $1", room)
            .await;
        assert_eq!(places, (1..=last).collect::<Vec<_>>());
        assert!(
            messages.len() > 50 && last > 150,
            "the history was too short to tell: {last}"
        );
    });
}

fn place(event: &Event) -> Option<i64> {
    event.seq.map(|seq| seq.0)
}

fn command(dice: &mut Dice, users: &[UserId; 4], messages: &[MessageId]) -> Command {
    let other = users[dice.roll(4)];
    let some = |dice: &mut Dice| {
        messages
            .get(dice.roll(messages.len().max(1)))
            .copied()
            .unwrap_or(MessageId(1))
    };
    match dice.roll(16) {
        0 => Command::DeleteMessage {
            message: some(dice),
        },
        1 => Command::EditMessage {
            message: some(dice),
            content: Content::parse("other").unwrap(),
        },
        2 => Command::RemoveMember { user: other },
        3 | 4 => Command::AddMembers {
            users: users.to_vec(),
        },
        5 => Command::MarkRead { up_to: None },
        6..=8 => Command::MarkRead {
            up_to: Some(some(dice)),
        },
        9 if dice.roll(4) == 0 => Command::Leave,
        _ => say("text"),
    }
}

async fn truth(pool: &sqlx::PgPool, room: ConversationId, user: UserId) -> i64 {
    sqlx::query_scalar(
        "SELECT count(x.id) FROM memberships m
         LEFT JOIN messages x ON x.conversation_id = m.conversation_id AND x.ordinal > m.read_count AND x.deleted_at IS NULL
         WHERE m.conversation_id = $1 AND m.user_id = $2",
    )
    .bind(room)
    .bind(user)
    .fetch_one(pool)
    .await
    .unwrap()
}
