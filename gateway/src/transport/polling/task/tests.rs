use std::net::Ipv4Addr;

use bytes::Bytes;
use confab_shared::config::load;
use futures_util::future::FutureExt;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

use super::super::mailbox::{Connection, Refused};
use super::super::ticket::UpgradeTicket;
use super::*;
use crate::config::{DEFAULTS, GatewayConfig};
use crate::hub::send_queue::SendQueue;

/// Takes everything.
#[derive(Default)]
struct Witness;

impl EngineHandler for Witness {
    type Session = Link;

    fn open(&self, _: Arc<Handshake>, link: Link) -> Link {
        link
    }

    async fn text(&self, _: &mut Link, _: &str) -> Result<(), DisconnectReason> {
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
    let (handler, config, mailbox) = (Witness, config(), mailbox());
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
