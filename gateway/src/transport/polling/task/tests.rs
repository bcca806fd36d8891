use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use confab_shared::config::load;
use http::Request;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

use super::super::mailbox::{Connection, Refused};
use super::super::ticket::UpgradeTicket;
use super::*;
use crate::config::{DEFAULTS, GatewayConfig, LimitsConfig};
use crate::hub::send_queue::SendQueue;
use crate::transport::admission::Admission;
use crate::transport::sessions::Sessions;
use crate::transport::sid::SessionKey;

/// Notes what it takes. A message may end its session as superseded, or take for ever.
#[derive(Default)]
struct Witness(Mutex<Vec<String>>);

impl EngineHandler for Witness {
    type Session = Link;

    fn open(&self, _: Arc<Handshake>, link: Link) -> Link {
        link
    }

    async fn text(&self, link: &mut Link, text: &str) -> Result<(), DisconnectReason> {
        self.0.lock().push(text.to_owned());
        match text {
            "moved" => link.queue().close(DisconnectReason::Superseded),
            "for ever" => std::future::pending().await,
            _ => {}
        }
        Ok(())
    }

    async fn binary(&self, _: &mut Link, _: Bytes) -> Result<(), DisconnectReason> {
        Ok(())
    }

    fn has_begun(&self, _: &Link) -> bool {
        true
    }

    async fn closed(&self, _: Link, _: DisconnectReason) {}
}

fn config() -> EngineConfig {
    load::<GatewayConfig>(DEFAULTS).unwrap().config.engine
}

fn mailbox() -> Arc<Mailbox> {
    Arc::new(Mailbox::new(Arc::new(SendQueue::new(1_000))))
}

/// Polls until it is done, or until nothing moves any more by itself.
fn settled<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    (0..9).find_map(|_| future.as_mut().now_or_never())
}

#[tokio::test]
async fn what_a_client_said_before_it_came_back_elsewhere_is_left() {
    let leaves = [
        ("4before\x1e4moved\x1e4behind", vec!["before", "moved"]),
        // What is half way by then is not waited for.
        (
            "4before\x1e4for ever\x1e4behind",
            vec!["before", "for ever"],
        ),
    ];
    for (body, taken) in leaves {
        let (handler, config, mailbox) = (Witness::default(), config(), mailbox());
        let queue = mailbox.queue();
        let (key, sessions) = (SessionKey::of_number(1), Sessions::default());
        let registration = sessions.register(key, queue, Some(mailbox.clone()));
        let admission = Admission::new(&LimitsConfig {
            sessions_per_ip: 0,
            handshakes_per_ip: 0,
            sessions_per_user: 0,
        });
        let address = Ipv4Addr::LOCALHOST.into();
        let admitted = (
            sessions.claim(1).unwrap(),
            admission.admit(address).unwrap(),
        );
        let (head, ()) = Request::new(()).into_parts();
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let handshake = Arc::new(Handshake::new(&head, remote));
        let processed = mailbox.begin_post().unwrap().deliver(body.into());
        let served = serve(
            handshake,
            &handler,
            &config,
            &mailbox,
            &registration,
            admitted,
        );
        tokio::pin!(served);
        let mut reason = settled(served.as_mut());
        if reason.is_none() {
            queue.close(DisconnectReason::Superseded);
            reason = settled(served.as_mut());
        }
        assert_eq!(reason, Some(DisconnectReason::Superseded), "{body:?}");
        assert_eq!(*handler.0.lock(), taken);
        assert!(processed.await.is_err(), "it is not said to be processed");
    }
}

/// Has a connection tried again when it closes, as its client may that sees it close.
struct Again {
    mailbox: Arc<Mailbox>,
    came: Arc<Mutex<Option<Result<(), Refused>>>>,
}

impl Drop for Again {
    fn drop(&mut self) {
        let claimed = self.mailbox.claim_upgrade();
        *self.came.lock() = Some(claimed.map(|_: UpgradeTicket| ()));
    }
}

#[tokio::test]
async fn whoever_sees_its_upgrade_fail_may_try_another_at_once() {
    let (handler, config, mailbox) = (Witness::default(), config(), mailbox());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let came = Arc::<Mutex<_>>::default();
    mailbox.claim_upgrade().unwrap().deliver(Connection {
        stream: stream.into(),
        // A text that is no packet, masked with zeros.
        prefix: Bytes::from_static(&[0x81, 0x81, 0, 0, 0, 0, b'x']),
        guard: Arc::new(Again {
            mailbox: mailbox.clone(),
            came: came.clone(),
        }),
    });
    let engine = Engine::new(&handler, &config, mailbox.queue());
    let given = give(&engine, &mailbox);
    tokio::pin!(given);
    assert!(settled(given).is_none());
    assert_eq!(came.lock().take(), Some(Ok(())));
}
