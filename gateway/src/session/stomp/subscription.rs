//! A subscription, and how what is shown there is addressed to it.
//!
//! What happens is put into words once for everybody who has subscribed to a room (see `dialect/stomp`); here it gets the head that makes
//! a MESSAGE of it for this subscription, and the form in which the transport carries it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use confab_gateway_protocol::websocket::{self, Opcode};
use confab_gateway_protocol::{sockjs, stomp};

/// How long the head of a WebSocket frame is at most.
const FRAME_HEAD: usize = 10;

/// In which form a session's transport carries STOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// A WebSocket message is a piece of the byte stream.
    Plain,
    /// It is a SockJS frame with such a piece as its only string, for whichever SockJS transport.
    SockJs,
}

impl Framing {
    /// A piece of the byte stream as a whole WebSocket frame, as send queues hold them.
    pub fn frame(self, piece: &[u8]) -> Bytes {
        websocket::text_frame(|out| match self {
            Self::Plain => out.extend_from_slice(piece),
            Self::SockJs => sockjs::message(out, piece),
        })
        .into_wire()
    }
}

/// What a client has subscribed to, as it named it.
#[derive(Debug)]
pub struct Subscription {
    id: Box<str>,
    destination: Box<str>,
    framing: Framing,
    /// A MESSAGE's first lines, escaped as the client's version has it.
    head: Box<[u8]>,
}

impl Subscription {
    /// A subscription by the id and the destination that the client gave.
    pub fn new(
        id: &str,
        destination: &str,
        version: stomp::Version,
        framing: Framing,
    ) -> Arc<Self> {
        Self::with_head(id, destination, version, framing, b"")
    }

    /// A subscription whose client acknowledges what it is shown.
    pub fn acknowledged(
        id: &str,
        destination: &str,
        version: stomp::Version,
        framing: Framing,
    ) -> Arc<Self> {
        // Since 1.2 a message has a name of its own for its acknowledgement, which means nothing here: one name serves for all.
        let more: &[u8] = match version {
            stomp::Version::V1_0 | stomp::Version::V1_1 => b"",
            stomp::Version::V1_2 => b"ack:any\n",
        };
        Self::with_head(id, destination, version, framing, more)
    }

    fn with_head(
        id: &str,
        destination: &str,
        version: stomp::Version,
        framing: Framing,
        more: &[u8],
    ) -> Arc<Self> {
        let mut head = BytesMut::new();
        stomp::message_head(&mut head, version, id, destination);
        head.extend_from_slice(more);
        Arc::new(Self {
            id: id.into(),
            destination: destination.into(),
            framing,
            head: head.as_ref().into(),
        })
    }

    /// The client's name for it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the client subscribed to.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// Makes MESSAGEs for this subscription of what a dialect wrote: WebSocket frames, each with the rest of one MESSAGE, from the line after
    /// its destination on.
    pub fn address(&self, rests: Bytes) -> Bytes {
        // What happens is one message nearly always; room for more of them is made when there are more.
        let mut addressed = BytesMut::with_capacity(rests.len() + self.head.len() + FRAME_HEAD);
        // A dialect writes nothing but whole frames.
        for rest in websocket::frames(rests).flatten() {
            let rest = rest.payload();
            match self.framing {
                Framing::Plain => {
                    let length = self.head.len() + rest.len();
                    let (header, header_length) = websocket::header(Opcode::Text, length);
                    addressed.extend_from_slice(&header[..header_length]);
                    addressed.extend_from_slice(&self.head);
                    addressed.extend_from_slice(&rest);
                }
                Framing::SockJs => {
                    let piece = [&*self.head, &*rest].concat();
                    addressed.extend_from_slice(&self.framing.frame(&piece));
                }
            }
        }
        addressed.freeze()
    }
}

/// Subscriptions for which everything looks the same are the same.
impl PartialEq for Subscription {
    fn eq(&self, other: &Self) -> bool {
        (self.framing, &self.head) == (other.framing, &other.head)
    }
}

impl Eq for Subscription {}

impl Hash for Subscription {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.head.hash(state);
    }
}
