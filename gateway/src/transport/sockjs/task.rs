//! A session of SockJS without a WebSocket: one task from its first request to its end.
//!
//! Its inputs: requests that receive and bodies with messages, both out of its [`Door`], the handler's clocks, and the closing of its send queue.
//!
//! There are no acknowledgements in SockJS. What is queued is taken only when there is room for it on the way to a connection that is there, and
//! counts as received then; a connection that breaks ends the session, and what was on its way is lost with it, as it is with a WebSocket.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use confab_gateway_protocol::sockjs::{self, Messages};
use tokio::sync::{Notify, mpsc};

use super::door::{Delivery, Door, Outlet};
use super::form::{Form, queued};
use crate::config::SockJsConfig;
use crate::hub::send_queue::SendQueue;
use crate::session::DisconnectReason;
use crate::session::stomp::Framing;
use crate::transport::application::{Handshake, Link, MessageHandler};

/// How long what was brought before the end may still take.
const LAST_MESSAGES: Duration = Duration::from_secs(5);
/// How long a session that the server ends waits for a request that can be told so.
const LINGER: Duration = Duration::from_secs(3);
/// How long a farewell waits for room on its way.
const FAREWELL: Duration = Duration::from_secs(1);
/// After how many messages that came together others get their turn.
const TURN: usize = 64;

/// The frame that tells a client why its session is over.
pub(super) fn goodbye(reason: DisconnectReason) -> Bytes {
    let (code, words) = match reason {
        // The protocol's own words.
        DisconnectReason::ClientClosed => (3_000, "Go away!"),
        DisconnectReason::TransportClosed | DisconnectReason::TransportError => {
            (1_002, "Connection interrupted")
        }
        other => (other.close_code(), other.as_str()),
    };
    let mut frame = BytesMut::new();
    sockjs::close(&mut frame, code, words);
    frame.freeze()
}

/// What a request is told that receives beside another one.
pub(super) fn overlap(form: Form) -> Bytes {
    let mut frame = BytesMut::new();
    sockjs::close(&mut frame, 2_010, "Another connection still open");
    form.whole(&frame)
}

/// Serves one session. When this resolves, its door is closed.
pub(super) async fn serve<M: MessageHandler>(
    handshake: Arc<Handshake>,
    handler: &M,
    config: &SockJsConfig,
    door: &Door,
    brought: mpsc::Receiver<Delivery>,
) -> DisconnectReason {
    let queue = door.queue();
    queue.push(queued(sockjs::OPEN));
    let (mut session, clocks) = handler.open(handshake, Link::new(queue.clone()), Framing::SockJs);
    let mut outlet = None;
    let ended = {
        let enough = Notify::new();
        let mut messages = pin!(take_messages(handler, &mut session, brought, &enough));
        let ended = tokio::select! {
            ended = &mut messages => ended.unwrap_or(DisconnectReason::TransportError),
            ended = async {
                tokio::select! {
                    ended = give(door, config, &mut outlet) => ended,
                    ended = clocks => ended,
                }
            } => {
                queue.close(ended);
                enough.notify_one();
                // What was read to its end is processed to its end, even if its client has gone.
                if tokio::time::timeout(LAST_MESSAGES, messages).await.is_err() {
                    tracing::debug!("a session's last messages took too long");
                }
                ended
            }
        };
        queue.close(ended);
        queue.closing().unwrap_or(ended)
    };
    if let Some(words) = handler.closed(session, ended).await {
        // Nothing else can be queued any more, so this stays the last.
        let mut chunks = VecDeque::new();
        queue.take(&mut chunks);
        chunks.push_back(words);
        queue.put_back(chunks);
    }
    let last = goodbye(ended);
    let is_told = match outlet {
        Some(outlet) => tell(outlet, door, &last).await,
        None => false,
    };
    if !is_told && may_come(ended) {
        linger(door, &last).await;
    }
    door.close(last);
    ended
}

/// Processes messages until one of them ends the session, or until it is enough and none is left.
async fn take_messages<M: MessageHandler>(
    handler: &M,
    session: &mut M::Session,
    mut brought: mpsc::Receiver<Delivery>,
    enough: &Notify,
) -> Option<DisconnectReason> {
    loop {
        let delivery = tokio::select! {
            biased;
            () = enough.notified() => {
                brought.close();
                continue;
            }
            delivery = brought.recv() => delivery,
        };
        let Delivery { body, done } = delivery?;
        let ended = take_body(handler, session, &body).await;
        // Nobody listens if the client has gone.
        let _gone = done.send(());
        if let Err(reason) = ended {
            return Some(reason);
        }
    }
}

