//! What clients make of what they are sent, and what is said in rooms.

use std::collections::{BTreeSet, VecDeque};

use confab_gateway::hub::socket::SocketRef;
use confab_shared::id::{NodeId, UserId};
use confab_shared::model::event::{Fact, RoomBatch};
use fred::clients::Client;
use fred::types::Message;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::raw::PATIENCE;

/// What a client has made of what it was sent.
pub(super) struct Watcher {
    pub(super) user: UserId,
    pub(super) node: NodeId,
    pub(super) socket: SocketRef,
    pub(super) view: BTreeSet<UserId>,
    /// Whether it was shown everything once.
    pub(super) began: bool,
    /// Of whom it was told that they went.
    pub(super) told_offline: Vec<UserId>,
    pub(super) frames: usize,
}

impl Watcher {
    /// Reads what came, as a client does.
    pub(super) fn read(&mut self) {
        let mut chunks = VecDeque::new();
        self.socket.queue().take(&mut chunks);
        let bytes: Vec<u8> = chunks.into_iter().flatten().collect();
        for text in frames(&bytes) {
            self.frames += 1;
            let event: Value = serde_json::from_str(&text["42/chat,".len()..]).unwrap();
            let user = || event[1]["userId"].as_str().unwrap().parse().unwrap();
            match event[0].as_str().unwrap() {
                "onlineUsers" => {
                    let online: Vec<UserId> = serde_json::from_value(event[1].clone()).unwrap();
                    self.view = online.into_iter().collect();
                    self.began = true;
                }
                "userStatusChanged" => self.change(user(), event[1]["status"] == "online"),
                "status:online" => self.change(user(), true),
                "status:offline" => self.change(user(), false),
                other => panic!("{other}"),
            }
        }
    }

    fn change(&mut self, user: UserId, is_online: bool) {
        if is_online {
            self.view.insert(user);
        } else {
            self.view.remove(&user);
            self.told_offline.push(user);
        }
    }
}

/// The payloads of frames, one after the other.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [_, length, rest @ ..] = bytes {
        let (header, length) = match length {
            126 => (2, usize::from(u16::from_be_bytes([rest[0], rest[1]]))),
            127 => (
                8,
                usize::try_from(u64::from_be_bytes(rest[..8].try_into().unwrap())).unwrap(),
            ),
            short => (0, usize::from(*short)),
        };
        texts.push(String::from_utf8(rest[header..header + length].to_vec()).unwrap());
        bytes = &rest[header + length..];
    }
    texts
}

/// What is said in a room.
pub(super) struct Heard {
    pub(super) messages: broadcast::Receiver<Message>,
    pub(super) _subscriber: Client,
}

impl Heard {
    /// Who comes or goes next, and which.
    pub(super) async fn next(&mut self) -> (&'static str, UserId) {
        let waiting = tokio::time::timeout(PATIENCE, self.messages.recv());
        let message = waiting.await.expect("nothing is said").unwrap();
        let text: String = message.value.convert().unwrap();
        let (_, batch) = text.split_once('\n').unwrap();
        let batch: RoomBatch = serde_json::from_str(batch).unwrap();
        match &batch.events[0].fact {
            Fact::Entered { user, .. } => ("entered", user.id),
            Fact::Exited { user, .. } => ("exited", user.id),
            other => panic!("{other:?}"),
        }
    }
}
