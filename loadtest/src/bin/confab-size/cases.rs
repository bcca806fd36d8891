//! The queries whose cost must not grow, as the gateway asks them.

use std::fmt;

use anyhow::{Context, ensure};
use confab_shared::id::MessageId;
use confab_shared::postgres::conversations::ListCursor;
use confab_shared::postgres::messages::{Page, Slice};
use confab_shared::postgres::{conversations, messages, rooms, users};
use sqlx::PgPool;

use super::fill::{Size, long, viewer};

/// Rows on a page.
const PAGE: u32 = 20;

/// One query.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    question: Question,
    /// Those of its statements whose plans are looked at.
    pub(crate) planned: Vec<Planned>,
}

/// A statement, found by a part of its text, and what it is given, as SQL.
pub(crate) struct Planned {
    pub(crate) marker: &'static str,
    pub(crate) arguments: String,
}

enum Question {
    List(Option<ListCursor>),
    Rooms(Option<ListCursor>),
    History(Slice),
    Unread,
    Search(&'static str),
    Stats,
}

impl Case {
    /// Asks it once.
    pub(crate) async fn ask(&self, pool: &PgPool) -> anyhow::Result<()> {
        let found = match &self.question {
            Question::List(cursor) => conversations::list(pool, viewer(), *cursor, PAGE)
                .await?
                .0
                .len(),
            Question::Rooms(cursor) => rooms::list(pool, *cursor, PAGE).await?.0.len(),
            Question::History(slice) => {
                let page = Page {
                    slice: *slice,
                    limit: PAGE,
                };
                let page = messages::page(pool, long(), viewer(), page).await?;
                page.messages.len()
            }
            Question::Unread => {
                let unread = conversations::unread(pool, long(), viewer()).await?;
                usize::from(unread.is_some())
            }
            Question::Search(prefix) => users::search(pool, prefix, None, PAGE).await?.0.len(),
            Question::Stats => {
                let stats = rooms::stats(pool).await?;
                usize::from(stats.total_messages > 0)
            }
        };
        ensure!(found > 0, "nothing was found");
        Ok(())
    }
}

/// All of them, for a filled database.
pub(crate) async fn all(pool: &PgPool, size: Size) -> anyhow::Result<Vec<Case>> {
    let mut cases = lists(pool, size).await?;
    cases.extend(histories(pool, size).await?);
    cases.extend(others());
    Ok(cases)
}

/// A value as SQL.
fn quote(value: impl fmt::Display) -> String {
    format!("'{value}'")
}

async fn lists(pool: &PgPool, size: Size) -> anyhow::Result<Vec<Case>> {
    let deep = cursor(
        pool,
        "SELECT c.updated_at, c.id FROM conversations c JOIN memberships m ON m.conversation_id = c.id
         WHERE m.user_id = '01900000-0000-7000-9000-000000000001' ORDER BY 1 DESC, 2 DESC OFFSET $1 LIMIT 1",
        size.conversations,
    )
    .await?;
    let deep_rooms = cursor(
        pool,
        "SELECT updated_at, id FROM conversations WHERE kind = 'room' ORDER BY 1 DESC, 2 DESC OFFSET $1 LIMIT 1",
        size.rooms,
    )
    .await?;
    let nowhere = "NULL, NULL".to_owned();
    let list = |name, cursor: Option<ListCursor>, place: &str| Case {
        name,
        question: Question::List(cursor),
        planned: vec![Planned {
            marker: "memberships i JOIN conversations t",
            arguments: format!("{place}, {}, {}", PAGE + 1, quote(viewer())),
        }],
    };
    let rooms = |name, cursor: Option<ListCursor>, place: &str| Case {
        name,
        question: Question::Rooms(cursor),
        planned: vec![Planned {
            marker: "conversations t JOIN room_slugs r",
            arguments: format!("{place}, {}", PAGE + 1),
        }],
    };
    Ok(vec![
        list("list, first page", None, &nowhere),
        list("list, deep page", Some(deep.0), &deep.1),
        rooms("rooms, first page", None, &nowhere),
        rooms("rooms, deep page", Some(deep_rooms.0), &deep_rooms.1),
    ])
}

async fn histories(pool: &PgPool, size: Size) -> anyhow::Result<Vec<Case>> {
    let (deep, deep_seq): (MessageId, i64) =
        sqlx::query_as("SELECT id, seq FROM messages WHERE conversation_id = $1 AND ordinal = $2")
            .bind(long())
            .bind(i64::from(size.messages / 10))
            .fetch_one(pool)
            .await?;
    let last_page = u32::try_from(size.messages)? / PAGE;
    let passed = (last_page - 1) * PAGE;
    let before = |edge: i64| Planned {
        marker: "m.seq < $2 ORDER BY m.seq DESC LIMIT $3",
        arguments: format!("{}, {edge}, {}", quote(long()), PAGE + 1),
    };
    let edge_of = Planned {
        marker: "halving (low, high, remaining)",
        arguments: format!("{}, {passed}", quote(long())),
    };
    let case = |name, slice, planned| Case {
        name,
        question: Question::History(slice),
        planned,
    };
    Ok(vec![
        case("history, newest", Slice::Newest, vec![before(i64::MAX)]),
        case(
            "history, deep by cursor",
            Slice::Before(deep),
            vec![before(deep_seq)],
        ),
        case(
            "history, last by page=",
            Slice::Numbered(last_page),
            vec![edge_of, before(i64::from(PAGE) + 2)],
        ),
    ])
}

fn others() -> Vec<Case> {
    let case = |name, question, marker, arguments| Case {
        name,
        question,
        planned: vec![Planned { marker, arguments }],
    };
    vec![
        case(
            "unread",
            Question::Unread,
            "SELECT c.message_count - s.read_count",
            format!("{}, {}", quote(long()), quote(viewer())),
        ),
        case(
            "search, by username",
            Question::Search("user12"),
            "lower(username) ~>=~ $1",
            format!("'user12', 'user12\u{10ffff}', '', {}", PAGE + 1),
        ),
        case(
            "search, by address",
            Question::Search("user12@"),
            "email ~>=~ $1",
            format!("'user12@', 'user12@\u{10ffff}', '', {}", 4 * (PAGE + 1)),
        ),
        case(
            "stats",
            Question::Stats,
            "halving (low, high) AS",
            "1000".to_owned(),
        ),
    ]
}

/// The place nine tenths down a list, as a cursor and as SQL.
async fn cursor(
    pool: &PgPool,
    sql: &'static str,
    rows: i32,
) -> anyhow::Result<(ListCursor, String)> {
    let (millis, id, text): (i64, uuid::Uuid, String) = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "SELECT (extract(epoch FROM updated_at) * 1000)::bigint, id, updated_at::text FROM ({sql}) place"
    )))
    .bind(i64::from(rows) * 9 / 10)
    .fetch_one(pool)
    .await?;
    let cursor = format!("{millis}_{id}").parse().ok().context("a cursor")?;
    Ok((cursor, format!("'{text}', '{id}'")))
}
