//! Pages of history and what counts as read.

use confab_shared::id::{MessageId, UserId};
use confab_shared::model::error::{ErrorCode, RequestError};
use confab_shared::model::message::MessageStatus;
use confab_shared::postgres::messages::{self, MessagePage, Page, Slice};
use confab_shared::postgres::{conversations, unread};

use crate::database::with_database;

fn ids(page: &MessagePage) -> Vec<MessageId> {
    page.messages.iter().map(|view| view.message.id).collect()
}

fn code(outcome: Result<MessagePage, RequestError>) -> ErrorCode {
    outcome.unwrap_err().rejection().code
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn pages_meet_without_overlap_in_both_directions() {
    with_database(|db| async move {
        let ann = db.user("ann").await;
        let room = db.group(&[ann]).await;
        let mut said = Vec::new();
        for number in 0..7 {
            said.push(db.say(room, ann, &format!("number {number}")).await);
        }
        said.reverse();
        let read = |slice, limit| messages::page(&db.pool, room, ann, Page { slice, limit });

        let newest = read(Slice::Newest, 3).await.unwrap();
        assert_eq!((ids(&newest), newest.has_more), (said[..3].to_vec(), true));
        let older = read(Slice::Before(said[2]), 3).await.unwrap();
        assert_eq!((ids(&older), older.has_more), (said[3..6].to_vec(), true));
        let oldest = read(Slice::Before(said[5]), 3).await.unwrap();
        assert_eq!((ids(&oldest), oldest.has_more), (said[6..].to_vec(), false));

        let following = read(Slice::After(said[6]), 3).await.unwrap();
        assert_eq!(
            (ids(&following), following.has_more),
            (said[3..6].to_vec(), true)
        );
        let rest = read(Slice::After(said[3]), 3).await.unwrap();
        assert_eq!((ids(&rest), rest.has_more), (said[..3].to_vec(), false));

        for (number, expected) in [
            (1, &said[..3]),
            (2, &said[3..6]),
            (3, &said[6..]),
            (4, &said[7..]),
        ] {
            assert_eq!(
                ids(&read(Slice::Numbered(number), 3).await.unwrap()),
                expected,
                "page {number}"
            );
        }
        assert!(!read(Slice::Newest, 7).await.unwrap().has_more);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn numbered_pages_count_messages_and_not_other_changes() {
    with_database(|db| async move {
        let ann = db.user("ann").await;
        let room = db.group(&[ann]).await;
        let mut said = Vec::new();
        for number in 0..23_usize {
            said.push(db.say(room, ann, &format!("number {number}")).await);
            for _ in 0..number % 4 {
                db.edit(room, said[number / 2], "again").await;
            }
        }
        said.reverse();
        for limit in [1, 2, 5, 23, 24] {
            for number in 1..=25_u32 {
                let slice = Slice::Numbered(number);
                let page = messages::page(&db.pool, room, ann, Page { slice, limit })
                    .await
                    .unwrap();
                let begin = usize::try_from((number - 1) * limit)
                    .unwrap()
                    .min(said.len());
                let end = (begin + usize::try_from(limit).unwrap()).min(said.len());
                assert_eq!(ids(&page), said[begin..end], "page {number} of {limit}");
                assert_eq!(page.has_more, end < said.len());
            }
        }
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_page_is_for_present_members_and_its_anchor_of_the_conversation() {
    with_database(|db| async move {
        let (ann, ben, eve) = (
            db.user("ann").await,
            db.user("ben").await,
            db.user("eve").await,
        );
        let (room, other) = (db.group(&[ann, ben]).await, db.group(&[eve]).await);
        let (message, foreign) = (
            db.say(room, ann, "here").await,
            db.say(other, eve, "there").await,
        );
        let newest = Page {
            slice: Slice::Newest,
            limit: 10,
        };
        assert_eq!(
            code(messages::page(&db.pool, room, eve, newest).await),
            ErrorCode::NotFound
        );
        let astray = Page {
            slice: Slice::Before(foreign),
            limit: 10,
        };
        assert_eq!(
            code(messages::page(&db.pool, room, ann, astray).await),
            ErrorCode::NotFound
        );

        db.remove(room, ben, ann, None).await;
        assert_eq!(
            code(messages::page(&db.pool, room, ben, newest).await),
            ErrorCode::NotFound
        );
        assert!(
            messages::find(&db.pool, message, ben)
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            messages::find(&db.pool, message, ann)
                .await
                .unwrap()
                .is_some()
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn ones_own_message_is_read_when_all_present_others_have_read_it() {
    with_database(|db| async move {
        let (ann, ben, cid) = (
            db.user("ann").await,
            db.user("ben").await,
            db.user("cid").await,
        );
        let room = db.group(&[ann, ben, cid]).await;
        let message = db.say(room, ann, "read me").await;
        let is_read = async |viewer: UserId| {
            let found = messages::find(&db.pool, message, viewer)
                .await
                .unwrap()
                .unwrap();
            let page = Page {
                slice: Slice::Newest,
                limit: 1,
            };
            let paged = messages::page(&db.pool, room, viewer, page).await.unwrap();
            assert_eq!(paged.messages, std::slice::from_ref(&found));
            found.is_read
        };
        assert!(!is_read(ann).await && !is_read(ben).await);
        db.read(room, ben, message).await;
        assert!(is_read(ben).await && !is_read(ann).await);
        db.remove(room, cid, ann, None).await;
        assert!(is_read(ann).await);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_message_is_sent_then_delivered_then_read() {
    with_database(|db| async move {
        let (ann, ben) = (db.user("ann").await, db.user("ben").await);
        let room = db.group(&[ann, ben]).await;
        let (first, second) = (
            db.say(room, ann, "one").await,
            db.say(room, ann, "two").await,
        );
        let status = async |message| {
            let found = messages::find(&db.pool, message, ann).await.unwrap();
            let (listed, _) = conversations::list(&db.pool, ann, None, 1).await.unwrap();
            (found.unwrap().status(), listed[0].last_status)
        };
        let is = |status| (status, MessageStatus::Sent);
        assert_eq!(status(first).await, is(MessageStatus::Sent));
        // However often it is written, and in which order.
        for ordinal in [1, 1] {
            let delivered = [(room, ordinal)];
            unread::note_delivered(&db.pool, &delivered).await.unwrap();
        }
        assert_eq!(status(first).await, is(MessageStatus::Delivered));
        assert_eq!(status(second).await, is(MessageStatus::Sent));
        db.read(room, ben, first).await;
        assert_eq!(status(first).await, is(MessageStatus::Read));
        for ordinal in [2, 1] {
            let delivered = [(room, ordinal)];
            unread::note_delivered(&db.pool, &delivered).await.unwrap();
        }
        let all = (MessageStatus::Delivered, MessageStatus::Delivered);
        assert_eq!(status(second).await, all);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn what_watchers_are_told_is_read_for_many_at_once() {
    with_database(|db| async move {
        let (ann, ben) = (db.user("ann").await, db.user("ben").await);
        let (one, other) = (db.group(&[ann, ben]).await, db.group(&[ann, ben]).await);
        let message = db.say(one, ann, "one").await;
        let last = db.say(one, ann, "two").await;
        db.say(other, ben, "three").await;
        db.read(one, ben, message).await;
        let pairs = [(one, ann), (one, ben), (other, ann), (other, ben)];
        let mut counts: Vec<_> = unread::counts(&db.pool, &pairs)
            .await
            .unwrap()
            .into_iter()
            .map(|count| {
                let place = pairs
                    .iter()
                    .position(|pair| *pair == (count.conversation, count.user));
                (place.unwrap(), count.unread, count.read_count)
            })
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [(0, 0, 2), (1, 1, 1), (2, 1, 0), (3, 0, 1)]);

        let found = unread::last_messages(&db.pool, &[one, other])
            .await
            .unwrap();
        assert!(found.len() == 2 && found.iter().any(|message| message.id == last));

        let all = unread::watchable(&db.pool, &[ann, ben], 10).await.unwrap();
        assert_eq!(all.len(), 4);
        let few = unread::watchable(&db.pool, &[ann, ben], 1).await.unwrap();
        assert_eq!(few.len(), 2);
        db.remove(one, ben, ann, None).await;
        let still = unread::still_watchable(&db.pool, &pairs).await.unwrap();
        assert!(still.len() == 3 && !still.iter().any(|w| (w.conversation, w.user) == (one, ben)));
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_page_ends_where_the_viewers_standing_was_looked_up() {
    with_database(|db| async move {
        let (ann, ben) = (db.user("ann").await, db.user("ben").await);
        let room = db.group(&[ann, ben]).await;
        let before = db.say(room, ann, "before").await;
        let known = db.say(room, ann, "known").await;
        db.say(room, ann, "said after somebody was looked up").await;
        // As if it were said between the two looks: the conversation is where it was at the first one.
        sqlx::query("UPDATE conversations SET last_seq = last_seq - 1 WHERE id = $1")
            .bind(room)
            .execute(&db.pool)
            .await
            .unwrap();
        for (slice, expected) in [
            (Slice::Newest, vec![known, before]),
            (Slice::After(before), vec![known]),
        ] {
            let page = messages::page(&db.pool, room, ben, Page { slice, limit: 5 })
                .await
                .unwrap();
            assert_eq!((ids(&page), page.has_more), (expected, false));
        }
    });
}
