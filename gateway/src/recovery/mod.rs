//! Connection state recovery: a client that comes back, to any gateway, gets exactly what it missed, or is told that it does not.
//!
//! Owns the records of sockets in Redis, the reading of histories and the replay's order. What a client has seen is known from two
//! sides: the offset of the last event it got, which it gives back, and the last heartbeat it answered, before which it had received
//! whatever was queued. Whatever cannot be shown to be complete is not replayed: then the client begins anew.

mod fence;
mod history;
mod keeper;
mod kept;
mod record;
pub mod replay;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use confab_shared::id::{ConversationId, NodeId, Seq, UserId};
use confab_shared::lifecycle::spawn_vital;
use confab_shared::model::position::Position;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::interfaces::{HashesInterface, KeysInterface};
use fred::types::Value;
use fred::types::scripts::Script;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::backplane::{Backplane, GatewayMessage};
use crate::config::RecoveryConfig;
use crate::dialect::Namespace;
use crate::hub::offset::Offset;
use crate::hub::socket::SocketRef;
use crate::hub::{Hub, HubClosed};
use crate::metrics::Metrics;
use fence::Claim;
pub use fence::ClaimLost;
use history::Wanted;
pub use history::{Histories, History};
pub use kept::Kept;
pub use record::{EnteredRoom, Record};

/// How long the hub may take to show what a socket was told already.
const SHOWN_PATIENCE: Duration = Duration::from_secs(3);