async fn take_body<M: MessageHandler>(
    handler: &M,
    session: &mut M::Session,
    body: &[u8],
) -> Result<(), DisconnectReason> {
    let messages = sockjs::messages(body).map_err(|error| {
        tracing::debug!(%error, "session closed");
        DisconnectReason::ProtocolViolation
    })?;
    hand_over(handler, session, messages, None).await
}

/// Hands messages over one after the other. However many they are, others get their turn in between; then the rest is left if the queue,
/// where there is one, is closing. An empty message says nothing, and is not handed over.
pub(super) async fn hand_over<M: MessageHandler>(
    handler: &M,
    session: &mut M::Session,
    messages: Messages<'_>,
    queue: Option<&SendQueue>,
) -> Result<(), DisconnectReason> {
    for (index, message) in messages.enumerate() {
        if index % TURN == TURN - 1 {
            tokio::task::yield_now().await;
            if let Some(reason) = queue.and_then(SendQueue::closing) {
                return Err(reason);
            }
        }
        if !message.is_empty() {
            let bytes = Bytes::from(message.into_owned());
            handler.message(session, bytes).await?;
        }
    }
    Ok(())
}

/// Answers requests that receive, one after the other, until the session is to end. The one that waits by then is left in `current`.
async fn give(
    door: &Door,
    config: &SockJsConfig,
    current: &mut Option<Outlet>,
) -> DisconnectReason {
    loop {
        let outlet = tokio::select! {
            biased;
            outlet = door.next() => current.insert(outlet),
            reason = closing(door.queue()) => return reason,
            // It has left between two requests.
            () = tokio::time::sleep(config.disconnect_delay()) => {
                return DisconnectReason::TransportClosed;
            }
        };
        if let Err(reason) = fill(outlet, door, config).await {
            return reason;
        }
        *current = None;
    }
}

/// Writes what is queued to a request that receives, until it has had enough. Then its outlet is still to be dropped.
async fn fill(
    outlet: &mut Outlet,
    door: &Door,
    config: &SockJsConfig,
) -> Result<(), DisconnectReason> {
    let queue = door.queue();
    loop {
        let chunk = tokio::select! {
            biased;
            () = outlet.chunks.closed() => return Err(DisconnectReason::TransportClosed),
            () = door.let_go() => Some((outlet.form.dress(sockjs::HEART_BEAT), true)),
            () = poll_fn(|cx| queue.poll_ready(cx)) => None,
            () = tokio::time::sleep(config.heartbeat()) => {
                Some((outlet.form.dress(sockjs::HEART_BEAT), false))
            }
        };
        if let Some(reason) = queue.closing() {
            return Err(reason);
        }
        if chunk.is_none() {
            // One turn for whoever else has something for this session: several events then share a chunk.
            tokio::task::yield_now().await;
        }
        // Room first: what waits for it stays queued, where its bounds are.
        let room = tokio::select! {
            biased;
            room = outlet.chunks.reserve() => room.map_err(|_| DisconnectReason::TransportClosed)?,
            reason = closing(queue) => return Err(reason),
        };
        let (chunk, is_last) =
            chunk.unwrap_or_else(|| (outlet.form.take(queue, outlet.left), false));
        if chunk.is_empty() {
            continue;
        }
        outlet.left = outlet.left.saturating_sub(chunk.len());
        let is_enough = is_last || outlet.left == 0 || !outlet.form.streams();
        if is_enough {
            door.done();
        }
        room.send(chunk);
        if is_enough {
            return Ok(());
        }
    }
}

fn closing(queue: &SendQueue) -> impl Future<Output = DisconnectReason> {
    poll_fn(|cx| queue.poll_closing(cx))
}

/// Tells a request that receives what is left to say, and that the session is over, as far as one answer can carry both. True if it was
/// told that.
async fn tell(outlet: Outlet, door: &Door, last: &Bytes) -> bool {
    let (form, queue) = (outlet.form, door.queue());
    let left = if form.streams() {
        form.take(queue, usize::MAX)
    } else {
        form.take(queue, outlet.left)
    };
    let is_last = form.streams() || left.is_empty();
    let mut words = BytesMut::from(left);
    if is_last {
        words.extend_from_slice(&form.dress(last));
    }
    door.done();
    let said = tokio::time::timeout(FAREWELL, outlet.chunks.send(words.freeze())).await;
    drop(outlet);
    is_last && matches!(said, Ok(Ok(())))
}

/// Waits for requests until one of them has been told that the session is over.
async fn linger(door: &Door, last: &Bytes) {
    let told = async {
        loop {
            let outlet = door.next().await;
            if tell(outlet, door, last).await {
                return;
            }
        }
    };
    if tokio::time::timeout(LINGER, told).await.is_err() {
        tracing::trace!("a client was not told that its session is over");
    }
}

