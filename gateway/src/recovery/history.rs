//! Reads what was announced while a client was away, or finds that Redis cannot tell.

use std::collections::HashMap;
use std::time::Duration;

use confab_shared::id::{ConversationId, Partition, UserId};
use confab_shared::model::event::{Event, RoomBatch, UserNotice};
use confab_shared::model::position::Position;
use confab_shared::redis::keyspace::{BATCH_FIELD, BROKEN_FIELD, Keyspace, NOTICE_FIELD};
use confab_shared::telemetry::Unreadable;
use fred::clients::Client;
use fred::interfaces::{KeysInterface, StreamsInterface};
use fred::types::Value;
use serde::de::DeserializeOwned;

use super::{RecoveryError, Refusal};
use crate::backplane::{memory_names, named_at};
use crate::hub::offset::Offset;
use crate::hub::places::{Orders, Places};

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
    /// Up to where this is complete, in the orders that were asked for. Whatever comes later reaches those who had joined before this was read.
    pub cut: Places,
    /// Those orders: of the rooms, and of what concerns the user.
    pub asked: Vec<Partition>,
}

/// What is asked for.
pub(super) struct Wanted<'a> {
    /// The orders that there are.
    pub(super) orders: Orders,
    /// Those that matter to the rooms and the user.
    pub(super) asked: Vec<Partition>,
    /// Which rooms' histories,
    pub(super) rooms: &'a [ConversationId],
    /// and whose notices.
    pub(super) user: UserId,
    /// The client's place.
    pub(super) since: &'a Offset,
    /// The present places.
    pub(super) cut: Places,
    /// More events than so many are not made up for.
    pub(super) max_events: usize,
    /// How far apart the clocks may be of a server and of the one that takes its place.
    pub(super) slack: Duration,
}

/// An entry as it is read: its id and its fields.
type Entry = (String, HashMap<String, String>);

/// Reads histories up to the present position, if what was announced since is surely all there, and no more than is made up for.
pub(super) async fn read(
    redis: &Client,
    keyspace: Keyspace,
    wanted: Wanted<'_>,
) -> Result<Histories, RecoveryError> {
    if !reach_back(redis, keyspace, &wanted).await? {
        return Err(Refusal::Forgotten.into());
    }
    let answers = ask(redis, keyspace, &wanted).await?;
    // Last: if a server lost its memory at any time before, its name is younger than the client's place there.
    let asked = wanted.asked.iter().copied();
    let names = memory_names(redis, keyspace, asked.clone()).await?;
    let is_younger = |(order, name): (Partition, &String)| {
        let place = wanted.since.places.of(order);
        named_at(name).is_none_or(|named| is_forgotten(place, named, wanted.slack))
    };
    if asked.zip(&names).any(is_younger) {
        return Err(Refusal::Forgotten.into());
    }

    let mut entries = entries(answers, wanted.max_events)?;
    let own = entries.pop().ok_or(Refusal::Forgotten)?;
    let rooms: Option<Vec<_>> = entries.iter().map(|room| events(room)).collect();
    let notices: Option<Vec<_>> = own.iter().map(|entry| parse(entry, NOTICE_FIELD)).collect();
    let (Some(rooms), Some(notices)) = (rooms, notices) else {
        return Err(Refusal::Forgotten.into());
    };
    Ok(Histories {
        rooms,
        notices,
        cut: wanted.cut,
        asked: wanted.asked,
    })
}

/// Whether a memory that was named at that moment may lack what was announced at a place. A server that takes another's place names it by a
/// clock that may be behind, and goes on from positions of which it may have lost the last.
fn is_forgotten(place: Position, named: u64, slack: Duration) -> bool {
    place.earlier(slack).micros <= named
}

/// Asks for each room's history, then the user's: around the client's place, and from there on.
async fn ask(
    redis: &Client,
    keyspace: Keyspace,
    wanted: &Wanted<'_>,
) -> Result<Vec<Value>, fred::error::Error> {
    let pipeline = redis.pipeline();
    let most = u64::try_from(wanted.max_events)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let histories = wanted
        .rooms
        .iter()
        .map(|room| {
            let exception = wanted.since.exception(*room).is_some();
            let before = if exception { BEFORE_EXCEPTION } else { BEFORE };
            let order = wanted.orders.of_room(*room);
            (order, keyspace.history(*room), before)
        })
        .chain([(
            wanted.orders.of_user(wanted.user),
            keyspace.user_history(wanted.user),
            BEFORE_EXCEPTION,
        )]);
    for (order, history, before) in histories {
        let place = wanted.since.places.of(order).to_string();
        let cut = wanted.cut.of(order).to_string();
        let () = pipeline
            .xrevrange(&history, place.as_str(), "-", Some(before))
            .await?;
        let () = pipeline
            .xrange(&history, format!("({place}"), cut.as_str(), Some(most))
            .await?;
    }
    pipeline.all().await
}

/// The entries of each history in their order, of the answers to [`ask`].
fn entries(answers: Vec<Value>, max_events: usize) -> Result<Vec<Vec<Entry>>, RecoveryError> {
    let mut histories = Vec::with_capacity(answers.len() / 2);
    let mut answers = answers.into_iter();
    while let (Some(before), Some(after)) = (answers.next(), answers.next()) {
        let mut history: Vec<Entry> = before.convert()?;
        history.reverse();
        let after: Vec<Entry> = after.convert()?;
        if after
            .iter()
            .any(|(_, fields)| fields.contains_key(BROKEN_FIELD))
        {
            return Err(Refusal::Forgotten.into());
        }
        if after.len() > max_events {
            return Err(Refusal::TooMuch.into());
        }
        history.extend(after);
        histories.push(history);
    }
    Ok(histories)
}

/// Whether histories are kept for long enough to hold whatever was announced since the client's place.
async fn reach_back(
    redis: &Client,
    keyspace: Keyspace,
    wanted: &Wanted<'_>,
) -> Result<bool, fred::error::Error> {
    let pipeline = redis.pipeline();
    for order in &wanted.asked {
        let () = pipeline.get(keyspace.history_window(*order)).await?;
    }
    let windows: Vec<Option<u64>> = pipeline.all().await?;
    let reaches_back = |(order, window): (&Partition, &Option<u64>)| {
        let (since, cut) = (wanted.since.places.of(*order), wanted.cut.of(*order));
        // Where no window is noted nothing was ever announced, or Redis lost its memory: its age will tell.
        window.is_none_or(|window| since.micros >= cut.micros.saturating_sub(window * 1_000))
    };
    Ok(wanted.asked.iter().zip(&windows).all(reaches_back))
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
        .inspect_err(|error| {
            let error = Unreadable::from(error);
            tracing::error!(%error, "a history holds what is none of ours");
        })
        .ok()?;
    Some((id.parse().ok()?, parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_younger_than_the_place_has_forgotten_and_so_may_one_that_is_named_by_another_clock()
    {
        let place = Position {
            micros: 9_000,
            index: 2,
        };
        let none = Duration::ZERO;
        assert!(!is_forgotten(place, 8_999, none));
        assert!(is_forgotten(place, 9_000, none));
        let slack = Duration::from_millis(5);
        assert!(!is_forgotten(place, 3_999, slack));
        assert!(
            is_forgotten(place, 4_000, slack),
            "its clock may be 5 ms behind"
        );
    }
}
