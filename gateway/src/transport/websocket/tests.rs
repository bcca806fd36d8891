use confab_shared::config::load;

use super::*;
use crate::config::{DEFAULTS, GatewayConfig};

fn fragments() -> Fragments {
    Fragments {
        opcode: None,
        bytes: BytesMut::new(),
        max: 6,
    }
}

#[test]
fn fragments_are_joined_within_the_limit() {
    let mut parts = fragments();
    assert_eq!(parts.add(OpCode::Text, false, "ab".into()), Ok(None));
    assert_eq!(
        parts.add(OpCode::Continuation, false, "cd".into()),
        Ok(None)
    );
    let Ok(Some((OpCode::Text, whole))) = parts.add(OpCode::Continuation, true, "ef".into()) else {
        panic!("not joined")
    };
    assert_eq!(whole, "abcdef");
    assert!(parts.add(OpCode::Binary, false, "1234".into()).is_ok());
    assert_eq!(
        parts.add(OpCode::Continuation, true, "567".into()).err(),
        Some(DisconnectReason::PayloadTooLarge)
    );
}

/// Its session is superseded by the second message.
struct Moving<'a> {
    queue: &'a SendQueue,
    taken: usize,
}

impl Inbox for Moving<'_> {
    fn max_message(&self) -> usize {
        100
    }

    async fn text(&mut self, _: Bytes) -> Result<(), DisconnectReason> {
        self.taken += 1;
        if self.taken == 2 {
            self.queue.close(DisconnectReason::Superseded);
        }
        Ok(())
    }

    async fn binary(&mut self, bytes: Bytes) -> Result<(), DisconnectReason> {
        self.text(bytes).await
    }
}

#[tokio::test]
async fn what_a_client_said_before_it_came_back_elsewhere_is_left() {
    // Texts of one letter, masked with zeros.
    let sent = Bytes::from([0x81, 0x81, 0, 0, 0, 0, b'a'].repeat(4));
    let config = load::<GatewayConfig>(DEFAULTS).unwrap().config.engine;
    let reader = reader(tokio::io::empty(), sent, &config);
    let queue = SendQueue::new(100);
    let mut inbox = Moving {
        queue: &queue,
        taken: 0,
    };
    let reason = read_loop(reader, &queue, &mut inbox).await;
    assert_eq!((reason, inbox.taken), (DisconnectReason::Superseded, 2));
}

#[test]
fn fragments_out_of_place_are_violations() {
    assert!(
        fragments()
            .add(OpCode::Continuation, true, "x".into())
            .is_err()
    );
    let mut parts = fragments();
    parts.add(OpCode::Text, false, "a".into()).unwrap();
    assert!(parts.add(OpCode::Text, true, "b".into()).is_err());
}
