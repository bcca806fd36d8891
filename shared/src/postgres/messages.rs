//! Messages as their readers see them: pages of a conversation's history, and single ones.
//!
//! Owns the reading of `messages` rows, joined with their senders. Must never know how a page is asked for on the wire.

use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use crate::id::{ConversationId, MessageId, UserId};
use crate::model::account::Profile;
use crate::model::error::{Rejection, RequestError};
use crate::model::message::{Message, MessageStatus};

/// What [`message`] reads, of `messages m` joined with its sender `users u`. Prefixed, so that other columns may stand beside.
macro_rules! message_columns {
    () => {
        "m.id AS m_id, m.conversation_id AS m_conversation_id, m.seq AS m_seq, m.change_seq AS m_change_seq,
         m.ordinal AS m_ordinal, m.type AS m_type, m.content AS m_content, m.reply_to AS m_reply_to,
         m.created_at AS m_created_at, m.edited_at AS m_edited_at, m.deleted_at AS m_deleted_at,
         u.id AS u_id, u.username AS u_username, u.name AS u_name, u.avatar AS u_avatar, u.role AS u_role"
    };
}
pub(super) use message_columns;

/// A message and whether it counts as read for whoever looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageView {
    /// The message.
    pub message: Message,
    /// Of the viewer's own: whether all other present members have read it. Of another's: whether the viewer has.
    pub is_read: bool,
    /// Whether it has reached a socket of somebody else than its sender.
    pub is_delivered: bool,
}

impl MessageView {
    /// How far it has come.
    pub fn status(&self) -> MessageStatus {
        if self.is_read {
            MessageStatus::Read
        } else if self.is_delivered {
            MessageStatus::Delivered
        } else {
            MessageStatus::Sent
        }
    }
}

/// Which part of a conversation's history is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slice {
    /// The newest.
    Newest,
    /// Those just before a message.
    Before(MessageId),
    /// Those just after a message.
    After(MessageId),
    /// The page of this number, counted back from the newest, which are on page 1.
    Numbered(u32),
}

/// What part of a conversation's history is read, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// From where.
    pub slice: Slice,
    /// At most so many.
    pub limit: u32,
}

/// A part of a conversation's history, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePage {
    /// The messages, newest first whichever way they were asked for.
    pub messages: Vec<MessageView>,
    /// Whether there are more in the direction asked for.
    pub has_more: bool,
}

/// A page of the history, for a present member, or for anybody in a public room. Rejects a viewer who is none, and a slice whose message is not of this
/// conversation.
pub async fn page(
    pool: &PgPool,
    conversation: ConversationId,
    viewer: UserId,
    page: Page,
) -> Result<MessagePage, RequestError> {
    let place = standing(pool, conversation, viewer, page.slice).await?;
    let mut place = place.ok_or_else(|| Rejection::not_found("conversation"))?;
    let (edge, forward) = match page.slice {
        Slice::Newest => (Some(i64::MAX), false),
        Slice::Before(_) => (place.anchor, false),
        Slice::After(_) => (place.anchor, true),
        Slice::Numbered(number) => (
            Some(edge_of(pool, conversation, number, page.limit).await?),
            false,
        ),
    };
    let edge = edge.ok_or_else(|| Rejection::not_found("message"))?;
    // One more than asked for tells whether there are more.
    let wanted = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let limit = i64::from(page.limit) + 1;
    let mut messages = around(pool, conversation, edge, forward, place.last_seq, limit).await?;
    let has_more = messages.len() > wanted;
    messages.truncate(wanted);
    if forward {
        messages.reverse();
    }
    if messages.iter().any(|message| message.sender.id == viewer) {
        place.others = others(pool, conversation, viewer).await?;
    }
    let messages = messages
        .into_iter()
        .map(|message| place.view(message, viewer))
        .collect();
    Ok(MessagePage { messages, has_more })
}