/// Whether the client may still come and ask.
fn may_come(reason: DisconnectReason) -> bool {
    !matches!(
        reason,
        DisconnectReason::TransportClosed | DisconnectReason::TransportError
    )
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Wake, Waker};

    use super::super::door::Turned;
    use super::*;
    use futures_util::future::{BoxFuture, FutureExt};
    use parking_lot::Mutex;

    /// A client that comes again the moment it hears something, as one on another processor may.
    struct Eager {
        door: Door,
        again: Mutex<Option<Result<mpsc::Receiver<Bytes>, Turned>>>,
    }

    impl Eager {
        /// It waits for an answer.
        fn waits(self: &Arc<Self>, body: &mut mpsc::Receiver<Bytes>) {
            while body.try_recv().is_ok() {}
            let waker = Waker::from(self.clone());
            assert!(
                body.poll_recv(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }

        fn is_back(&self) -> bool {
            matches!(*self.again.lock(), Some(Ok(_)))
        }
    }

    impl Wake for Eager {
        fn wake(self: Arc<Self>) {
            self.again
                .lock()
                .get_or_insert_with(|| self.door.receive(Form::Xhr, 9));
        }
    }

    #[tokio::test]
    async fn whoever_has_its_answer_may_come_again_at_once() {
        let config = SockJsConfig {
            enabled: true,
            heartbeat_ms: 60_000,
            disconnect_delay_ms: 60_000,
            response_limit: 9,
            max_payload: 100,
            base_url: String::new(),
        };
        for form in [Form::Xhr, Form::XhrStreaming] {
            for is_over in [false, true] {
                let (door, _brought) = Door::new(Arc::new(SendQueue::new(100)));
                let again = Mutex::default();
                let client = Arc::new(Eager { door, again });
                let door = &client.door;
                let mut body = door.receive(form, 1).unwrap();
                client.waits(&mut body);
                if is_over {
                    let outlet = door.next().await;
                    assert!(tell(outlet, door, &goodbye(DisconnectReason::LoggedOut)).await);
                } else {
                    door.queue().push(queued(sockjs::OPEN));
                    let mut current = None;
                    let turns = async {
                        for _ in 0..9 {
                            tokio::task::yield_now().await;
                        }
                    };
                    tokio::select! {
                        reason = give(door, &config, &mut current) => panic!("{reason:?}"),
                        () = turns => {}
                    }
                }
                assert!(client.is_back(), "{form:?} {is_over}");
            }
        }
    }

    /// Keeps what it is given.
    struct Keeper;

    impl MessageHandler for Keeper {
        type Session = Vec<Bytes>;

        fn open(
            &self,
            _: Arc<Handshake>,
            _: Link,
            _: Framing,
        ) -> (Vec<Bytes>, BoxFuture<'static, DisconnectReason>) {
            (Vec::new(), std::future::pending().boxed())
        }

        async fn message(
            &self,
            session: &mut Vec<Bytes>,
            bytes: Bytes,
        ) -> Result<(), DisconnectReason> {
            session.push(bytes);
            Ok(())
        }

        async fn closed(&self, _: Vec<Bytes>, _: DisconnectReason) -> Option<Bytes> {
            None
        }
    }

    fn array(message: &str, count: usize) -> String {
        format!("[{}]", vec![message; count].join(","))
    }

    #[tokio::test]
    async fn many_messages_at_once_leave_others_their_turn() {
        for message in ["\"\"", "\"x\""] {
            let (body, mut session) = (array(message, 10 * TURN), Vec::new());
            let messages = sockjs::messages(body.as_bytes()).unwrap();
            let mut turns = 0;
            let others = async {
                loop {
                    turns += 1;
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                handed = hand_over(&Keeper, &mut session, messages, None) => handed.unwrap(),
                () = others => {}
            }
            assert_eq!(turns, 10, "{message}");
            assert_eq!(session.len(), if message == "\"\"" { 0 } else { 10 * TURN });
        }
    }

    #[tokio::test]
    async fn what_came_together_is_left_when_its_session_is_to_end() {
        let (body, mut session) = (array("\"x\"", 10 * TURN), Vec::new());
        let messages = sockjs::messages(body.as_bytes()).unwrap();
        let queue = SendQueue::new(100);
        queue.close(DisconnectReason::Draining);
        let handed = hand_over(&Keeper, &mut session, messages, Some(&queue)).await;
        assert_eq!(handed, Err(DisconnectReason::Draining));
        assert!(session.len() < TURN, "{}", session.len());
    }
}