/// Why nothing is known of a socket's recovery.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Redis did not answer.
    #[error(transparent)]
    Redis(#[from] fred::error::Error),
    /// The node is shutting down.
    #[error(transparent)]
    Closed(#[from] HubClosed),
}

/// A node's recovery. Cheap to clone.
#[derive(Clone)]
pub struct Recovery {
    shared: Arc<Shared>,
}

struct Shared {
    node: NodeId,
    config: RecoveryConfig,
    keyspace: Keyspace,
    redis: Client,
    hub: Hub,
    backplane: Backplane,
    metrics: Arc<Metrics>,
    adopt: Script,
    tick: Script,
    kept: Mutex<HashMap<String, Arc<Kept>>>,
    /// Sockets that are on their way in, and whether somebody else has taken them over meanwhile.
    claims: Mutex<HashMap<String, Arc<AtomicBool>>>,
    /// Who waits for another node to have fenced a socket off.
    fencing: Mutex<HashMap<Uuid, oneshot::Sender<()>>>,
}

/// What recovery is made of.
pub struct Parts {
    /// This node.
    pub node: NodeId,
    /// The settings.
    pub config: RecoveryConfig,
    /// The names of keys and channels.
    pub keyspace: Keyspace,
    /// A connection for commands.
    pub redis: Client,
    /// Rooms and users.
    pub hub: Hub,
    /// The way to other gateways.
    pub backplane: Backplane,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What other gateways say.
    pub messages: mpsc::UnboundedReceiver<GatewayMessage>,
}

/// A socket's record that was handed over to this node.
pub struct Adopted {
    /// The record as it was.
    pub record: Record,
    /// Up to where the client has seen everything.
    pub since: Offset,
    claim: Claim,
}

impl Recovery {
    /// Starts the tasks that keep records and listen to other gateways.
    pub fn start(parts: Parts, stop: &CancellationToken) -> Self {
        let recovery = Self {
            shared: Arc::new(Shared {
                node: parts.node,
                config: parts.config,
                keyspace: parts.keyspace,
                redis: parts.redis,
                hub: parts.hub,
                backplane: parts.backplane,
                metrics: parts.metrics,
                adopt: scripts::session_adopt(),
                tick: scripts::tick(),
                kept: Mutex::default(),
                claims: Mutex::default(),
                fencing: Mutex::default(),
            }),
        };
        spawn_vital(
            "fences",
            stop,
            fence::listen(recovery.clone(), parts.messages),
        );
        if recovery.is_enabled() {
            spawn_vital("socket records", stop, keeper::run(recovery.clone()));
        }
        recovery
    }

    /// Whether sockets can be recovered at all.
    pub fn is_enabled(&self) -> bool {
        self.shared.config.enabled
    }

    /// The most events that are made up for.
    pub fn max_events(&self) -> usize {
        self.shared.config.max_events
    }

    /// For how long a record outlives the last sign of its node, in milliseconds.
    fn time_to_live(&self) -> i64 {
        millis(self.shared.config.window() + 2 * keeper::REFRESH)
    }

    fn all(&self) -> Vec<Arc<Kept>> {
        self.shared.kept.lock().values().cloned().collect()
    }

    /// Keeps a new socket. When this returns, it can be recovered. Its private id is part of the answer, if it has one.
    pub async fn keep(
        &self,
        socket: &SocketRef,
        sid: &str,
    ) -> Result<(Arc<Kept>, Option<String>), RecoveryError> {
        if !self.is_enabled() {
            return Ok((Self::hold(socket, sid), None));
        }
        // As hard to guess as a token: whoever has it, and the user's token, gets the user's events.
        let pid = URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes());
        let seen = self.shared.hub.offset().await?;
        let kept = Kept::new(pid.clone(), sid, socket, seen, BTreeMap::new());
        let pipeline = self.shared.redis.pipeline();
        let key = self.shared.keyspace.session(&pid);
        let () = pipeline.hset(&key, self.fields(&kept)).await?;
        let () = pipeline.pexpire(&key, self.time_to_live(), None).await?;
        let kept_there = self.shared.metrics.redis.time("record", pipeline.all());
        let _: Vec<Value> = kept_there.await?;
        self.shared.kept.lock().insert(pid.clone(), kept.clone());
        Ok((kept, Some(pid)))
    }

    /// Holds a socket that cannot be recovered: its client was told so already, or nobody can.
    pub fn hold(socket: &SocketRef, sid: &str) -> Arc<Kept> {
        let (nowhere, nothing) = (Offset::default(), BTreeMap::new());
        Kept::new(String::new(), sid, socket, nowhere, nothing)
    }

    /// Keeps a socket whose record was adopted: with the rooms it is still in. The others leave the record.
    pub async fn keep_adopted(
        &self,
        pid: &str,
        adopted: &Adopted,
        socket: &SocketRef,
        rooms: BTreeMap<ConversationId, EnteredRoom>,
    ) -> Result<Arc<Kept>, ClaimLost> {
        let record = &adopted.record;
        let left: Vec<String> = record
            .rooms
            .keys()
            .filter(|room| !rooms.contains_key(room))
            .map(|room| Record::room_field(*room))
            .collect();
        let kept = Kept::new(
            pid.to_owned(),
            &record.sid,
            socket,
            record.seen.clone(),
            rooms,
        );
        {
            let mut all = self.shared.kept.lock();
            // Under the same lock as whoever takes it over looks for it.
            if adopted.claim.is_lost() {
                return Err(ClaimLost);
            }
            all.insert(pid.to_owned(), kept.clone());
        }
        if !left.is_empty() {
            let key = self.shared.keyspace.session(pid);
            if let Err(error) = self.shared.redis.hdel::<i64, _, _>(key, left).await {
                // Their membership is looked at again whenever the socket is recovered.
                tracing::debug!(%error, "rooms that a socket is out of are still in its record");
            }
        }
        Ok(kept)
    }

    /// A socket has entered a room. To be waited for before the client is told: what it was told has to
    /// survive this node.
    pub async fn joined(
        &self,
        kept: &Kept,
        conversation: ConversationId,
        entered: EnteredRoom,
    ) -> Result<(), fred::error::Error> {
        kept.rooms.lock().insert(conversation, entered);
        let field = Record::room_field(conversation);
        self.write(kept, &field, &entered.to_string()).await
    }

    /// A socket has left a room.
    pub async fn left(
        &self,
        kept: &Kept,
        conversation: ConversationId,
    ) -> Result<(), fred::error::Error> {
        kept.rooms.lock().remove(&conversation);
        if kept.pid.is_empty() {
            return Ok(());
        }
        let key = self.shared.keyspace.session(&kept.pid);
        let field = Record::room_field(conversation);
        self.shared.redis.hdel(key, field).await
    }

    /// A socket's dialect is settled.
    pub async fn speaks(&self, kept: &Kept, dialect: &str) -> Result<(), fred::error::Error> {
        self.write(kept, "dialect", dialect).await
    }

    async fn write(&self, kept: &Kept, field: &str, value: &str) -> Result<(), fred::error::Error> {
        if kept.pid.is_empty() {
            return Ok(());
        }
        let key = self.shared.keyspace.session(&kept.pid);
        let pipeline = self.shared.redis.pipeline();
        let () = pipeline.hset(&key, (field, value)).await?;
        // The record may have vanished with Redis's memory; what is left of it then must not stay for ever.
        let () = pipeline.pexpire(&key, self.time_to_live(), None).await?;
        let written = self.shared.metrics.redis.time("record", pipeline.all());
        let _: Vec<Value> = written.await?;
        Ok(())
    }

    /// A socket is gone. Unless its client left on purpose, it may come back for it within the window.
    pub fn release(&self, kept: &Kept, on_purpose: bool) {
        if kept.pid.is_empty() {
            return;
        }
        let mut all = self.shared.kept.lock();
        // The same client may be back on this very node, with another socket under the same name.
        if all
            .get(&kept.pid)
            .is_some_and(|present| std::ptr::eq(Arc::as_ptr(present), kept))
        {
            all.remove(&kept.pid);
        }
        drop(all);
        if kept.superseded.load(Ordering::SeqCst) {
            return;
        }
        let key = self.shared.keyspace.session(&kept.pid);
        let (redis, window) = (self.shared.redis.clone(), self.shared.config.window());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let done: Result<i64, _> = if on_purpose {
                redis.del(key).await
            } else {
                redis.pexpire(key, millis(window), None).await
            };
            if let Err(error) = done {
                // It lapses by itself.
                tracing::debug!(%error, "a socket's record not released");
            }
        });
    }

    /// Takes over the record of a socket whose client has come back, and ends what is left of the socket elsewhere. None: there is
    /// nothing to go on from.
    pub async fn adopt(
        &self,
        pid: &str,
        offset: Option<&str>,
        user: UserId,
        namespace: Namespace,
    ) -> Result<Option<Adopted>, RecoveryError> {
        if !self.is_enabled() {
            return Ok(None);
        }
        let offset = match offset.map(str::parse::<Offset>) {
            Some(Err(_)) => return Ok(None),
            Some(Ok(offset)) => Some(offset),
            None => None,
        };
        let claim = self.claim(pid);
        let arguments = vec![
            user.to_string(),
            namespace.as_str().to_owned(),
            self.shared.node.to_string(),
            self.time_to_live().to_string(),
        ];
        let (answer, fields): (String, Vec<String>) = self
            .shared
            .adopt
            .evalsha_with_reload(
                &self.shared.redis,
                vec![self.shared.keyspace.session(pid)],
                arguments,
            )
            .await?;
        if answer != "ok" {
            return Ok(None);
        }
        let Some(record) = Record::parse(&fields) else {
            return Ok(None);
        };
        self.fence(pid, record.node).await?;
        let since = match offset {
            Some(offset) if offset.position >= record.seen.position => offset,
            Some(_) | None => record.seen.clone(),
        };
        Ok(since.is_certain().then_some(Adopted {
            record,
            since,
            claim,
        }))
    }

    /// What was announced since, in these rooms and for this user. To be asked after the rooms were joined.
    pub async fn histories(
        &self,
        adopted: &Adopted,
        rooms: &[ConversationId],
        user: UserId,
    ) -> Result<Option<Histories>, RecoveryError> {
        let shared = &self.shared;
        // The tick is heard behind everything that was announced before it: see `shown`.
        let cut = self.tick().await?;
        let wanted = Wanted {
            rooms,
            user,
            record: &adopted.record,
            since: &adopted.since,
            cut,
            max_events: shared.config.max_events,
            slack: shared.config.cluster_slack(),
        };
        Ok(history::read(&shared.redis, shared.keyspace, wanted).await?)
    }

    /// Waits until the hub has shown whatever was announced up to the cut, and these rooms up to these changes. Until then a socket
    /// that was told all this has to be held back, or it would be shown it twice. False if that takes too long.
    pub async fn shown(
        &self,
        cut: Position,
        user: UserId,
        rooms: Vec<(ConversationId, Seq)>,
    ) -> Result<bool, RecoveryError> {
        let shown = self.shared.hub.shown(cut, user, rooms);
        match tokio::time::timeout(SHOWN_PATIENCE, shown).await {
            Ok(shown) => shown.map(|()| true).map_err(RecoveryError::from),
            Err(_) => Ok(false),
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
