//! Where a dialect writes: Socket.IO events and acknowledgements as WebSocket frames, one after the other.

use bytes::{Bytes, BytesMut};
use confab_gateway_protocol::{engineio, socketio, websocket};
use serde::Serialize;

use super::Namespace;

/// The frames of one namespace, in order.
///
/// Each is a whole, unmasked WebSocket text frame, so that the same bytes serve every socket. An event that carries no recovery
/// offset must not end in a string argument: clients would take it for one. Payloads here are objects and arrays, or see
/// [`Frames::text_event`].
#[derive(Debug)]
pub struct Frames {
    namespace: Namespace,
    first: Option<Bytes>,
    more: BytesMut,
}

impl Frames {
    /// No frames yet.
    pub fn new(namespace: Namespace) -> Self {
        Self {
            namespace,
            first: None,
            more: BytesMut::new(),
        }
    }

    /// Adds an event with one argument, which clients cannot be told again.
    pub fn event<T: Serialize + ?Sized>(&mut self, name: &str, payload: &T) {
        self.shown(name, payload, None);
    }

    /// Adds an event with one argument and, behind it, the offset that says it was seen.
    pub fn shown<T: Serialize + ?Sized>(&mut self, name: &str, payload: &T, offset: Option<&str>) {
        let namespace = self.namespace.as_str();
        self.packet(|out| {
            let args = socketio::event(out, namespace, None, name).value(payload)?;
            match offset {
                Some(offset) => args.string(offset).finish(),
                None => args.finish(),
            }
            Ok(())
        });
    }

    /// Adds an event whose argument is a string, which clients cannot be told again.
    ///
    /// A `null` follows the string. A client that can be recovered takes a string at an event's end for an offset, and would give this
    /// one back as the place it had come to; to its listeners a further argument is nothing.
    pub fn text_event(&mut self, name: &str, text: &str) {
        let namespace = self.namespace.as_str();
        self.packet(|out| {
            socketio::event(out, namespace, None, name)
                .string(text)
                .value(&())
                .map(socketio::ArgsWriter::finish)
        });
    }

    /// Adds the acknowledgement of an event, with one argument.
    pub fn ack<T: Serialize + ?Sized>(&mut self, id: u64, payload: &T) {
        let namespace = self.namespace.as_str();
        self.packet(|out| {
            socketio::ack(out, namespace, id)
                .value(payload)
                .map(socketio::ArgsWriter::finish)
        });
    }

    fn packet(&mut self, write: impl FnOnce(&mut BytesMut) -> serde_json::Result<()>) {
        let mut written = Ok(());
        let frame = websocket::text_frame(|out| {
            engineio::begin_message(out);
            written = write(out);
        });
        if let Err(error) = written {
            // Our own shapes have string keys and no failing serialisers; if one ever does, nothing half-written goes out.
            tracing::error!(%error, "an event could not be encoded and was dropped");
            return;
        }
        match &self.first {
            None => self.first = Some(frame.into_wire()),
            Some(first) => {
                if self.more.is_empty() {
                    self.more.extend_from_slice(first);
                }
                self.more.extend_from_slice(frame.wire());
            }
        }
    }

    /// All frames, as one chunk.
    pub fn finish(self) -> Bytes {
        if self.more.is_empty() {
            self.first.unwrap_or_default()
        } else {
            self.more.freeze()
        }
    }
}
