//! A session that began over polling: one task, whatever carries it.
//!
//! Its inputs: polls, POSTs and WebSocket connections out of the [`Mailbox`], the session's clocks, and the closing of its send
//! queue. First it answers polls and processes POSTs side by side; when a WebSocket has been probed, the same state goes on over that.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use confab_gateway_protocol::engineio::{Packet, PayloadLimits, decode_payload};
use futures_util::future::FutureExt;
use tokio::sync::{Notify, oneshot};

use super::body;
use super::mailbox::{Mailbox, NOOP, Post};
use super::polls::give;
use super::probe::Candidate;
use crate::config::EngineConfig;
use crate::session::DisconnectReason;
use crate::transport::admission::Admitted;
use crate::transport::application::{EngineHandler, Handshake, Link};
use crate::transport::engine::Engine;
use crate::transport::sessions::{Place, Registration};
use crate::transport::websocket;

/// How long the packets of a POST may still take when the session is over or moves.
const LAST_POST: Duration = Duration::from_secs(5);
/// How long a client that closes its session has for the poll that its own close may have overtaken.
const OVERTAKEN: Duration = Duration::from_millis(50);
/// How long a session that the server ends waits for a poll to say so.
pub(super) const LINGER: Duration = Duration::from_secs(3);
/// After how many packets of one body others get their turn.
const TURN: usize = 64;

/// How a session over polling goes on.
enum Next {
    Over(Ended),
    WebSocket(Box<Candidate>),
}

/// Why it is over, and what is still owed.
struct Ended {
    reason: DisconnectReason,
    /// The POST that ended it, and whether it was in order.
    post: Option<(oneshot::Sender<bool>, bool)>,
    /// The client itself said so.
    is_by_client: bool,
    /// A poll was answered with the news already.
    is_told: bool,
}

impl From<DisconnectReason> for Ended {
    fn from(reason: DisconnectReason) -> Self {
        Self {
            reason,
            post: None,
            is_by_client: false,
            is_told: false,
        }
    }
}

/// Closes a session's mailbox however its task ends: requests that wait in that of a task that panicked would wait for ever.
struct Closing<'a>(&'a Mailbox);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Serves one session from its handshake to its end.
pub(crate) async fn serve<H: EngineHandler>(
    handshake: Arc<Handshake>,
    handler: &H,
    config: &EngineConfig,
    mailbox: &Mailbox,
    registration: &Registration,
    admitted: (Place, Admitted),
) -> DisconnectReason {
    let _closing = Closing(mailbox);
    let queue = mailbox.queue();
    let mut session = handler.open(handshake, Link::new(queue.clone()));
    let engine = Engine::new(handler, config, queue);
    engine.begin(&session);
    let watch = engine.watch();
    tokio::pin!(watch);
    match over_polling(&engine, mailbox, registration, &mut session, watch.as_mut()).await {
        Next::Over(ended) => {
            let reason = queue.closing().unwrap_or(ended.reason);
            let lingers = part(mailbox, config, ended, reason).await;
            handler.closed(session, reason).await;
            drop(admitted);
            if lingers {
                linger(mailbox, config).await;
            }
            reason
        }
        Next::WebSocket(upgraded) => {
            let Candidate {
                reader,
                writer,
                guard,
            } = *upgraded;
            let mut outbox = websocket::Outbox::new(writer);
            let mut inbox = websocket::EngineInbox::new(&engine, &mut session);
            let reason = tokio::select! {
                reason = websocket::carry(reader, &mut outbox, queue, &mut inbox) => reason,
                reason = watch => reason,
            };
            let reason = websocket::conclude(&engine, session, &mut outbox, reason, admitted).await;
            drop(guard);
            reason
        }
    }
}

/// Carries the session by polling until it is over or moves to a WebSocket.
async fn over_polling<H: EngineHandler>(
    engine: &Engine<'_, H>,
    mailbox: &Mailbox,
    registration: &Registration,
    session: &mut H::Session,
    watch: Pin<&mut impl Future<Output = DisconnectReason>>,
) -> Next {
    let enough = Notify::new();
    let posts = take_posts(engine, mailbox, session, &enough);
    tokio::pin!(posts);
    let mut next = tokio::select! {
        ended = &mut posts => {
            // Nobody has said that it is enough, so one of them ended the session.
            return Next::Over(ended.unwrap_or_else(|| DisconnectReason::TransportError.into()));
        }
        carried = give(engine, mailbox) => match carried {
            Ok(upgraded) => Next::WebSocket(upgraded),
            Err(reason) => Next::Over(reason.into()),
        },
        reason = watch => Next::Over(reason.into()),
    };
    match &mut next {
        Next::Over(ended) => {
            engine.queue.close(ended.reason);
            // A poll that comes when the time is up is one too late, even if we have noticed the time a little later than it.
            let waits = match ended.reason {
                DisconnectReason::PingTimeout => mailbox.has_poll_of_before(engine.deadline()),
                _ => mailbox.has_poll(),
            };
            ended.is_told = waits && say_goodbye(mailbox, engine.config);
            if ended.is_told || !is_news(ended.reason) {
                mailbox.close_but_for_post();
            }
        }
        Next::WebSocket(_) => {
            registration.upgraded();
            mailbox.close_but_for_post();
        }
    }
    // A POST that was read to its end is processed to its end, even if its client has gone; unless it has come back elsewhere.
    enough.notify_one();
    let last = if engine.queue.is_superseded() {
        posts.now_or_never()
    } else {
        tokio::time::timeout(LAST_POST, posts).await.ok()
    };
    match last {
        Some(Some(last)) => match next {
            Next::Over(ended) => {
                return Next::Over(Ended {
                    post: last.post,
                    ..ended
                });
            }
            Next::WebSocket(_) => return Next::Over(last),
        },
        Some(None) => {}
        None => tracing::debug!("a session's last packets are left"),
    }
    next
}