/// A message as a present member of its conversation, or its sender, sees it.
pub async fn find(
    pool: &PgPool,
    id: MessageId,
    viewer: UserId,
) -> Result<Option<MessageView>, sqlx::Error> {
    let row = sqlx::query(concat!(
        "SELECT ",
        message_columns!(),
        ", COALESCE(s.read_count, c.message_count) AS read_count,
           -- Of one's own message, somebody who has not read it says as much as the one who has read least.
           (SELECT o.read_count FROM memberships o WHERE m.sender_id = $2 AND o.conversation_id = m.conversation_id
              AND o.left_at IS NULL AND o.user_id <> $2 AND o.read_count < m.ordinal LIMIT 1) AS others_read_count,
           COALESCE((SELECT delivered_count FROM deliveries d WHERE d.conversation_id = m.conversation_id), 0) AS delivered_count
         FROM messages m
         JOIN users u ON u.id = m.sender_id
         JOIN conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
         LEFT JOIN memberships s ON s.conversation_id = m.conversation_id AND s.user_id = $2 AND s.left_at IS NULL
         WHERE m.id = $1 AND (s.user_id IS NOT NULL OR m.sender_id = $2 OR c.kind = 'room')"
    ))
    .bind(id)
    .bind(viewer)
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        let standing = Standing {
            own: row.try_get("read_count")?,
            others: row.try_get("others_read_count")?,
            delivered: row.try_get("delivered_count")?,
            anchor: None,
            last_seq: i64::MAX,
        };
        Ok(standing.view(message(&row)?, viewer))
    })
    .transpose()
}

/// How far a conversation has been read, and where a page begins.
pub(super) struct Standing {
    /// The viewer's own read count.
    own: i64,
    /// The least of the other present members'; none if there are no others.
    others: Option<i64>,
    /// Up to where messages have reached somebody else than their sender.
    delivered: i64,
    /// The `seq` of the message that a page was asked for by.
    anchor: Option<i64>,
    /// The conversation's last change: whoever was a member then may see what had been said by then.
    last_seq: i64,
}

impl Standing {
    /// How far the viewer and the least advanced of the others have read, and up to where messages have reached somebody.
    pub(super) fn new(own: i64, others: Option<i64>, delivered: i64) -> Self {
        Self {
            own,
            others,
            delivered,
            anchor: None,
            last_seq: i64::MAX,
        }
    }

    /// Whether a message counts as read.
    fn has_read(&self, message: &Message, viewer: UserId) -> bool {
        if message.sender.id == viewer {
            self.others.is_none_or(|least| least >= message.ordinal)
        } else {
            self.own >= message.ordinal
        }
    }

    /// The message, and how far it has come for this viewer.
    pub(super) fn view(&self, message: Message, viewer: UserId) -> MessageView {
        MessageView {
            is_read: self.has_read(&message, viewer),
            is_delivered: message.ordinal <= self.delivered,
            message,
        }
    }
}

async fn standing(
    pool: &PgPool,
    conversation: ConversationId,
    viewer: UserId,
    slice: Slice,
) -> Result<Option<Standing>, sqlx::Error> {
    let anchor = match slice {
        Slice::Before(message) | Slice::After(message) => Some(message),
        Slice::Newest | Slice::Numbered(_) => None,
    };
    let row: Option<(i64, i64, i64, Option<i64>)> = sqlx::query_as(
        "SELECT COALESCE(s.read_count, c.message_count), c.last_seq,
                COALESCE((SELECT delivered_count FROM deliveries d WHERE d.conversation_id = $1), 0),
                (SELECT m.seq FROM messages m WHERE m.id = $3 AND m.conversation_id = $1)
         FROM conversations c
         LEFT JOIN memberships s ON s.conversation_id = c.id AND s.user_id = $2 AND s.left_at IS NULL
         WHERE c.id = $1 AND c.deleted_at IS NULL AND (c.kind = 'room' OR s.user_id IS NOT NULL)",
    )
    .bind(conversation)
    .bind(viewer)
    .bind(anchor)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|(own, last_seq, delivered, anchor)| Standing {
        own,
        others: None,
        delivered,
        anchor,
        last_seq,
    }))
}

/// How far the least advanced of the other present members has read; none if there are no others. Walks all memberships.
async fn others(
    pool: &PgPool,
    conversation: ConversationId,
    viewer: UserId,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT min(read_count) FROM memberships WHERE conversation_id = $1 AND left_at IS NULL AND user_id <> $2",
    )
    .bind(conversation)
    .bind(viewer)
    .fetch_one(pool)
    .await
}

