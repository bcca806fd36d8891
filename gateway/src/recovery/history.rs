//! Reads what was announced while a client was away, or finds that Redis cannot tell.

use std::collections::HashMap;

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::event::{Event, RoomBatch, UserNotice};
use confab_shared::model::position::Position;
use confab_shared::redis::keyspace::{BATCH_FIELD, BROKEN_FIELD, Keyspace, NOTICE_FIELD};
use fred::clients::Client;
use fred::interfaces::{KeysInterface, StreamsInterface};
use fred::types::Value;
use serde::de::DeserializeOwned;

use crate::backplane::memory_name;
use crate::hub::offset::Offset;

/// How many entries before the client's place are looked at: the last one with a place in the room's order is wanted.
const BEFORE: u64 = 16;
/// How many of them for a room of which the client had not seen all that was announced.
const BEFORE_EXCEPTION: u64 = 256;

/// What was announced, as far as Redis keeps it.
#[derive(Debug)]
pub struct Histories {
    /// Of each room asked for, in the same order: events with their positions, some from before the client's place.
    pub rooms: Vec<Vec<(Position, Event)>>,
    /// The user's notices, some from before the client's place.
    pub notices: Vec<(Position, UserNotice)>,
    /// Up to where this is complete. Whatever comes later reaches those who had joined before this was read.
    pub cut: Position,
}

/// An entry as it is read: its id and its fields.
type Entry = (String, HashMap<String, String>);

/// Reads histories up to `cut`, the present position. None: what was announced since is not, or not surely, all there, or
/// more than `max_events`.
pub(super) async fn read(
    redis: &Client,
    keyspace: Keyspace,
    rooms: &[ConversationId],
    user: UserId,
    since: &Offset,
    cut: Position,
    max_events: usize,
) -> Result<Option<Histories>, fred::error::Error> {
    let window: Option<u64> = redis.get(Keyspace::history_window()).await?;
    let Some(window) = window else {
        return Ok(None);
    };
    let oldest = cut.micros.saturating_sub(window * 1_000);
    if since.position.micros < oldest || since.position > cut {
        return Ok(None);
    }

    let pipeline = redis.pipeline();
    let most = u64::try_from(max_events)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let place = since.position.to_string();
    let histories = rooms
        .iter()
        .map(|room| {
            let exception = since.exception(*room).is_some();
            let before = if exception { BEFORE_EXCEPTION } else { BEFORE };
            (keyspace.history(*room), before)
        })
        .chain([(Keyspace::user_history(user), BEFORE_EXCEPTION)]);
    for (history, before) in histories {
        let () = pipeline
            .xrevrange(&history, place.as_str(), "-", Some(before))
            .await?;
        let () = pipeline
            .xrange(&history, format!("({place}"), cut.to_string(), Some(most))
            .await?;
    }
    let answers: Vec<Value> = pipeline.all().await?;
    // Last: if Redis lost its memory at any time before, its name is younger than the client's place.
    let epoch = memory_name(redis).await?;
    let named: Option<u64> = epoch
        .split_once(':')
        .and_then(|(micros, _)| micros.parse().ok());
    if named.is_none_or(|named| named >= since.position.micros) {
        return Ok(None);
    }

    let mut entries = Vec::with_capacity(rooms.len() + 1);
    let mut answers = answers.into_iter();
    while let (Some(before), Some(after)) = (answers.next(), answers.next()) {
        let mut all: Vec<Entry> = before.convert()?;
        all.reverse();
        let after: Vec<Entry> = after.convert()?;
        let broken = after
            .iter()
            .any(|(_, fields)| fields.contains_key(BROKEN_FIELD));
        if broken || after.len() > max_events {
            return Ok(None);
        }
        all.extend(after);
        entries.push(all);
    }
    let Some(own) = entries.pop() else {
        return Ok(None);
    };
    let histories = entries
        .iter()
        .map(|room| events(room))
        .collect::<Option<_>>();
    let notices = own.iter().map(|entry| parse(entry, NOTICE_FIELD)).collect();
    Ok(match (histories, notices) {
        (Some(rooms), Some(notices)) => Some(Histories {
            rooms,
            notices,
            cut,
        }),
        _ => None,
    })
}

/// The events of a room's entries, each with its own position.
fn events(entries: &[Entry]) -> Option<Vec<(Position, Event)>> {
    let mut events = Vec::new();
    for entry in entries {
        let (position, batch): (Position, RoomBatch) = parse(entry, BATCH_FIELD)?;
        let placed = batch.events.into_iter().enumerate();
        events.extend(placed.map(|(index, event)| (position.plus(index), event)));
    }
    Some(events)
}

fn parse<T: DeserializeOwned>((id, fields): &Entry, field: &str) -> Option<(Position, T)> {
    let parsed = serde_json::from_str(fields.get(field)?)
        .inspect_err(|error| tracing::error!(%error, "a history holds what is none of ours"))
        .ok()?;
    Some((id.parse().ok()?, parsed))
}
