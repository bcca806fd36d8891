//! Connection state recovery: a client that comes back, to any gateway, gets exactly what it missed, or is told that it does not.
//!
//! Owns the records of sockets in Redis, the reading of histories and the replay's order. What a client has seen is known from two
//! sides: the offset of the last event it got, which it gives back, and the last heartbeat it answered, before which it had received
//! whatever was queued. Whatever cannot be shown to be complete is not replayed: then the client begins anew.

mod comeback;
mod fence;
mod history;
mod keeper;
mod kept;
mod notes;
mod record;
mod refusal;
pub mod replay;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use confab_shared::id::{ConversationId, NodeId};
use confab_shared::lifecycle::spawn_vital;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::types::FromValue;
use fred::types::scripts::Script;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::backplane::{Backplane, BackplaneClosed, GatewayMessage};
use crate::config::RecoveryConfig;
use crate::hub::offset::Offset;
use crate::hub::socket::SocketRef;
use crate::hub::{Hub, HubClosed};
use crate::metrics::Metrics;
pub use comeback::Adopted;
pub use fence::ClaimLost;
pub use history::Histories;
pub use kept::Kept;
pub use notes::NoteError;
pub use record::{EnteredRoom, Record};
pub use refusal::Refusal;

/// Why a socket was not recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// It cannot be: its client begins anew.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Redis did not answer.
    #[error(transparent)]
    Redis(#[from] fred::error::Error),
    /// The node is shutting down.
    #[error(transparent)]
    Closed(#[from] HubClosed),
    /// The same.
    #[error(transparent)]
    Deaf(#[from] BackplaneClosed),
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
    settle: Script,
    note: Script,
    refresh: Script,
    rewrite: Script,
    release: Script,
    kept: Mutex<HashMap<String, Arc<Kept>>>,
    /// Sockets that are on their way in, and whether somebody else has taken them over meanwhile.
    claims: Mutex<HashMap<String, Arc<AtomicU64>>>,
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
                settle: scripts::session_settle(),
                note: scripts::session_note(),
                refresh: scripts::session_refresh(),
                rewrite: scripts::session_rewrite(),
                release: scripts::session_release(),
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
        let kept = Kept::new(pid.clone(), sid, 0, socket, seen, BTreeMap::new());
        // Nobody else can have a record of this name.
        let _written: bool = self.write_whole(&kept, &self.fields(&kept)).await?;
        self.shared.kept.lock().insert(pid.clone(), kept.clone());
        Ok((kept, Some(pid)))
    }

    /// Holds a socket that cannot be recovered: its client was told so already, or nobody can.
    pub fn hold(socket: &SocketRef, sid: &str) -> Arc<Kept> {
        let (nowhere, nothing) = (Offset::default(), BTreeMap::new());
        Kept::new(String::new(), sid, 0, socket, nowhere, nothing)
    }

    /// Keeps a socket whose record was adopted, with the rooms it is still in. Whoever asks has to [`release`](Self::release) it in the end, and
    /// so gets it at once; what is left to do then is to [`settle`](Self::settle).
    pub fn keep_adopted(
        &self,
        pid: &str,
        adopted: &Adopted,
        socket: &SocketRef,
        rooms: BTreeMap<ConversationId, EnteredRoom>,
    ) -> Result<Arc<Kept>, ClaimLost> {
        let record = &adopted.record;
        let kept = Kept::new(
            pid.to_owned(),
            &record.sid,
            record.next_turn(),
            socket,
            record.seen.clone(),
            rooms,
        );
        let former = {
            let mut all = self.shared.kept.lock();
            // Under the same lock as whoever takes it over looks for it.
            if adopted.claim.is_lost(record.next_turn()) {
                return Err(ClaimLost);
            }
            all.insert(pid.to_owned(), kept.clone())
        };
        if let Some(former) = former {
            former.supersede();
        }
        Ok(kept)
    }

    /// Runs a script on a socket's record that looks first whose turn it is. `arguments` are those behind the node and its turn.
    async fn on_record<T: FromValue>(
        &self,
        script: &Script,
        kept: &Kept,
        arguments: Vec<String>,
    ) -> Result<T, fred::error::Error> {
        let keys = vec![self.shared.keyspace.session(&kept.pid)];
        let mut all = vec![self.shared.node.to_string(), kept.turn.to_string()];
        all.extend(arguments);
        // Boxed: whoever enters a room has room for it only while it waits.
        let done = Box::pin(scripts::run(script, &self.shared.redis, keys, all));
        self.shared.metrics.redis.time("record", done).await
    }

    /// This node has nothing to do with a socket any more. False if it had not: the same client may be back on this very node, with another
    /// socket under the same name.
    fn forget(&self, kept: &Kept) -> bool {
        let mut all = self.shared.kept.lock();
        let present = all.get(&kept.pid);
        let is_present = present.is_some_and(|present| std::ptr::eq(Arc::as_ptr(present), kept));
        if is_present {
            all.remove(&kept.pid);
        }
        is_present
    }

    /// A socket is gone. Unless its client left on purpose, it may come back for it within the window.
    pub fn release(&self, kept: &Arc<Kept>, on_purpose: bool) {
        if kept.pid.is_empty() {
            return;
        }
        self.forget(kept);
        if kept.is_superseded() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let window = if on_purpose {
            0
        } else {
            millis(self.shared.config.window())
        };
        let (recovery, kept) = (self.clone(), kept.clone());
        runtime.spawn(async move {
            let arguments = vec![window.to_string()];
            let released = recovery.on_record::<i64>(&recovery.shared.release, &kept, arguments);
            if let Err(error) = released.await {
                // It lapses by itself.
                tracing::debug!(%error, "a socket's record not released");
            }
        });
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
