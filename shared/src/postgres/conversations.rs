//! Conversations as their members see them, and who is a member of what.
//!
//! Owns the reading of `conversations` and `memberships` rows. Changes to them are the worker's alone, in its batches.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use time::OffsetDateTime;

use super::messages::{Standing, message, message_columns};
use crate::id::{ConversationId, MessageId, Seq, UserId};
use crate::model::conversation::{ConversationView, MemberRole, Participant};
use crate::model::timestamp::Timestamp;

/// A conversation in a member's list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The conversation.
    pub view: ConversationView,
    /// Whether its last message counts as read for the viewer, as [`MessageView::is_read`](super::messages::MessageView) does.
    pub last_message_read: bool,
}

/// The place after a listed conversation, from where the next page goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListCursor {
    updated_at: Timestamp,
    id: ConversationId,
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
    ($from:literal) => {
        concat!(
            "SELECT c.id AS c_id, c.kind AS c_kind, c.name AS c_name, c.last_seq AS c_last_seq,
                    c.created_at AS c_created_at, c.updated_at AS c_updated_at,
                    s.read_count AS own_read_count, members.listed AS members,
                    members.others_read_count AS others_read_count,
                    c.message_count - s.read_count - deleted.count AS unread, ",
            message_columns!(),
            " FROM ",
            $from,
            " CROSS JOIN LATERAL (
                SELECT json_agg(json_build_object('id', p.id, 'username', p.username, 'name', p.name,
                                                  'avatar', p.avatar, 'role', o.role)
                                ORDER BY o.joined_seq, o.user_id)::text AS listed,
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

/// A conversation with what its list entry shows, for a present member.
pub async fn find(
    pool: &PgPool,
    conversation: ConversationId,
    viewer: UserId,
) -> Result<Option<Listed>, sqlx::Error> {
    let row = sqlx::query(listed!(
        "(SELECT * FROM memberships
          WHERE conversation_id = $1 AND user_id = $2 AND left_at IS NULL) s
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
    // The page is cut before anything is looked up for its rows.
    let rows = sqlx::query(listed!(
        "(SELECT t.*, i.user_id, i.read_count
          FROM memberships i JOIN conversations t ON t.id = i.conversation_id
          WHERE i.user_id = $1 AND i.left_at IS NULL
            AND ($2::timestamptz IS NULL OR (t.updated_at, t.id) < ($2, $3))
          ORDER BY t.updated_at DESC, t.id DESC LIMIT $4) c
         CROSS JOIN LATERAL (SELECT c.user_id, c.read_count) s"
    ))
    .bind(viewer)
    .bind(cursor.map(|cursor| cursor.updated_at))
    .bind(cursor.map(|cursor| cursor.id))
    .bind(i64::from(limit) + 1)
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
    let participants: Vec<Participant> =
        serde_json::from_str(row.try_get("members")?).map_err(|error| {
            sqlx::Error::ColumnDecode {
                index: "members".into(),
                source: error.into(),
            }
        })?;
    let last_message = row
        .try_get::<Option<MessageId>, _>("m_id")?
        .map(|_| message(row))
        .transpose()?;
    let standing = Standing::new(
        row.try_get("own_read_count")?,
        row.try_get("others_read_count")?,
    );
    let last_message_read = last_message
        .as_ref()
        .is_some_and(|last| standing.has_read(last, viewer));
    let view = ConversationView {
        id: row.try_get("c_id")?,
        kind: row.try_get("c_kind")?,
        name: row.try_get("c_name")?,
        participants,
        last_message,
        unread_count: row.try_get("unread")?,
        last_seq: row.try_get("c_last_seq")?,
        created_at: row.try_get("c_created_at")?,
        updated_at: row.try_get("c_updated_at")?,
    };
    Ok(Listed {
        view,
        last_message_read,
    })
}

/// A present member's role, and the conversation's last change, both of one moment.
pub async fn membership(
    pool: &PgPool,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<(MemberRole, Seq)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT s.role, c.last_seq FROM memberships s JOIN conversations c ON c.id = s.conversation_id
         WHERE s.conversation_id = $1 AND s.user_id = $2 AND s.left_at IS NULL",
    )
    .bind(conversation)
    .bind(user)
    .fetch_optional(pool)
    .await
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

/// How a user stands to a conversation, and how that has come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Place {
    /// Which.
    #[sqlx(rename = "id")]
    pub conversation: ConversationId,
    /// Its last change.
    pub last_seq: Seq,
    /// When that was.
    pub changed_at: Timestamp,
    /// The change that made the user a member; none if it is none at present.
    pub joined_seq: Option<Seq>,
}

/// How a user stands to these conversations. Those that do not exist are left out.
pub async fn places(
    pool: &PgPool,
    user: UserId,
    conversations: &[ConversationId],
) -> Result<Vec<Place>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.id, c.last_seq, c.changed_at, s.joined_seq
         FROM conversations c
         LEFT JOIN memberships s ON s.conversation_id = c.id AND s.user_id = $1 AND s.left_at IS NULL
         WHERE c.id = ANY($2)",
    )
    .bind(user)
    .bind(conversations)
    .fetch_all(pool)
    .await
}

