//! The polling requests themselves: a GET waits for what there is to say, a POST brings packets.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio_util::task::TaskTracker;

use super::mailbox::{Carrier, Mailbox, Refused};
use crate::config::EngineConfig;
use crate::session::DisconnectReason;

/// How long the rest of a body that is too large is read, so that its client gets to see the answer.
const DISCARD: Duration = Duration::from_secs(1);

/// How much later this node may notice the end of a connection than whoever was at its other end: as long as its tasks may have to wait for
/// their turn. A client that uses a name twice waits as long.
const NEWS: Duration = Duration::from_millis(200);
/// How often it is looked whether that has been noticed.
const LOOK: Duration = Duration::from_millis(5);

/// Why a request gets no proper answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// The session has ended, or a WebSocket carries it.
    #[error("the session is not carried by polling any more")]
    Gone,
    /// It breaks the protocol; the session has ended.
    #[error("the request breaks the protocol")]
    BadRequest,
    /// The body is larger than the handshake allowed. The session goes on, as with the reference server.
    #[error("the body is too large")]
    TooLarge,
    /// The body did not come; the session has ended.
    #[error("the body did not come in time")]
    TimedOut,
}

/// Waits for what there is to say to the client, which calls its request `name`.
pub(crate) async fn get(
    mailbox: &Arc<Mailbox>,
    name: Option<String>,
    carrier: Carrier,
) -> Result<Bytes, Unanswered> {
    if let Some(name) = &name {
        // Whoever repeats it may have noticed the end of the connection that carried it a moment sooner than we.
        let until = Instant::now() + NEWS;
        while mailbox.was_answered(name) && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }
    let waiting = mailbox
        .poll(name, carrier)
        .map_err(|refused| refuse(mailbox, refused))?;
    waiting.answered().await.ok_or(Unanswered::Gone)
}

/// Brings the client's packets. They have been processed when this resolves, and will be, once the client has sent them all, even
/// if it is dropped: a page that is closed says its last words and does not wait for the answer.
pub(crate) async fn post<B>(
    mailbox: &Arc<Mailbox>,
    body: B,
    config: &EngineConfig,
    tasks: &TaskTracker,
) -> Result<(), Unanswered>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Error,
{
    let max_bytes = config.max_payload;
    let ticket = match mailbox.begin_post() {
        Ok(ticket) => ticket,
        Err(refused) => {
            tasks.spawn(discard(body, max_bytes));
            return Err(refuse(mailbox, refused));
        }
    };
    // A session whose POST takes longer than this has had no pong in time either.
    let limit = config.ping_interval() + config.ping_timeout();
    let pause = config.ping_timeout();
    let bringing = tasks.spawn(async move {
        let read = tokio::time::timeout(limit, read_body(body, max_bytes, pause)).await;
        match read.unwrap_or(Err(BodyError::Stalled)) {
            Ok(body) => Ok(ticket.deliver(body)),
            Err(error) => {
                if error == BodyError::TooLarge {
                    ticket.withdraw();
                }
                Err(Unanswered::from(error))
            }
        }
    });
    let Ok(brought) = bringing.await else {
        return Err(Unanswered::Gone);
    };
    match brought?.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unanswered::BadRequest),
        Err(_) => Err(Unanswered::Gone),
    }
}

/// A second request of one kind beside the first ends the session.
fn refuse(mailbox: &Mailbox, refused: Refused) -> Unanswered {
    match refused {
        Refused::Closed => Unanswered::Gone,
        Refused::Overlap => {
            mailbox.queue().close(DisconnectReason::TransportError);
            Unanswered::BadRequest
        }
    }
}

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is larger than it may be.
    TooLarge,
    /// It pauses for too long.
    Stalled,
    /// Its client has gone.
    Broken,
}

impl From<BodyError> for Unanswered {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Stalled => Self::TimedOut,
            BodyError::Broken => Self::BadRequest,
        }
    }
}

/// Reads a body to its end. It may pause as long as a pong may take.
pub(crate) async fn read_body<B>(
    body: B,
    max_bytes: usize,
    pause: Duration,
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Error,
{
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(pause, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            // A connection that is dropped ends its body as if that were all.
            Ok(None) if body.size_hint().lower() > 0 => return Err(BodyError::Broken),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "a POST broke off");
                return Err(BodyError::Broken);
            }
            Err(_) => return Err(BodyError::Stalled),
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > max_bytes {
            discard(body, max_bytes).await;
            return Err(BodyError::TooLarge);
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
}

/// Reads on for a while: a connection that is closed with bytes unread is reset, and takes the answer along.
pub(crate) async fn discard<B: Body<Data = Bytes>>(body: B, max_bytes: usize) {
    let mut body = pin!(body);
    let rest = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > max_bytes {
                break;
            }
        }
    };
    if tokio::time::timeout(DISCARD, rest).await.is_err() {
        tracing::debug!("a POST that is too large does not end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    #[tokio::test]
    async fn bodies_are_read_up_to_the_limit() {
        let read = read_body(Full::new(Bytes::from_static(b"4hello")), 6, Duration::MAX).await;
        assert_eq!(read, Ok(Bytes::from_static(b"4hello")));
        let read = read_body(Full::new(Bytes::from_static(b"4hello")), 5, Duration::MAX).await;
        assert_eq!(read, Err(BodyError::TooLarge));
    }
}
