use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use confab_gateway_protocol::websocket;
use confab_shared::config::load;
use confab_shared::model::error::Rejection;
use proptest::prelude::*;

use super::*;
use crate::config::{DEFAULTS, GatewayConfig};
use crate::hub::send_queue::SendQueue;
use crate::session::stomp::{Subscription, Topic};
use crate::transport::application::{ConnectError, StompMessage};

/// Takes everything that does not say otherwise, and counts what it was asked.
#[derive(Default)]
struct Counting {
    asked: AtomicUsize,
}

impl StompApplication for Counting {
    type Client = Vec<Arc<Subscription>>;

    async fn connect(
        &self,
        _: &Arc<Handshake>,
        token: Option<&str>,
        _: &Arc<StompLink>,
    ) -> Result<(Self::Client, Option<String>), ConnectError> {
        match token {
            Some("bad") => Err(ConnectError::Refused {
                message: "no".to_owned(),
                data: None,
            }),
            _ => Ok((Vec::new(), None)),
        }
    }

    async fn connected(&self, _: &mut Self::Client) {}

    async fn subscribe(
        &self,
        client: &mut Self::Client,
        _: Topic<'_>,
        subscription: Arc<Subscription>,
        reply: Reply,
    ) {
        self.asked.fetch_add(1, Relaxed);
        client.push(subscription);
        reply.done();
    }

    async fn unsubscribe(&self, client: &mut Self::Client, id: &str) {
        self.asked.fetch_add(1, Relaxed);
        client.retain(|subscription| subscription.id() != id);
    }

    fn check(&self, _: &StompMessage<'_>) -> Result<(), Rejection> {
        Ok(())
    }

    async fn send(&self, _: &mut Self::Client, message: StompMessage<'_>, reply: Reply) {
        self.asked.fetch_add(1, Relaxed);
        if message.destination == "no" {
            reply.refuse(&Rejection::invalid("no"));
        } else {
            reply.done();
        }
    }

    async fn commit(
        &self,
        client: &mut Self::Client,
        messages: Vec<(StompMessage<'_>, Reply)>,
    ) -> Result<(), Rejection> {
        for (message, reply) in messages {
            self.send(client, message, reply).await;
        }
        Ok(())
    }

    async fn disconnected(&self, _: Self::Client, _: DisconnectReason) {}
}

fn handler() -> Stomp<Counting> {
    let config = load::<GatewayConfig>(DEFAULTS).unwrap().config;
    let rules = config.stomp.rules(Duration::from_secs(1)).unwrap();
    Stomp::new(
        Counting::default(),
        rules,
        Arc::new(Metrics::new().unwrap()),
    )
}

fn handshake() -> Arc<Handshake> {
    let (head, ()) = http::Request::new(()).into_parts();
    Arc::new(Handshake::new(&head, SocketAddr::from(([127, 0, 0, 1], 1))))
}

/// The commands of what was said.
fn said(queue: &SendQueue) -> Vec<String> {
    let mut chunks = VecDeque::new();
    queue.take(&mut chunks);
    chunks
        .into_iter()
        .flat_map(websocket::frames)
        .map(|frame| frame.unwrap().payload())
        .map(|piece| {
            let line = piece.split(|byte| *byte == b'\n').next().unwrap();
            String::from_utf8(line.to_vec()).unwrap()
        })
        .collect()
}

fn any_piece() -> impl Strategy<Value = String> {
    let connect = "CONNECT\naccept-version:1.2\n\n\0";
    prop::sample::select(vec![
        connect,
        connect,
        "CONNECT\naccept-version:1.1\ntoken:bad\n\n\0",
        "\n",
        "SUBSCRIBE\nid:1\ndestination:/topic/x\nreceipt:r\n\n\0",
        "SUBSCRIBE\nid:e\ndestination:/user/queue/errors\nreceipt:r\n\n\0",
        "UNSUBSCRIBE\nid:1\nreceipt:r\n\n\0",
        "UNSUBSCRIBE\nid:e\nreceipt:r\n\n\0",
        "SEND\ndestination:/app/yes\nreceipt:r\n\nbody\0",
        "SEND\ndestination:/app/yes\ntransaction:t\nreceipt:r\n\nbody\0",
        "SEND\ndestination:/app/no\nreceipt:r\n\nbody\0",
        "BEGIN\ntransaction:t\nreceipt:r\n\n\0",
        "COMMIT\ntransaction:t\nreceipt:r\n\n\0",
        "ABORT\ntransaction:t\nreceipt:r\n\n\0",
        "ACK\nid:1\nreceipt:r\n\n\0",
        "DISCONNECT\nreceipt:r\n\n\0",
        "HELLO\n\n\0",
        "SEND\nx:\\q\n\n\0",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    /// Whatever comes in whichever pieces: nobody is asked anything before CONNECTED, ERROR is the last word, and what comes after the
    /// session's end does nothing.
    #[test]
    fn nothing_happens_before_the_beginning_or_after_the_end(
        frames in prop::collection::vec(any_piece(), 1..30),
        cuts in prop::collection::vec(1_usize..60, 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (handler, queue) = (handler(), Arc::new(SendQueue::new(1 << 20)));
            let (mut session, _clocks) =
                handler.open(handshake(), Link::new(queue.clone()), Framing::Plain);
            let stream = Bytes::from(frames.concat());
            let (mut left, mut cuts) = (stream.clone(), cuts.into_iter());
            let mut ended = None;
            let mut has_failed = false;
            while !left.is_empty() {
                let cut = cuts.next().unwrap_or(left.len()).min(left.len());
                let piece = left.split_to(cut);
                let before = handler.application.asked.load(Relaxed);
                let done = handler.message(&mut session, piece).await;
                let asked = handler.application.asked.load(Relaxed) - before;
                let is_open = matches!(session.phase, Phase::Connected(_));
                prop_assert!(asked == 0 || is_open);
                let said = said(&queue);
                if ended.is_some() {
                    prop_assert!(done.is_err() && asked == 0 && said.is_empty());
                }
                prop_assert!(!has_failed || said.is_empty(), "{said:?}");
                let errors = said.iter().filter(|command| *command == "ERROR").count();
                has_failed |= errors > 0;
                prop_assert!(errors == 0 || (errors == 1 && said.last().unwrap() == "ERROR"));
                if let Err(reason) = done {
                    // As the transport does.
                    queue.close(reason);
                    ended.get_or_insert(reason);
                }
            }
            let reason = ended.unwrap_or(DisconnectReason::LoggedOut);
            let last = handler.closed(session, reason).await;
            prop_assert!(last.is_none() || !has_failed);
            Ok(())
        })?;
    }
}
