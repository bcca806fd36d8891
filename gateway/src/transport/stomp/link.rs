//! The way back to a STOMP client: frames, receipts, refusals, and the ERROR that is the last of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use confab_gateway_protocol::stomp::{self, ServerCommand, Version};
use confab_shared::model::error::Rejection;
use parking_lot::Mutex;
use serde::Serialize;

use super::reply::Unanswered;
use crate::session::DisconnectReason;
use crate::session::stomp::{Framing, Subscription};
use crate::transport::application::Link;

/// A session's way back to its client, once both have agreed on a version. Everything it says is one frame, in the form that the session's
/// transport carries.
#[derive(Debug)]
pub struct StompLink {
    link: Link,
    framing: Framing,
    version: Version,
    /// Where the client wants to be told what was refused.
    errors: Mutex<Option<Arc<Subscription>>>,
    /// How many refusals it was told of there: each message there has an id of its own.
    refusals: AtomicU64,
    unanswered: Unanswered,
    has_failed: AtomicBool,
}

/// A refusal as clients read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    destination: &'a str,
}

impl StompLink {
    /// The way back over a link.
    pub fn new(link: Link, framing: Framing, version: Version) -> Arc<Self> {
        Arc::new(Self {
            link,
            framing,
            version,
            errors: Mutex::default(),
            refusals: AtomicU64::new(0),
            unanswered: Unanswered::default(),
            has_failed: AtomicBool::new(false),
        })
    }

    /// The session's link.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// In which form its transport carries STOMP.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The version that was agreed on.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Queues a frame. False if the session is ending.
    pub fn frame(&self, command: ServerCommand, headers: &[(&str, &str)], body: &[u8]) -> bool {
        self.link
            .push(frame(self.framing, self.version, command, headers, body))
    }

    /// Says that what asked for this receipt is done.
    pub fn receipt(&self, id: &str) -> bool {
        self.frame(ServerCommand::Receipt, &[("receipt-id", id)], b"")
    }

    /// Says what is wrong, and ends the session for this reason. Nothing is said after it.
    pub fn fatal(&self, message: &str, details: &str, reason: DisconnectReason) {
        self.has_failed.store(true, Ordering::Relaxed);
        let error = error_frame(self.framing, self.version, message, details);
        self.link.push_last(error, reason);
    }

    /// Says that something was refused: where the client has subscribed to such news, else in an ERROR, which ends the session. What was
    /// refused was about `destination`, and asked for `receipt`; that is never given any more.
    pub fn refuse(&self, rejection: &Rejection, destination: &str, receipt: Option<&str>) {
        let refusal = Refusal {
            code: rejection.code.as_str(),
            message: &rejection.message,
            retry_after_ms: rejection.retry_after_ms,
            destination,
        };
        let body = match serde_json::to_vec(&refusal) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "a refusal could not be written");
                Vec::new()
            }
        };
        let receipt = receipt.map(|receipt| ("receipt-id", receipt));
        let errors = self.errors.lock().clone();
        if let Some(errors) = errors {
            let number = self.refusals.fetch_add(1, Ordering::Relaxed);
            let id = format!("refusal-{number}");
            let mut headers = vec![
                ("subscription", errors.id()),
                ("destination", errors.destination()),
                ("message-id", &id),
                ("content-type", "application/json"),
            ];
            headers.extend(receipt);
            self.frame(ServerCommand::Message, &headers, &body);
        } else {
            let mut headers = vec![
                ("message", rejection.message.as_str()),
                ("content-type", "application/json"),
            ];
            headers.extend(receipt);
            self.has_failed.store(true, Ordering::Relaxed);
            let error = frame(
                self.framing,
                self.version,
                ServerCommand::Error,
                &headers,
                &body,
            );
            self.link.push_last(error, DisconnectReason::Refused);
        }
    }

    /// The client wants to be told there what is refused; none: not any more.
    pub(super) fn set_errors(&self, subscription: Option<Arc<Subscription>>) {
        *self.errors.lock() = subscription;
    }

    /// Whether an ERROR was sent: nothing may follow.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// What has been asked and not been answered.
    pub(super) fn unanswered(&self) -> &Unanswered {
        &self.unanswered
    }
}

/// An ERROR as a whole WebSocket frame. Whoever queues it ends the session.
pub fn error_frame(framing: Framing, version: Version, message: &str, details: &str) -> Bytes {
    error(framing, version, message, details, None)
}

/// The same with one more header.
pub(super) fn error(
    framing: Framing,
    version: Version,
    message: &str,
    details: &str,
    more: Option<(&str, &str)>,
) -> Bytes {
    let mut headers = vec![("message", message), ("content-type", "text/plain")];
    headers.extend(more);
    let body = details.as_bytes();
    frame(framing, version, ServerCommand::Error, &headers, body)
}

/// A frame in the form that a transport carries.
fn frame(
    framing: Framing,
    version: Version,
    command: ServerCommand,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Bytes {
    let mut piece = BytesMut::with_capacity(256 + body.len());
    stomp::write(&mut piece, version, command, headers, body);
    framing.frame(&piece)
}