/// Which conversations these users have been added to, each since its own moment, that moment included, and by which change.
pub async fn joined_since(
    pool: &PgPool,
    users: &[(UserId, Timestamp)],
) -> Result<Vec<(UserId, ConversationId, Seq)>, sqlx::Error> {
    let (users, since): (Vec<UserId>, Vec<Timestamp>) = users.iter().copied().unzip();
    sqlx::query_as(
        "SELECT s.user_id, s.conversation_id, s.joined_seq
         FROM unnest($1::uuid[], $2::timestamptz[]) AS asked (user_id, since)
         JOIN memberships s ON s.user_id = asked.user_id AND s.joined_at >= asked.since
         WHERE s.left_at IS NULL ORDER BY s.joined_at, s.joined_seq",
    )
    .bind(users)
    .bind(since)
    .fetch_all(pool)
    .await
}

/// A membership that has ended.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Removal {
    /// Whose.
    #[sqlx(rename = "user_id")]
    pub user: UserId,
    /// Of which conversation.
    #[sqlx(rename = "conversation_id")]
    pub conversation: ConversationId,
    /// The change that ended it.
    #[sqlx(rename = "change_seq")]
    pub seq: Seq,
    /// By whom: the user itself, if it left.
    #[sqlx(rename = "removed_by")]
    pub by: UserId,
    /// When.
    #[sqlx(rename = "left_at")]
    pub at: Timestamp,
}

/// Which memberships of these users have ended, each since its own moment, that moment included, and have not begun again.
pub async fn removed_since(
    pool: &PgPool,
    users: &[(UserId, Timestamp)],
) -> Result<Vec<Removal>, sqlx::Error> {
    let (users, since): (Vec<UserId>, Vec<Timestamp>) = users.iter().copied().unzip();
    sqlx::query_as(
        "SELECT s.user_id, s.conversation_id, s.change_seq, s.removed_by, s.left_at
         FROM unnest($1::uuid[], $2::timestamptz[]) AS asked (user_id, since)
         JOIN memberships s ON s.user_id = asked.user_id AND s.left_at >= asked.since
         ORDER BY s.left_at, s.change_seq",
    )
    .bind(users)
    .bind(since)
    .fetch_all(pool)
    .await
}

/// How many messages a present member has not read. Deleted ones do not count.
pub async fn unread(
    pool: &PgPool,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT c.message_count - s.read_count
                - (SELECT count(*) FROM messages d
                   WHERE d.conversation_id = $1 AND d.deleted_at IS NOT NULL AND d.ordinal > s.read_count)
         FROM memberships s JOIN conversations c ON c.id = s.conversation_id
         WHERE s.conversation_id = $1 AND s.user_id = $2 AND s.left_at IS NULL",
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
        ] {
            assert_eq!(bad.parse::<ListCursor>(), Err(MalformedCursor), "{bad}");
        }
    }
}
