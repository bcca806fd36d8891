//! Keeps the records of this node's sockets: alive, up to date, and there again when Redis lost its memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::model::position::{MalformedPosition, Position};
use fred::interfaces::{HashesInterface, KeysInterface};
use fred::types::Value;

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
/// The most records in one pipeline.
const BATCH: usize = 256;

/// Runs until told to stop. Inputs: a clock, and Redis's losses of memory.
pub(super) async fn run(recovery: Recovery) {
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
            rewrite_all(&recovery).await;
            continue;
        }
        let metrics = &recovery.shared.metrics;
        if let Err(error) = metrics.redis.time("tick", recovery.tick()).await {
            tracing::debug!(%error, "no tick");
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

/// Notes what clients have surely received, and keeps the records from lapsing.
async fn refresh(recovery: &Recovery, notes: &VecDeque<(Instant, Offset)>) {
    let now = Instant::now();
    let mut due: Vec<(Arc<Kept>, Option<Offset>)> = Vec::new();
    for kept in recovery.all() {
        let seen = kept.seen_since(notes);
        if seen.is_some() || kept.is_due(now) {
            due.push((kept, seen));
        }
    }
    for some in due.chunks(BATCH) {
        let written = write(recovery, some);
        match recovery.shared.metrics.redis.time("record", written).await {
            Ok(()) => {
                for (kept, _) in some {
                    kept.refreshed(now);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "records of sockets not refreshed");
                return;
            }
        }
    }
}

async fn write(
    recovery: &Recovery,
    some: &[(Arc<Kept>, Option<Offset>)],
) -> Result<(), fred::error::Error> {
    let pipeline = recovery.shared.redis.pipeline();
    for (kept, seen) in some {
        let key = recovery.shared.keyspace.session(&kept.pid);
        if let Some(seen) = seen {
            let () = pipeline.hset(&key, ("seen", seen.to_string())).await?;
        }
        let () = pipeline
            .pexpire(&key, recovery.time_to_live(), None)
            .await?;
    }
    let _: Vec<Value> = pipeline.all().await?;
    Ok(())
}

/// Redis lost its memory: all records are written anew. What was announced before is lost with it, which its name's age tells.
async fn rewrite_all(recovery: &Recovery) {
    let all = recovery.all();
    tracing::info!(records = all.len(), "records of sockets are written anew");
    for some in all.chunks(BATCH) {
        let rewritten = async {
            let pipeline = recovery.shared.redis.pipeline();
            for kept in some {
                let key = recovery.shared.keyspace.session(&kept.pid);
                let () = pipeline.hset(&key, recovery.fields(kept)).await?;
                let () = pipeline
                    .pexpire(&key, recovery.time_to_live(), None)
                    .await?;
            }
            let _: Vec<Value> = pipeline.all().await?;
            Ok::<(), fred::error::Error>(())
        };
        if let Err(error) = rewritten.await {
            // A socket without a record cannot be recovered; its client begins anew, and is told so.
            tracing::warn!(%error, "records of sockets not written anew");
            return;
        }
    }
}

impl Recovery {
    /// Has the node hear where the announcements are, and returns that: without it, a quiet node would not know that it has missed
    /// nothing.
    pub(super) async fn tick(&self) -> Result<Position, fred::error::Error> {
        let (node, keyspace) = (self.shared.node, self.shared.keyspace);
        let keys = vec![keyspace.position(keyspace.home(node)), keyspace.node(node)];
        let position: String = self
            .shared
            .tick
            .evalsha_with_reload(&self.shared.redis, keys, Vec::<String>::new())
            .await?;
        position.parse().map_err(|error: MalformedPosition| {
            fred::error::Error::new(fred::error::ErrorKind::Parse, error.to_string())
        })
    }

    /// Everything that a record holds.
    pub(super) fn fields(&self, kept: &Kept) -> HashMap<String, String> {
        let mut fields: HashMap<String, String> = [
            ("user", kept.socket.user().to_string()),
            ("namespace", kept.socket.namespace().as_str().to_owned()),
            ("sid", kept.sid.clone()),
            ("node", self.shared.node.to_string()),
            ("begun", kept.begun.to_string()),
            ("seen", kept.seen().to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        if let Some(dialect) = kept.socket.settled_dialect() {
            fields.insert("dialect".to_owned(), dialect.id().to_owned());
        }
        for (room, entered) in kept.rooms.lock().iter() {
            fields.insert(Record::room_field(*room), entered.to_string());
        }
        fields
    }
}
