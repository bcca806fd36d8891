//! Conversations as their members see them, and who is a member of what.
//!
//! Owns the reading of `conversations` and `memberships` rows. Changes to them are the worker's alone, in its batches.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use time::OffsetDateTime;

use super::listing::listing;
use super::messages::{Standing, message, message_columns};
use crate::id::{ConversationId, MessageId, Seq, UserId};
use crate::model::account::Profile;
use crate::model::conversation::{ConversationView, Participant, Subject};
use crate::model::message::MessageStatus;
use crate::model::timestamp::Timestamp;

/// A conversation in a member's list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The conversation.
    pub view: ConversationView,
    /// How far its last message has come for the viewer, as [`MessageView::status`](super::messages::MessageView::status) says.
    pub last_status: MessageStatus,
}

/// The place after a listed conversation, from where the next page goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListCursor {
    pub(super) updated_at: Timestamp,
    pub(super) id: ConversationId,
}

impl fmt::Display for ListCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.updated_at.to_datetime().unix_timestamp_nanos() / 1_000_000;
        write!(f, "{millis}_{}", self.id)
    }
}

/// A text that is no [`ListCursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed cursor")]
pub struct MalformedCursor;

impl FromStr for ListCursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        let (millis, id) = text.split_once('_').ok_or(MalformedCursor)?;
        // What PostgreSQL can compare with, and nothing that only looks like it: no sign, and no year that it does not know.
        if !(1..=13).contains(&millis.len()) || !millis.bytes().all(|digit| digit.is_ascii_digit())
        {
            return Err(MalformedCursor);
        }
        let millis: i64 = millis.parse().map_err(|_| MalformedCursor)?;
        let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
            .map_err(|_| MalformedCursor)?;
        Ok(Self {
            updated_at: moment.into(),
            id: id.parse().map_err(|_| MalformedCursor)?,
        })
    }
}

/// What [`listed`] reads, once for a list and once for a single one. `s` is the viewer's membership, `c` the conversation.
///
/// Each conversation's members come as one JSON text, its last message and the deleted ones above the viewer's marker from
/// their indexes: one statement, however long the list.
macro_rules! listed {
    ($($from:tt)+) => {
        concat!(
            "SELECT c.id AS c_id, c.kind AS c_kind, c.name AS c_name,
                    (SELECT slug FROM room_slugs r WHERE r.conversation_id = c.id) AS c_slug, c.last_seq AS c_last_seq,
                    c.created_at AS c_created_at, c.updated_at AS c_updated_at,
                    s.read_count AS own_read_count, members.listed AS members,
                    members.others_read_count AS others_read_count,
                    c.message_count - s.read_count - deleted.count AS unread,
                    COALESCE((SELECT delivered_count FROM deliveries d WHERE d.conversation_id = c.id), 0) AS delivered_count, ",
            message_columns!(),
            " FROM ",
            $($from)+,
            " CROSS JOIN LATERAL (
                SELECT COALESCE(json_agg(json_build_object('id', p.id, 'username', p.username, 'name', p.name,
                                                  'avatar', p.avatar, 'account', p.role, 'role', o.role)
                                ORDER BY o.joined_seq, o.user_id), '[]')::text AS listed,
                       min(o.read_count) FILTER (WHERE o.user_id <> s.user_id) AS others_read_count
                FROM memberships o JOIN users p ON p.id = o.user_id
                WHERE o.conversation_id = c.id AND o.left_at IS NULL
              ) members
              CROSS JOIN LATERAL (
                SELECT count(*) AS count FROM messages d
                WHERE d.conversation_id = c.id AND d.deleted_at IS NOT NULL AND d.ordinal > s.read_count
              ) deleted
              LEFT JOIN LATERAL (
                SELECT * FROM messages l WHERE l.conversation_id = c.id ORDER BY l.seq DESC LIMIT 1
              ) m ON true
              LEFT JOIN users u ON u.id = m.sender_id
              ORDER BY c.updated_at DESC, c.id DESC"
        )
    };
}

