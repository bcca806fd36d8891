//! Reads what was announced while a client was away, or finds that Redis cannot tell.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use confab_shared::id::{ConversationId, Partition, Seq, UserId};
use confab_shared::model::event::{Event, RoomBatch, UserNotice};
use confab_shared::model::position::Position;
use confab_shared::redis::keyspace::{BATCH_FIELD, BROKEN_FIELD, Keyspace, NOTICE_FIELD};
use fred::clients::Client;
use fred::interfaces::{KeysInterface, StreamsInterface};
use fred::types::Value;
use serde::de::DeserializeOwned;

use super::Record;
use crate::backplane::memory_name;
use crate::hub::offset::Offset;

/// How many entries before the client's place are looked at: the last one with a place in the room's order is wanted.
const BEFORE: u64 = 16;
/// How many of them for a room of which the client had not seen all that was announced.
const BEFORE_EXCEPTION: u64 = 256;

/// What was announced, as far as Redis keeps it.
#[derive(Debug)]
pub struct Histories {
    /// Of each room asked for, in the same order.
    pub rooms: Vec<History>,
    /// The user's notices, some from before the client's place.
    pub notices: Vec<(Position, UserNotice)>,
    /// Up to where this is complete. Whatever comes later reaches those who had joined before this was read.
    pub cut: Position,
}

/// A room's history.
#[derive(Debug)]
pub struct History {
    /// Events with their positions, some from before the client's place.
    pub events: Vec<(Position, Event)>,
    /// What was announced up to here had been shown when the client's place was. On one Redis that is the client's place itself.
    pub certain: Position,
}

impl History {
    /// Whether of each event, but for those before the socket joined, it is certain that it had been shown at the client's place, or had not.
    pub fn is_sure(&self, since: &Offset, floor: Seq, room: ConversationId) -> bool {
        let is_unsure = |(position, event): &(Position, Event)| {
            *position > self.certain
                && *position <= since.position
                && event.seq.is_some_and(|seq| seq > floor)
        };
        since.exception(room).is_some() || !self.events.iter().any(is_unsure)
    }
}

/// What is asked for.
pub(super) struct Wanted<'a> {
    /// Which rooms' histories,
    pub(super) rooms: &'a [ConversationId],
    /// and whose notices.
    pub(super) user: UserId,
    /// What is known of the socket,
    pub(super) record: &'a Record,
    /// and the client's place.
    pub(super) since: &'a Offset,
    /// The present position.
    pub(super) cut: Position,
    /// More events than so many are not made up for.
    pub(super) max_events: usize,
    /// How much earlier than the client's place something may have been announced on another server of a cluster that had not been
    /// heard then.
    pub(super) slack: Duration,
}

/// An entry as it is read: its id and its fields.
type Entry = (String, HashMap<String, String>);

/// Reads histories up to the present position. None: what was announced since is not, or not surely, all there, or more than is made up
/// for.
#[allow(
    clippy::too_many_lines,
    reason = "one thing after the other, each of which may end it"
)]
pub(super) async fn read(
    redis: &Client,
    keyspace: Keyspace,
    wanted: Wanted<'_>,
) -> Result<Option<Histories>, fred::error::Error> {
    let Wanted {
        rooms,
        user,
        record,
        since,
        cut,
        max_events,
        slack,
    } = wanted;
    if !reaches_back(redis, keyspace, rooms, user, since, cut).await? {
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
        .chain([(keyspace.user_history(user), BEFORE_EXCEPTION)]);
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
    let memory = memory_name(redis, keyspace).await?;
    let named: Option<u64> = memory
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
    let histories: Option<Vec<_>> = entries.iter().map(|room| events(room)).collect();
    let notices: Option<Vec<_>> = own.iter().map(|entry| parse(entry, NOTICE_FIELD)).collect();
    let (Some(histories), Some(notices)) = (histories, notices) else {
        return Ok(None);
    };
    let home = keyspace.home_of_user(user);
    let own = rooms
        .iter()
        .zip(&histories)
        .find(|(_, events)| has(events, since.position))
        .map(|(room, _)| keyspace.partition(*room))
        .or_else(|| has(&notices, since.position).then_some(home));
    let places = Places {
        place: since.position,
        earlier: since.position.earlier(slack),
        own,
        is_clustered: keyspace.is_clustered(),
    };
    let certain = places.certain(home);
    let is_unsure = |(position, notice): &(Position, UserNotice)| {
        let (UserNotice::Joined { conversation, .. } | UserNotice::Removed { conversation, .. }) =
            notice;
        // What was so when it connected it was not told, but asked for; and whoever joined a room knew of it.
        *position > certain.max(record.begun)
            && *position <= since.position
            && !since.notices.contains(position)
            && !record.rooms.contains_key(conversation)
    };
    if notices.iter().any(is_unsure) {
        tracing::debug!(%user, "it is not certain which notices a client had seen");
        return Ok(None);
    }
    let rooms = rooms.iter().zip(histories).map(|(room, events)| History {
        events,
        certain: places.certain(keyspace.partition(*room)),
    });
    Ok(Some(Histories {
        rooms: rooms.collect(),
        notices,
        cut,
    }))
}

/// Whether histories are kept for long enough to hold whatever was announced since the client's place.
async fn reaches_back(
    redis: &Client,
    keyspace: Keyspace,
    rooms: &[ConversationId],
    user: UserId,
    since: &Offset,
    cut: Position,
) -> Result<bool, fred::error::Error> {
    let partitions = rooms.iter().map(|room| keyspace.partition(*room));
    let keys: BTreeSet<String> = partitions
        .chain([keyspace.home_of_user(user)])
        .map(|partition| keyspace.history_window(partition))
        .collect();
    let pipeline = redis.pipeline();
    for key in keys {
        let () = pipeline.get(key).await?;
    }
    let windows: Vec<Option<u64>> = pipeline.all().await?;
    // Where no window is noted nothing was ever announced, or Redis lost its memory: its age will tell.
    let Some(window) = windows.into_iter().flatten().min() else {
        return Ok(keyspace.is_clustered() && since.position <= cut);
    };
    let oldest = cut.micros.saturating_sub(window * 1_000);
    Ok(since.position.micros >= oldest && since.position <= cut)
}

/// Whether something was announced just there.
fn has<T>(announced: &[(Position, T)], place: Position) -> bool {
    announced.iter().any(|(at, _)| *at == place)
}

/// Up to where it is certain that everything had been shown when a client's place was.
///
/// On a cluster each server announces in its own order, and what they say arrives at about the time that it was said: what one had announced
/// just before the client's place may not have been heard then. It is certain only for the partition that the place itself is of.
struct Places {
    place: Position,
    earlier: Position,
    /// The partition that the place is of; every one is, where there is one order.
    own: Option<Partition>,
    is_clustered: bool,
}

impl Places {
    fn certain(&self, partition: Partition) -> Position {
        if self.is_clustered && self.own != Some(partition) {
            self.earlier
        } else {
            self.place
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Position {
        Position { micros, index: 0 }
    }

    #[test]
    fn on_a_cluster_only_the_places_own_partition_is_certain_up_to_it() {
        let place = at(9_000);
        let mut places = Places {
            place,
            earlier: place.earlier(Duration::from_millis(5)),
            own: Some(Partition(0)),
            is_clustered: true,
        };
        assert_eq!(places.certain(Partition(0)), place);
        assert_eq!(places.certain(Partition(1)), at(4_000));
        places.own = None;
        assert_eq!(places.certain(Partition(0)), at(4_000));
        places.is_clustered = false;
        assert_eq!(places.certain(Partition(1)), place);
    }
}