/// Processes POSTs until one of them ends the session, or until it is enough and none is left half way.
async fn take_posts<H: EngineHandler>(
    engine: &Engine<'_, H>,
    mailbox: &Mailbox,
    session: &mut H::Session,
    enough: &Notify,
) -> Option<Ended> {
    loop {
        let Post { body, done } = tokio::select! {
            biased;
            post = mailbox.next_post() => post,
            () = enough.notified() => return None,
        };
        match take_packets(engine, session, &body).await {
            Ok(()) => {
                mailbox.post_done();
                // Nobody listens if the client has gone.
                let _gone = done.send(true);
            }
            Err(Stop::ByClient) => {
                return Some(Ended {
                    reason: DisconnectReason::TransportClosed,
                    post: Some((done, true)),
                    is_by_client: true,
                    is_told: false,
                });
            }
            Err(Stop::Because(reason)) => {
                let in_order = !matches!(
                    reason,
                    DisconnectReason::ProtocolViolation | DisconnectReason::PayloadTooLarge
                );
                // Who has come back elsewhere is told nothing of what was left here.
                let is_left = reason == DisconnectReason::Superseded;
                return Some(Ended {
                    reason,
                    post: (!is_left).then_some((done, in_order)),
                    is_by_client: false,
                    is_told: false,
                });
            }
        }
    }
}

/// Why no more packets are taken.
enum Stop {
    ByClient,
    Because(DisconnectReason),
}

async fn take_packets<H: EngineHandler>(
    engine: &Engine<'_, H>,
    session: &mut H::Session,
    body: &[u8],
) -> Result<(), Stop> {
    let violation = |error: &dyn std::error::Error| {
        tracing::debug!(%error, "session closed");
        Stop::Because(DisconnectReason::ProtocolViolation)
    };
    // The bytes bound the packets: each takes at least one, and a separator.
    let limits = PayloadLimits {
        max_bytes: engine.config.max_payload,
        max_packets: engine.config.max_payload,
    };
    let packets = decode_payload(body, limits).map_err(|error| violation(&error))?;
    for (index, packet) in packets.enumerate() {
        if index % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
        if engine.queue.is_superseded() {
            return Err(Stop::Because(DisconnectReason::Superseded));
        }
        match packet.map_err(|error| violation(&error))? {
            Packet::Close => return Err(Stop::ByClient),
            packet => engine
                .packet(session, packet)
                .await
                .map_err(Stop::Because)?,
        }
    }
    Ok(())
}

/// Tells the client that the session is over, if it waits for a word. True if it is worth waiting for it to ask.
async fn part(
    mailbox: &Mailbox,
    config: &EngineConfig,
    ended: Ended,
    reason: DisconnectReason,
) -> bool {
    let queue = mailbox.queue();
    queue.close(reason);
    let is_told = if ended.is_told {
        true
    } else if ended.is_by_client {
        // It knows, and only wants its poll back; which may come a moment later than the POST that it was sent before.
        let waits = tokio::time::timeout(OVERTAKEN, mailbox.poll_waits()).await;
        waits.is_ok() && mailbox.answer(NOOP)
    } else {
        mailbox.has_poll() && say_goodbye(mailbox, config)
    };
    let lingers = !is_told && is_news(reason);
    if lingers {
        mailbox.close_but_for_farewell();
    } else {
        mailbox.close();
    }
    if let Some((done, in_order)) = ended.post {
        // Nobody listens if the client has gone.
        let _gone = done.send(in_order);
    }
    lingers
}

/// Waits for polls until one of them has been told.
async fn linger(mailbox: &Mailbox, config: &EngineConfig) {
    let told = async {
        loop {
            mailbox.poll_waits().await;
            if say_goodbye(mailbox, config) {
                return;
            }
        }
    };
    if tokio::time::timeout(LINGER, told).await.is_err() {
        tracing::trace!("a client was not told that its session is over");
    }
    mailbox.close();
}

/// Answers the waiting poll with what is left to say, or, if nothing is, that the session is over. True if it was told that.
fn say_goodbye(mailbox: &Mailbox, config: &EngineConfig) -> bool {
    let (body, is_last) = body::take_last(mailbox.queue(), config.max_payload);
    mailbox.answer(body) && is_last
}

/// Whether the client may be there, without a poll just now, and does not know why its session ends.
fn is_news(reason: DisconnectReason) -> bool {
    match reason {
        DisconnectReason::SlowConsumer
        | DisconnectReason::Draining
        | DisconnectReason::Unavailable
        | DisconnectReason::Unauthenticated
        | DisconnectReason::LoggedOut => true,
        DisconnectReason::ClientClosed
        | DisconnectReason::Superseded
        | DisconnectReason::TransportClosed
        | DisconnectReason::TransportError
        | DisconnectReason::PingTimeout
        | DisconnectReason::ConnectTimeout
        | DisconnectReason::ProtocolViolation
        | DisconnectReason::Refused
        | DisconnectReason::PayloadTooLarge => false,
    }
}

#[cfg(test)]
mod tests;
