//! Keeps the records of this node's sockets: alive, up to date, and there again when Redis lost its memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::Partition;
use fred::error::Error;
use futures_util::future::join_all;

use super::record::Record;
use super::{Kept, Recovery};
use crate::hub::offset::Offset;

/// How often the hub's place is noted.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// How many notes are kept: more than an answered ping can be old when it is looked at.
const NOTES: usize = 256;
/// How many notes pass between two looks at all sockets.
const LOOK_EVERY: u32 = 5;
/// How long a record goes without a sign of life from its node.
pub(super) const REFRESH: Duration = Duration::from_secs(20);
/// The most records of one partition that are written at a time.
const BATCH: usize = 64;
/// The field that says what a socket's client has surely received.
const SEEN: &str = "seen";

/// Runs until told to stop. Inputs: a clock, and Redis's losses of memory.
pub(super) async fn run(recovery: Recovery) {
    let mut forgotten: Vec<Arc<Kept>> = Vec::new();
    let mut notes: VecDeque<(Instant, Offset)> = VecDeque::with_capacity(NOTES);
    let mut clock = tokio::time::interval(NOTE_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rounds = 0_u32;
    loop {
        let lost = tokio::select! {
            () = recovery.shared.backplane.memory_lost() => true,
            _ = clock.tick() => false,
        };
        if lost {
            forgotten = recovery.all();
            tracing::info!(
                records = forgotten.len(),
                "records of sockets are written anew"
            );
        }
        rewrite(&recovery, &mut forgotten).await;
        if lost {
            continue;
        }
        let Ok(offset) = recovery.shared.hub.offset().await else {
            return;
        };
        // After the answer: whatever was announced up to there was queued before this moment.
        if notes.len() == NOTES {
            notes.pop_front();
        }
        notes.push_back((Instant::now(), offset));
        rounds += 1;
        if rounds.is_multiple_of(LOOK_EVERY) {
            refresh(&recovery, &notes).await;
        }
    }
}

/// Divides what is to be done by where it is kept: a server that does not answer holds up what is on its own slots, and nothing else.
fn lanes<T>(recovery: &Recovery, all: Vec<T>, kept: impl Fn(&T) -> &Kept) -> Vec<Vec<T>> {
    let mut lanes: BTreeMap<Partition, Vec<T>> = BTreeMap::new();
    for one in all {
        let partition = recovery.shared.keyspace.home(&kept(&one).pid);
        lanes.entry(partition).or_default().push(one);
    }
    lanes.into_values().collect()
}

/// Notes what clients have surely received, keeps the records from lapsing, and writes those anew that are amiss. What fails is due again.
async fn refresh(recovery: &Recovery, notes: &VecDeque<(Instant, Offset)>) {
    let now = Instant::now();
    let mut due: Vec<Due> = Vec::new();
    for kept in recovery.all() {
        let seen = kept.unsaved(notes);
        if seen.is_some() || kept.is_due(now) {
            due.push((kept, seen));
        }
    }
    let lanes = lanes(recovery, due, |(kept, _)| kept);
    let refreshed = join_all(lanes.into_iter().map(|lane| refresh_lane(recovery, lane)));
    if let Some(error) = refreshed.await.into_iter().find_map(Result::err) {
        tracing::warn!(%error, "records of sockets not refreshed");
    }
}

/// A record that is due, and what its client has surely received, unless the record says so.
type Due = (Arc<Kept>, Option<Offset>);

/// Fails with the first of what failed. A record that cannot be refreshed keeps no others from it, unless nothing at all can be done: then all
/// that is left would only be waited for.
async fn refresh_lane(recovery: &Recovery, lane: Vec<Due>) -> Result<(), Error> {
    let mut reason = None;
    for some in lane.chunks(BATCH) {
        let refreshed = some
            .iter()
            .map(|(kept, seen)| refresh_one(recovery, kept, seen.as_ref()));
        let refreshed = join_all(refreshed).await;
        let is_away = refreshed.iter().all(Result::is_err);
        reason = reason.or(refreshed.into_iter().find_map(Result::err));
        if is_away {
            break;
        }
    }
    reason.map_or(Ok(()), Err)
}

/// Refreshes a record; writes it anew if it is amiss, or if it is gone (its node and Redis were apart for longer than it lasts) and its client is
/// surely still here. A record that another node has by now is left alone: its word to end the socket was not heard.
async fn refresh_one(recovery: &Recovery, kept: &Kept, seen: Option<&Offset>) -> Result<(), Error> {
    let seen = seen.map_or_else(String::new, ToString::to_string);
    let arguments = vec![recovery.time_to_live().to_string(), seen];
    let refreshed = recovery.on_record::<String>(&recovery.shared.refresh, kept, arguments);
    match refreshed.await?.as_str() {
        "ok" => {
            kept.refreshed(Instant::now());
            if kept.is_amiss() {
                rewrite_one(recovery, kept).await?;
            }
        }
        "taken" => recovery.lose(kept),
        _ => {
            if kept.is_here_without_record(Instant::now()) {
                tracing::debug!("a socket's record is gone, and is written anew");
                rewrite_one(recovery, kept).await?;
            }
        }
    }
    Ok(())
}

/// Redis lost its memory, or a server some of it: what is known of these is written anew, and what cannot be written is left for the next
/// time. What was announced before is lost with it, which its name's age tells.
async fn rewrite(recovery: &Recovery, forgotten: &mut Vec<Arc<Kept>>) {
    let lanes = lanes(recovery, std::mem::take(forgotten), |kept| kept);
    let rewritten = join_all(lanes.into_iter().map(|lane| rewrite_lane(recovery, lane)));
    let mut reason = None;
    for (left, failed) in rewritten.await {
        forgotten.extend(left);
        reason = reason.or(failed);
    }
    if let Some(error) = reason {
        tracing::warn!(%error, left = forgotten.len(), "records of sockets not written anew yet");
    }
}

/// Those that are left, and why.
async fn rewrite_lane(
    recovery: &Recovery,
    mut lane: Vec<Arc<Kept>>,
) -> (Vec<Arc<Kept>>, Option<Error>) {
    let mut reason = None;
    while reason.is_none() && !lane.is_empty() {
        let some = lane.split_off(lane.len().saturating_sub(BATCH));
        let written = join_all(some.iter().map(|kept| rewrite_one(recovery, kept))).await;
        for (written, kept) in written.into_iter().zip(some) {
            if let Err(error) = written {
                reason = Some(error);
                lane.push(kept);
            }
        }
    }
    (lane, reason)
}

/// Writes a socket's record as it is, and nothing else. What was written to it meanwhile may have come first, and be gone. A record that
/// another node has by now stays as it is.
async fn rewrite_one(recovery: &Recovery, kept: &Kept) -> Result<(), Error> {
    loop {
        if !recovery.has(kept) {
            return Ok(());
        }
        let noting = kept.begin_anew();
        let fields = recovery.fields(kept);
        let is_written = recovery.write_whole(kept, &fields).await?;
        noting.done();
        if !is_written {
            recovery.lose(kept);
            return Ok(());
        }
        let mut present = recovery.fields(kept);
        // It is only later, and will be written again.
        present.insert(SEEN.to_owned(), fields[SEEN].clone());
        if present == fields {
            kept.refreshed(Instant::now());
            return Ok(());
        }
    }
}

impl Recovery {
    fn has(&self, kept: &Kept) -> bool {
        let all = self.shared.kept.lock();
        all.get(&kept.pid)
            .is_some_and(|present| std::ptr::eq(Arc::as_ptr(present), kept))
    }

    /// Writes a record whole. False if it is another node's by now.
    pub(super) async fn write_whole(
        &self,
        kept: &Kept,
        fields: &HashMap<String, String>,
    ) -> Result<bool, Error> {
        let mut arguments = vec![self.time_to_live().to_string()];
        for (name, value) in fields {
            arguments.extend([name.clone(), value.clone()]);
        }
        let written = self.on_record::<i64>(&self.shared.rewrite, kept, arguments);
        Ok(written.await? == 1)
    }

    /// Everything that a record holds.
    pub(super) fn fields(&self, kept: &Kept) -> HashMap<String, String> {
        let mut fields: HashMap<String, String> = [
            ("user", kept.socket.user().to_string()),
            ("namespace", kept.socket.namespace().as_str().to_owned()),
            ("sid", kept.sid.clone()),
            ("node", self.shared.node.to_string()),
            ("turn", kept.turn.to_string()),
            (SEEN, kept.seen().to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        if let Some(dialect) = kept.socket.settled_dialect() {
            fields.insert("dialect".to_owned(), dialect.id().to_owned());
        }
        for (room, inside) in kept.rooms.lock().iter() {
            fields.insert(Record::room_field(*room), inside.entered.to_string());
        }
        fields
    }
}