/// The `seq` below which a numbered page begins: all messages before it have their ordinal up to what the pages before leave.
///
/// Ordinals count a conversation's messages without a gap, and rise with `seq`, by which there is an index. A message's `seq` exceeds its
/// ordinal by the other changes before it, which are no more than all that there are; where between, is found by halving. So the last
/// page costs what the first does.
async fn edge_of(
    pool: &PgPool,
    conversation: ConversationId,
    number: u32,
    limit: u32,
) -> Result<i64, sqlx::Error> {
    let passed = i64::from(number.saturating_sub(1)) * i64::from(limit);
    if passed == 0 {
        return Ok(i64::MAX);
    }
    // `low`: up to here all ordinals are within what is left. `high`: from here on none is.
    let edge: Option<i64> = sqlx::query_scalar(
        "WITH RECURSIVE halving (low, high, remaining) AS (
             SELECT message_count - $2, last_seq - $2 + 1, message_count - $2 FROM conversations WHERE id = $1
             UNION ALL
             SELECT CASE WHEN probe.within THEN middle.seq ELSE low END, CASE WHEN probe.within THEN high ELSE middle.seq END, remaining
             FROM halving
             CROSS JOIN LATERAL (SELECT low + (high - low) / 2 AS seq) middle
             CROSS JOIN LATERAL (
                 SELECT COALESCE((SELECT m.ordinal FROM messages m WHERE m.conversation_id = $1 AND m.seq <= middle.seq
                                  ORDER BY m.seq DESC LIMIT 1), 0) <= remaining AS within
             ) probe
             WHERE high - low > 1 AND remaining > 0
         )
         SELECT CASE WHEN min(remaining) > 0 THEN min(high) ELSE 0 END FROM halving",
    )
    .bind(conversation)
    .bind(passed)
    .fetch_one(pool)
    .await?;
    Ok(edge.unwrap_or(0))
}

/// The messages nearest to an edge, which is not among them, up to a change, in the order in which they are met.
async fn around(
    pool: &PgPool,
    conversation: ConversationId,
    edge: i64,
    forward: bool,
    last_seq: i64,
    limit: i64,
) -> Result<Vec<Message>, sqlx::Error> {
    let sql = if forward {
        concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m JOIN users u ON u.id = m.sender_id
              WHERE m.conversation_id = $1 AND m.seq > $2 AND m.seq <= $3 ORDER BY m.seq LIMIT $4"
        )
    } else {
        concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m JOIN users u ON u.id = m.sender_id
              WHERE m.conversation_id = $1 AND m.seq < $2 AND m.seq <= $3 ORDER BY m.seq DESC LIMIT $4"
        )
    };
    let rows = sqlx::query(sql)
        .bind(conversation)
        .bind(edge)
        .bind(last_seq)
        .bind(limit)
        .fetch_all(pool)
        .await?;
    rows.iter().map(message).collect()
}

/// Reads [`message_columns!`].
pub(super) fn message(row: &PgRow) -> Result<Message, sqlx::Error> {
    Ok(Message {
        id: row.try_get("m_id")?,
        conversation: row.try_get("m_conversation_id")?,
        seq: row.try_get("m_seq")?,
        change_seq: row.try_get("m_change_seq")?,
        ordinal: row.try_get("m_ordinal")?,
        sender: Arc::new(profile(row)?),
        message_type: row.try_get::<&str, _>("m_type")?.into(),
        content: row.try_get::<&str, _>("m_content")?.into(),
        reply_to: row.try_get("m_reply_to")?,
        created_at: row.try_get("m_created_at")?,
        edited_at: row.try_get("m_edited_at")?,
        deleted_at: row.try_get("m_deleted_at")?,
    })
}

/// Reads the user's part of [`message_columns!`].
pub(super) fn profile(row: &PgRow) -> Result<Profile, sqlx::Error> {
    Ok(Profile {
        id: row.try_get("u_id")?,
        username: row.try_get::<&str, _>("u_username")?.into(),
        name: row.try_get::<&str, _>("u_name")?.into(),
        avatar: row.try_get::<Option<&str>, _>("u_avatar")?.map(Arc::from),
        account: row.try_get("u_role")?,
    })
}
