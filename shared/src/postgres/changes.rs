//! What happened in a conversation, read back from the rows that it left.
//!
//! Owns the way from rows to events: hubs that missed announcements repair the gap with it, and what they then show is what
//! they would have been told. Every changed row carries the `seq` of its change, so no log of events is kept.

use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use super::messages::{message, message_columns, profile};
use crate::id::{ConversationId, Seq, UserId};
use crate::model::conversation::Participant;
use crate::model::event::{Event, Fact};
use crate::model::timestamp::Timestamp;

/// The most rows one call reads. More than one change can touch: a change adds at most
/// [`MAX_PARTICIPANTS`](crate::model::content::MAX_PARTICIPANTS) members, so that every call gets further.
const MAX_ROWS: usize = 1_000;

/// The changes of a conversation after a place in its order, as far as they left a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Every change up to this one is in `events`, or was superseded by a later change of the same row.
    pub up_to: Seq,
    /// Whether `up_to` was the conversation's last change; if not, ask again after it.
    pub complete: bool,
    /// The changes, in order. A superseded one (an edit that another edit followed, a reading that went further later, a
    /// membership that ended again) is left out. A message that was edited or deleted since is shown stored as it is now.
    pub events: Vec<Event>,
}

/// Reads what changed after `after`, of one moment. Of a conversation that does not exist, nothing.
pub async fn since(
    pool: &PgPool,
    conversation: ConversationId,
    after: Seq,
) -> Result<Changes, sqlx::Error> {
    // One statement, so that all parts are of one snapshot. Each branch follows an index in the order of its change, but for
    // the readings, which are looked for among the members: an index on them would make every reading dearer.
    let rows = sqlx::query(concat!(
        "SELECT c.last_seq, c.created_at AS created_at, c.created_by,
                c.name AS c_name, c.description AS c_description, c.max_users AS c_max_users, changes.*, ",
        message_columns!(),
        " FROM conversations c
         LEFT JOIN LATERAL (
           (SELECT seq, 'stored' AS what, id AS message_id, NULL::uuid AS user_id, NULL::text AS role,
                   NULL::bigint AS read_count, NULL::uuid AS by_id, created_at AS at
            FROM messages WHERE conversation_id = c.id AND seq > $2 ORDER BY seq LIMIT $3)
           UNION ALL
           (SELECT change_seq, CASE WHEN deleted_at IS NULL THEN 'edited' ELSE 'deleted' END, id, NULL, NULL,
                   NULL, deleted_by, COALESCE(deleted_at, edited_at, created_at)
            FROM messages WHERE conversation_id = c.id AND change_seq > $2 AND change_seq <> seq
            ORDER BY change_seq LIMIT $3)
           UNION ALL
           (SELECT read_seq, 'read', read_message_id, user_id, NULL, read_count, NULL, COALESCE(read_at, joined_at)
            FROM memberships WHERE conversation_id = c.id AND read_seq > $2 ORDER BY read_seq LIMIT $3)
           UNION ALL
           (SELECT joined_seq, 'added', NULL, user_id, role, NULL, NULL, joined_at
            FROM memberships
            WHERE conversation_id = c.id AND change_seq > $2 AND joined_seq > GREATEST($2, 1) AND left_at IS NULL
            ORDER BY joined_seq, user_id LIMIT $3)
           UNION ALL
           (SELECT change_seq, 'removed', NULL, user_id, NULL, NULL, removed_by, left_at
            FROM memberships WHERE conversation_id = c.id AND change_seq > $2 AND left_at IS NOT NULL
            ORDER BY change_seq LIMIT $3)
           UNION ALL
           (SELECT c.info_seq, CASE WHEN c.deleted_at IS NULL THEN 'room updated' ELSE 'room deleted' END, NULL, NULL, NULL,
                   NULL, c.info_by, c.info_at
            WHERE c.info_seq > $2)
           ORDER BY seq LIMIT $3
         ) changes ON true
         LEFT JOIN messages m ON m.id = changes.message_id AND changes.what <> 'read'
         LEFT JOIN users u ON u.id = COALESCE(m.sender_id, changes.user_id)
         WHERE c.id = $1
         ORDER BY changes.seq"
    ))
    .bind(conversation)
    .bind(after)
    .bind(i64::try_from(MAX_ROWS).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    let Some(first) = rows.first() else {
        return Ok(Changes {
            up_to: after,
            complete: true,
            events: Vec::new(),
        });
    };
    let last_seq: Seq = first.try_get("last_seq")?;
    let mut events = Vec::with_capacity(rows.len());
    if after < Seq(1) && last_seq >= Seq(1) {
        let fact = Fact::ConversationCreated {
            by: first.try_get("created_by")?,
        };
        events.push(Event {
            seq: Some(Seq(1)),
            at: first.try_get("created_at")?,
            fact,
        });
    }
    // Where the rows were cut, the change of the last one may have more of them: it waits for the next call.
    let cut: Option<Seq> = match rows.last() {
        Some(last) if rows.len() >= MAX_ROWS => last.try_get("seq")?,
        _ => None,
    };
    for row in &rows {
        match row.try_get::<Option<Seq>, _>("seq")? {
            Some(seq) if cut.is_none_or(|cut| seq < cut) => append(&mut events, seq, row)?,
            _ => {}
        }
    }
    Ok(Changes {
        up_to: cut.map_or(last_seq, |cut| Seq(cut.0 - 1)),
        complete: cut.is_none(),
        events,
    })
}

/// Adds the event of a row; one more added member to the event that adds the others of the same change.
fn append(events: &mut Vec<Event>, seq: Seq, row: &PgRow) -> Result<(), sqlx::Error> {
    let at: Timestamp = row.try_get("at")?;
    let fact = match row.try_get("what")? {
        "stored" => Fact::MessageStored {
            message: message(row)?,
            temp_id: None,
        },
        "edited" => Fact::MessageEdited {
            message: message(row)?,
        },
        "deleted" => Fact::MessageDeleted {
            message: row.try_get("message_id")?,
            by: row.try_get("by_id")?,
        },
        "read" => Fact::MessagesRead {
            user: row.try_get("user_id")?,
            message: row.try_get("message_id")?,
            read_count: row.try_get("read_count")?,
        },
        "added" => {
            let member = Participant::new(profile(row)?, row.try_get("role")?);
            match events.last_mut() {
                Some(Event {
                    seq: Some(same),
                    fact: Fact::MembersAdded { members },
                    ..
                }) if *same == seq => {
                    members.push(member);
                    return Ok(());
                }
                _ => Fact::MembersAdded {
                    members: vec![member],
                },
            }
        }
        "removed" => Fact::MemberRemoved {
            user: row.try_get::<UserId, _>("user_id")?,
            by: row.try_get("by_id")?,
        },
        "room updated" => Fact::RoomUpdated {
            by: row.try_get("by_id")?,
            name: row.try_get::<&str, _>("c_name")?.into(),
            description: row
                .try_get::<Option<&str>, _>("c_description")?
                .map(Arc::from),
            max_users: row.try_get("c_max_users")?,
        },
        "room deleted" => Fact::RoomDeleted {
            by: row.try_get("by_id")?,
        },
        unknown => {
            return Err(sqlx::Error::Decode(
                format!("a change of unknown kind {unknown:?}").into(),
            ));
        }
    };
    events.push(Event {
        seq: Some(seq),
        at,
        fact,
    });
    Ok(())
}
