//! Answers to polls: as soon as there is something to say, until the session is over or a WebSocket has taken over.
//!
//! It must never know what becomes of a session that is over.

use super::body;
use super::mailbox::Mailbox;
use super::probe::{self, Candidate, Releases};
use super::task::LINGER;
use crate::session::DisconnectReason;
use crate::transport::engine::Engine;

/// Answers polls until the session is to end, or a WebSocket takes over.
pub(super) async fn give<H>(
    engine: &Engine<'_, H>,
    mailbox: &Mailbox,
) -> Result<Box<Candidate>, DisconnectReason> {
    loop {
        let connection = tokio::select! {
            reason = answer_polls(engine, mailbox, None) => return Err(reason),
            connection = mailbox.next_connection() => connection,
        };
        let mut candidate = Box::new(Candidate::new(connection, engine.config));
        if probed(engine, mailbox, &mut candidate).await? {
            return Ok(candidate);
        }
        // Before the connection goes: whoever sees it closed may try another at once.
        mailbox.upgrade_failed();
        drop(candidate);
    }
}

/// Answers polls while a connection is probed. True if the session moves to that.
async fn probed<H>(
    engine: &Engine<'_, H>,
    mailbox: &Mailbox,
    candidate: &mut Candidate,
) -> Result<bool, DisconnectReason> {
    let releases = Releases::default();
    let probe = tokio::time::timeout(
        engine.config.upgrade_timeout(),
        probe::run(candidate, &releases),
    );
    tokio::pin!(probe);
    tokio::select! {
        // A poll that is let go in the moment of the upgrade would only be refused when it comes again.
        biased;
        probed = &mut probe => {
            match probed {
                Ok(Ok(())) => return Ok(true),
                Ok(Err(reason)) => tracing::debug!(%reason, "an upgrade came to nothing"),
                Err(_) => tracing::debug!("an upgrade took too long"),
            }
            Ok(false)
        }
        reason = answer_polls(engine, mailbox, Some(&releases)) => {
            // The client may have stopped polling, and be about to change over: what was said last can only go there.
            tokio::select! {
                biased;
                () = mailbox.poll_waits() => {}
                probed = &mut probe => if let Ok(Ok(())) = probed {
                    return Ok(true);
                },
                () = tokio::time::sleep(LINGER) => {}
            }
            Err(reason)
        }
    }
}

/// Answers each poll as soon as there is something to say, or when it is to be let go. May be dropped at any time.
async fn answer_polls<H>(
    engine: &Engine<'_, H>,
    mailbox: &Mailbox,
    releases: Option<&Releases>,
) -> DisconnectReason {
    let queue = engine.queue;
    loop {
        tokio::select! {
            () = mailbox.poll_waits() => {}
            reason = std::future::poll_fn(|cx| queue.poll_closing(cx)) => return reason,
        }
        let let_go = async {
            match releases {
                Some(releases) => releases.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = std::future::poll_fn(|cx| queue.poll_ready(cx)) => {}
            () = let_go => {
                mailbox.release();
                continue;
            }
        }
        if let Some(reason) = queue.closing() {
            return reason;
        }
        // One turn for whoever else has something for this session: several events then share an answer.
        tokio::task::yield_now().await;
        if !mailbox.has_poll() {
            continue;
        }
        let body = body::take(queue, engine.config.max_payload);
        if !body.is_empty() {
            mailbox.answer(body);
        }
    }
}