/// A conversation with what its list entry shows, for a present member; a public room, for anybody: it has no members, and nothing in
/// it is unread.
pub async fn find(
    pool: &PgPool,
    conversation: ConversationId,
    viewer: UserId,
) -> Result<Option<Listed>, sqlx::Error> {
    let row = sqlx::query(listed!(
        "(SELECT t.id AS conversation_id, $2 AS user_id, COALESCE(i.read_count, t.message_count) AS read_count
          FROM conversations t
          LEFT JOIN memberships i ON i.conversation_id = t.id AND i.user_id = $2 AND i.left_at IS NULL
          WHERE t.id = $1 AND t.deleted_at IS NULL AND (t.kind = 'room' OR i.user_id IS NOT NULL)) s
         JOIN conversations c ON c.id = s.conversation_id"
    ))
    .bind(conversation)
    .bind(viewer)
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(|row| listed(row, viewer)).transpose()
}

/// A conversation, for a present member.
pub async fn view(
    pool: &PgPool,
    conversation: ConversationId,
    viewer: UserId,
) -> Result<Option<ConversationView>, sqlx::Error> {
    Ok(find(pool, conversation, viewer)
        .await?
        .map(|listed| listed.view))
}

/// A user's conversations, the latest activity first, and where the next page begins if there is one.
pub async fn list(
    pool: &PgPool,
    viewer: UserId,
    cursor: Option<ListCursor>,
    limit: u32,
) -> Result<(Vec<Listed>, Option<ListCursor>), sqlx::Error> {
    // The page is cut before anything is looked up for its rows. How it is found: see `listing`.
    let rows = sqlx::query(listed!(concat!(
        listing!(
            "t.*, i.user_id, i.read_count",
            "memberships i JOIN conversations t ON t.id = i.conversation_id",
            "i.user_id = $4 AND i.left_at IS NULL",
            "i"
        ),
        " CROSS JOIN LATERAL (SELECT c.user_id, c.read_count) s"
    )))
    .bind(cursor.map(|cursor| cursor.updated_at))
    .bind(cursor.map(|cursor| cursor.id))
    .bind(i64::from(limit) + 1)
    .bind(viewer)
    .fetch_all(pool)
    .await?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let found = rows
        .iter()
        .take(wanted)
        .map(|row| listed(row, viewer))
        .collect::<Result<Vec<_>, _>>()?;
    let next = found
        .last()
        .filter(|_| rows.len() > wanted)
        .map(|last| ListCursor {
            updated_at: last.view.updated_at,
            id: last.view.id,
        });
    Ok((found, next))
}

fn listed(row: &PgRow, viewer: UserId) -> Result<Listed, sqlx::Error> {
    let participants: Vec<Participant> = decode("members", row.try_get("members")?)?;
    let last_message = row
        .try_get::<Option<MessageId>, _>("m_id")?
        .map(|_| message(row))
        .transpose()?;
    let standing = Standing::new(
        row.try_get("own_read_count")?,
        row.try_get("others_read_count")?,
        row.try_get("delivered_count")?,
    );
    let (last_message, last_status) = match last_message {
        Some(last) => {
            let last = standing.view(last, viewer);
            let status = last.status();
            (Some(last.message), status)
        }
        None => (None, MessageStatus::Sent),
    };
    let view = ConversationView {
        id: row.try_get("c_id")?,
        kind: row.try_get("c_kind")?,
        slug: row.try_get("c_slug")?,
        name: row.try_get("c_name")?,
        participants,
        last_message,
        unread_count: row.try_get("unread")?,
        last_seq: row.try_get("c_last_seq")?,
        created_at: row.try_get("c_created_at")?,
        updated_at: row.try_get("c_updated_at")?,
    };
    Ok(Listed { view, last_status })
}

