//! A session's clocks: when its client must have connected, when a heart-beat is due, and when it has been silent for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use confab_gateway_protocol::stomp::{HEART_BEAT, Intervals};
use tokio::sync::oneshot;

use crate::session::DisconnectReason;
use crate::session::stomp::Framing;
use crate::session::stomp::heartbeat::{Beat, Heartbeat};
use crate::transport::application::Link;

/// When something was heard from a client last.
#[derive(Debug)]
pub(super) struct Heard {
    opened: Instant,
    /// In milliseconds from then on.
    last: AtomicU64,
    /// What was heard is still being dealt with: nothing further is read so long, and the client's silence says nothing.
    is_busy: AtomicBool,
}

impl Heard {
    /// A session that opened now.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            last: AtomicU64::new(0),
            is_busy: AtomicBool::new(false),
        })
    }

    /// Something was heard, and is being dealt with from now on.
    pub(super) fn begin(&self) {
        self.is_busy.store(true, Ordering::Relaxed);
    }

    /// It is dealt with.
    pub(super) fn end(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
        self.is_busy.store(false, Ordering::Release);
    }

    fn last(&self) -> Instant {
        if self.is_busy.load(Ordering::Acquire) {
            Instant::now()
        } else {
            self.opened + Duration::from_millis(self.last.load(Ordering::Relaxed))
        }
    }
}

/// Runs a session's clocks until one of them ends it. `agreed` says what was agreed on when the client connected.
pub(super) async fn run(
    link: Link,
    framing: Framing,
    heard: Arc<Heard>,
    connect_timeout: Duration,
    agreed: oneshot::Receiver<Intervals>,
) -> DisconnectReason {
    let beats = match tokio::time::timeout(connect_timeout, agreed).await {
        Ok(Ok(beats)) => beats,
        // The session is over before it has begun, and ends by itself.
        Ok(Err(_)) => return std::future::pending().await,
        Err(_) => return DisconnectReason::ConnectTimeout,
    };
    let mut heartbeat = Heartbeat::new(beats, Instant::now());
    let frame = framing.frame(HEART_BEAT);
    while let Some(deadline) = heartbeat.deadline() {
        tokio::time::sleep_until(deadline.into()).await;
        match heartbeat.expire(Instant::now(), heard.last()) {
            Some(Beat::Send) => _ = link.push(frame.clone()),
            Some(Beat::Dead) => return DisconnectReason::PingTimeout,
            None => {}
        }
    }
    std::future::pending().await
}
