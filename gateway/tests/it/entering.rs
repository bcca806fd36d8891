//! Rooms that sockets enter and leave while Redis answers late, or not at all. A whole node but for its listeners is in this process; Redis and
//! PostgreSQL are real.

mod house;

use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::event::{Event, Fact, RoomBatch};
use confab_shared::model::timestamp::Timestamp;
use fred::interfaces::ClientLike;

use house::{House, with_house};

/// How long the node waits for Redis, or lets a client wait, where that is waited for, in milliseconds: longer than a machine stands still.
const NOT_LONG: u64 = 3_500;
/// After what time whoever leaves a room is told so though it may still be counted there.
const COUNTED: Duration = Duration::from_secs(1);

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_room_that_was_not_entered_is_not_in_the_record_though_it_was_written_late() {
    let hurried = |config: &mut _| house::redis_timeout(config, NOT_LONG);
    with_house(hurried, |house| async move {
        let (room, mut other) = (house.room().await, house.connect().await);
        assert_eq!(other.ask("joinRoom", room).await["success"], true);
        let mut visitor = house.connect().await;
        house.hold_writes().await;
        let refused = visitor.ask("joinRoom", room).await;
        assert_eq!(refused["error"]["code"], "OVERLOADED", "{refused}");
        house.let_writes_go().await;
        // Behind what was held.
        let () = house.node.redis.ping(None).await.unwrap();
        assert_eq!(house.rooms(&visitor).await, [] as [String; 0]);
        assert_eq!(visitor.ask("joinRoom", room).await["success"], true);
        assert_eq!(house.rooms(&visitor).await, [room.to_string()]);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_is_found_in_a_room_is_told_so_when_the_record_says_it() {
    let hurried = |config: &mut _| house::patience(config, NOT_LONG);
    with_house(hurried, |house| async move {
        let (room, mut other) = (house.room().await, house.connect().await);
        assert_eq!(other.ask("joinRoom", room).await["success"], true);
        let mut visitor = house.connect().await;
        house.hold_writes().await;
        let refused = visitor.ask("joinRoom", room).await;
        assert_eq!(refused["error"]["code"], "TIMEOUT", "{refused}");
        house.forbid_everything().await;
        house.let_writes_go().await;
        // Behind what was held, and is refused by now.
        let refused: Result<(), _> = house.node.redis.ping(None).await;
        assert!(refused.is_err());
        house.allow_everything().await;
        assert_eq!(house.rooms(&visitor).await, [] as [String; 0]);
        assert_eq!(visitor.ask("joinRoom", room).await["success"], true);
        assert_eq!(house.rooms(&visitor).await, [room.to_string()]);
    });
}

/// Somebody has read something in a room.
fn reading(house: &House, room: ConversationId, count: i64) -> Bytes {
    let event = Event {
        seq: None,
        at: Timestamp::now(),
        fact: Fact::MessagesRead {
            user: UserId::generate(),
            message: None,
            read_count: count,
        },
    };
    let batch = RoomBatch {
        conversation: room,
        events: vec![event],
        traces: Vec::new(),
    };
    let batch = serde_json::to_string(&batch).unwrap();
    format!("{}-0\n{batch}", house.began + count.unsigned_abs()).into()
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_is_told_that_it_has_left_is_shown_nothing_more_and_counts_no_more() {
    let forgetful = |config: &mut _| house::without_recovery(config);
    with_house(forgetful, |house| async move {
        let (room, mut visitor) = (house.room().await, house.connect().await);
        assert_eq!(visitor.ask("joinRoom", room).await["success"], true);
        assert_eq!(house.node.presence.count(room).await.unwrap(), 1);
        // So much that the hub is still at it when the client leaves.
        let before: i64 = 3_000;
        for count in 1..=before {
            house.node.hub.published(reading(&house, room, count)).await;
        }
        let asked = Instant::now();
        assert_eq!(visitor.ask("leaveRoom", room).await["success"], true);
        if asked.elapsed() < COUNTED {
            assert_eq!(house.node.presence.count(room).await.unwrap(), 0);
        }
        visitor.behind.extend(visitor.read());
        assert_eq!(visitor.behind.len(), 0, "frames behind the answer");
    });
}