/// What has to be known of these conversations to speak of them, and how far each has come. Those that do not exist are left out.
pub async fn subjects(
    pool: &PgPool,
    conversations: &[ConversationId],
) -> Result<Vec<(Subject, Seq)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT c.id, c.kind, c.name, c.last_seq, r.slug,
                CASE WHEN c.kind = 'direct' THEN (
                  SELECT json_agg(json_build_object('id', p.id, 'username', p.username, 'name', p.name,
                                                    'avatar', p.avatar, 'account', p.role))::text
                  FROM memberships o JOIN users p ON p.id = o.user_id WHERE o.conversation_id = c.id
                ) END AS pair
         FROM conversations c LEFT JOIN room_slugs r ON r.conversation_id = c.id
         WHERE c.id = ANY($1)",
    )
    .bind(conversations)
    .fetch_all(pool)
    .await?;
    rows.iter().map(subject).collect()
}

fn subject(row: &PgRow) -> Result<(Subject, Seq), sqlx::Error> {
    let text = |column: &str| {
        let text: Option<&str> = row.try_get(column)?;
        Ok::<_, sqlx::Error>(text.map(Arc::from))
    };
    let pair: Option<Vec<Arc<Profile>>> = match row.try_get::<Option<&str>, _>("pair")? {
        Some(json) => Some(decode("pair", json)?),
        None => None,
    };
    let subject = Subject {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        slug: text("slug")?,
        name: text("name")?,
        pair: pair.and_then(|pair| pair.try_into().ok()),
    };
    Ok((subject, row.try_get("last_seq")?))
}

fn decode<T: DeserializeOwned>(column: &str, json: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(json).map_err(|error| sqlx::Error::ColumnDecode {
        index: column.into(),
        source: error.into(),
    })
}

/// How far each of these conversations has come. Those that do not exist are left out.
pub async fn last_seqs(
    pool: &PgPool,
    conversations: &[ConversationId],
) -> Result<Vec<(ConversationId, Seq)>, sqlx::Error> {
    sqlx::query_as("SELECT id, last_seq FROM conversations WHERE id = ANY($1)")
        .bind(conversations)
        .fetch_all(pool)
        .await
}

/// How many messages a present member has not read. Deleted ones do not count. In a public room nothing is unread.
pub async fn unread(
    pool: &PgPool,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT CASE WHEN c.kind = 'room' THEN 0
                ELSE c.message_count - s.read_count
                     - (SELECT count(*) FROM messages d
                        WHERE d.conversation_id = $1 AND d.deleted_at IS NOT NULL AND d.ordinal > s.read_count) END
         FROM conversations c
         LEFT JOIN memberships s ON s.conversation_id = c.id AND s.user_id = $2 AND s.left_at IS NULL
         WHERE c.id = $1 AND c.deleted_at IS NULL AND (c.kind = 'room' OR s.user_id IS NOT NULL)",
    )
    .bind(conversation)
    .bind(user)
    .fetch_optional(pool)
    .await
}

/// Where a message was said. Says nothing about who may see it.
pub async fn of_message(
    pool: &PgPool,
    message: MessageId,
) -> Result<Option<ConversationId>, sqlx::Error> {
    sqlx::query_scalar("SELECT conversation_id FROM messages WHERE id = $1")
        .bind(message)
        .fetch_optional(pool)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_journey() {
        let cursor = ListCursor {
            updated_at: Timestamp::now(),
            id: ConversationId::generate(),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in [
            "",
            "_",
            "1",
            "x_y",
            "1_2",
            "99999999999999999999_",
            "9223372036854775807_0190163d-8694-739b-aea5-966c26f8ad91",
            "10000000000000_0190163d-8694-739b-aea5-966c26f8ad91",
            "-210866803200001_0190163d-8694-739b-aea5-966c26f8ad91",
            "-1_0190163d-8694-739b-aea5-966c26f8ad91",
            "+1_0190163d-8694-739b-aea5-966c26f8ad91",
        ] {
            assert_eq!(bad.parse::<ListCursor>(), Err(MalformedCursor), "{bad}");
        }
    }
}
