//! What a batch makes of rooms, and how a gateway reads it back.

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::Slug;
use confab_shared::model::error::ErrorCode;
use confab_shared::model::event::{Event, Fact};
use confab_shared::postgres::memberships::access;
use confab_shared::postgres::{changes, conversations, rooms};

use crate::database::{Db, envelope, say, with_database};

fn room(name: &str) -> Command {
    Command::CreateRoom {
        slug: Slug::of_name(name),
        name: name.to_owned(),
        description: Some("What it is for".to_owned()),
        max_users: Some(3),
    }
}

fn rename(name: &str) -> Command {
    Command::UpdateRoom {
        name: Some(name.to_owned()),
        description: None,
        max_users: Some(None),
    }
}

async fn taken(db: &Db, name: &str) -> ConversationId {
    let room = ConversationId::generate();
    let slug = Slug::of_name(name);
    assert_eq!(rooms::take_slug(&db.pool, &slug, room).await.unwrap(), room);
    room
}

/// What was announced, without the sender's eyes' part.
fn told(events: &[Event]) -> Vec<Event> {
    events
        .iter()
        .filter(|event| event.seq.is_some())
        .cloned()
        .collect()
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_room_is_stored_as_it_is_announced() {
    with_database(|db| async move {
        let [ann, ben] = db.users().await;
        let (room_id, epoch) = (taken(&db, "Quiet Corner").await, db.take_over().await);
        let made = db
            .run(epoch, &[envelope(room_id, ann, room("Quiet Corner"))])
            .await;
        assert_eq!(made.outcomes, [Ok(Outcome::Created { fresh: true })]);
        let found = rooms::find(&db.pool, room_id).await.unwrap().unwrap();
        assert_eq!(
            (
                &*found.slug,
                &*found.name,
                found.max_users,
                found.created_by
            ),
            ("quiet-corner", "Quiet Corner", Some(3), ann)
        );

        let batch = [
            envelope(room_id, ben, say("hello")),
            envelope(room_id, ann, rename("Corner")),
            envelope(room_id, ben, Command::MarkRead { up_to: None }),
        ];
        let announced = db.run(epoch, &batch).await;
        assert_eq!(announced.outcomes[2], Ok(Outcome::Read { unread: 0 }));
        let found = rooms::find(&db.pool, room_id).await.unwrap().unwrap();
        assert_eq!((&*found.name, found.max_users), ("Corner", None));
        assert_eq!(found.description.as_deref(), Some("What it is for"));
        let read_back = changes::since(&db.pool, room_id, Seq(1)).await.unwrap();
        assert_eq!(read_back.events, told(&announced.rooms[0].events));
        let everything = changes::since(&db.pool, room_id, Seq(0)).await.unwrap();
        assert!(matches!(
            everything.events[0].fact,
            Fact::ConversationCreated { by } if by == ann
        ));
        assert_eq!(
            db.count(
                "SELECT count(*) FROM memberships WHERE conversation_id = $1",
                room_id
            )
            .await,
            0
        );
        let view = conversations::find(&db.pool, room_id, ben)
            .await
            .unwrap()
            .unwrap()
            .view;
        assert_eq!(
            (view.unread_count, view.slug.as_deref()),
            (0, Some("quiet-corner"))
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_room_that_has_ended_is_gone_for_everybody() {
    with_database(|db| async move {
        let [ann, ben] = db.users().await;
        let (room_id, epoch) = (taken(&db, "Brief").await, db.take_over().await);
        db.run(
            epoch,
            &[
                envelope(room_id, ann, room("Brief")),
                envelope(room_id, ben, say("first")),
            ],
        )
        .await;
        rooms::free_slug(&db.pool, room_id).await.unwrap();
        assert!(
            rooms::find(&db.pool, room_id).await.unwrap().is_some(),
            "a room keeps its slug"
        );
        let end = envelope(room_id, ann, Command::DeleteRoom);
        let ended = db.run(epoch, std::slice::from_ref(&end)).await;
        assert_eq!(ended.outcomes, [Ok(Outcome::Done)]);
        let read_back = changes::since(&db.pool, room_id, Seq(2)).await.unwrap();
        assert_eq!(read_back.events, ended.rooms[0].events);
        assert_eq!(access(&db.pool, room_id, ann).await.unwrap(), None);
        assert!(rooms::find(&db.pool, room_id).await.unwrap().is_none());
        assert!(
            conversations::find(&db.pool, room_id, ann)
                .await
                .unwrap()
                .is_none()
        );

        let refused = db
            .run(epoch, &[envelope(room_id, ben, say("late")), end])
            .await;
        assert_eq!(
            refused.outcomes[0].as_ref().unwrap_err().code,
            ErrorCode::NotFound
        );
        assert_eq!(refused.outcomes[1], Ok(Outcome::Done), "answered as before");
        rooms::free_slug(&db.pool, room_id).await.unwrap();
        let next = taken(&db, "Brief").await;
        assert_ne!(next, room_id);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_room_made_and_ended_in_one_batch_is_stored_as_it_ended() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        let (room_id, epoch) = (taken(&db, "Mayfly").await, db.take_over().await);
        let batch = [
            envelope(room_id, ann, room("Mayfly")),
            envelope(room_id, ann, rename("Moth")),
            envelope(room_id, ann, Command::DeleteRoom),
        ];
        let announced = db.run(epoch, &batch).await;
        assert!(announced.outcomes.iter().all(Result::is_ok));
        let row: (String, i64, UserId, bool, bool) = sqlx::query_as(
            "SELECT name, info_seq, info_by, info_at = deleted_at, deleted_at IS NOT NULL FROM conversations WHERE id = $1",
        )
        .bind(room_id)
        .fetch_one(&db.pool)
        .await
        .unwrap();
        assert_eq!(row, ("Moth".to_owned(), 3, ann, true, true));
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn guests_speak_in_the_systems_rooms_and_nobody_ends_them() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        sqlx::query("UPDATE users SET role = 'admin' WHERE id = $1")
            .bind(ann)
            .execute(&db.pool)
            .await
            .unwrap();
        let epoch = db.take_over().await;
        let guest = rooms::create_guest(&db.pool, "passer-by").await.unwrap().id;
        let batch = [
            envelope(ConversationId::LOBBY, guest, say("hi all")),
            envelope(ConversationId::LOBBY, ann, Command::DeleteRoom),
            envelope(ConversationId::LOBBY, ann, Command::Leave),
            envelope(ConversationId::LOBBY, UserId::generate(), say("who?")),
        ];
        let announced = db.run(epoch, &batch).await;
        let codes: Vec<_> = announced
            .outcomes
            .iter()
            .map(|outcome| outcome.as_ref().err().map(|no| no.code))
            .collect();
        assert_eq!(
            codes,
            [
                None,
                Some(ErrorCode::Conflict),
                Some(ErrorCode::Conflict),
                Some(ErrorCode::NotFound)
            ]
        );
    });
}
