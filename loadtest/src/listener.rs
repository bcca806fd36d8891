//! One user's STOMP subscriber: takes in what a room's members say, and writes down what it saw.
//!
//! Bodies say which message they are, but not its place in the room; places are looked up in what is stored when the log is made.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio_util::sync::CancellationToken;

use crate::client::scan::Field;
use crate::client::stomp::{Subscribe, Subscriber};
use crate::client::{ClientError, Kind};
use crate::clock;
use crate::instruments::Instruments;
use crate::log::{ClientLog, Link, Seen, Sight};
use crate::stamp::Stamp;

/// How many MESSAGEs that cannot be read are kept as evidence.
const MAX_STRAYS: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Listener {
    subscriber: Subscriber,
    instruments: Arc<Instruments>,
    conversation: u32,
    gateway: u32,
    opened: u64,
    closed: Option<u64>,
    newest: Newest,
    /// Ids and versions, in the order received.
    seen: Vec<(i64, u16)>,
    strays: Vec<String>,
    id: Field,
    kind: Field,
    content: Field,
}

/// The id of the message that a listener has seen last. Shared with whoever waits for it.
#[derive(Debug, Clone, Default)]
pub struct Newest(Arc<AtomicI64>);

impl Newest {
    /// The id; 0 before the first.
    pub fn id(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Listener {
    /// Subscribes to the topic of the conversation with this index, at the gateway with this one.
    pub async fn open(
        wanted: &Subscribe<'_>,
        conversation: u32,
        gateway: u32,
        instruments: Arc<Instruments>,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            subscriber: Subscriber::open(wanted).await?,
            instruments,
            conversation,
            gateway,
            opened: clock::now(),
            closed: None,
            newest: Newest::default(),
            seen: Vec::new(),
            strays: Vec::new(),
            id: Field::new("\"id\":"),
            kind: Field::new("\"type\":"),
            content: Field::new("\"content\":\""),
        })
    }

    /// How far it has come.
    pub fn newest(&self) -> Newest {
        self.newest.clone()
    }

    /// Takes in what comes, until `finish`.
    pub async fn listen(&mut self, finish: &CancellationToken) {
        tokio::select! {
            biased;
            error = self.run() => {
                eprintln!("a subscriber lost its connection: {error}");
                self.closed = Some(clock::now());
            }
            () = finish.cancelled() => {}
        }
    }

    async fn run(&mut self) -> ClientError {
        loop {
            if let Err(error) = self.take_in() {
                return error;
            }
            if let Err(error) = self.subscriber.turn().await {
                return error;
            }
        }
    }

    fn take_in(&mut self) -> Result<(), ClientError> {
        let now = clock::now();
        while let Some(frame) = self.subscriber.message()? {
            let said = self.kind.string(frame) == Some(b"CHAT");
            let message = self.id.quoted_number(frame);
            let stamp = self.content.after(frame).and_then(Stamp::read);
            match (said, message, stamp) {
                (true, Some(message), Some(stamp)) => {
                    self.instruments.delivered(stamp.at, now);
                    self.seen.push((message, stamp.version));
                    self.newest.0.store(message, Ordering::Relaxed);
                }
                (true, ..) if self.strays.len() < MAX_STRAYS => {
                    let text = &frame[..frame.len().min(500)];
                    self.strays.push(String::from_utf8_lossy(text).into_owned());
                }
                // Who comes and goes, and what else happens in a room.
                _ => {}
            }
        }
        Ok(())
    }

    /// What it has written down, with each message's place in the room, by its id.
    pub fn into_log(self, places: &HashMap<i64, u32>) -> ClientLog {
        let seen = self.seen.iter().map(|&(message, version)| Seen {
            message,
            // A message that is not stored has no place; the checker finds it by its id.
            place: places.get(&message).copied().unwrap_or(0),
            conversation: self.conversation,
            version,
            connection: 0,
            sight: Sight::Message,
        });
        ClientLog {
            seen: seen.collect(),
            connections: vec![Link {
                gateway: self.gateway,
                kind: Kind::WebSocket,
                sid: self.subscriber.session().to_owned(),
                pid: None,
                recovered: false,
                opened: self.opened,
                closed: self.closed,
            }],
            strays: self.strays,
            ..ClientLog::default()
        }
    }
}
