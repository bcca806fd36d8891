//! From Socket.IO packets to the text of an Engine.IO message.
//!
//! Owns the order of a packet's parts. It must never check JSON: what it is given as [`Json`] or [`Args`] was checked
//! once.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::ROOT_NAMESPACE;
use super::packet::{Ack, Body, Event, Packet};
use crate::json::{Args, Json, write_number, write_string};

/// Whether `namespace` can be told apart from what surrounds it in a packet. What was decoded always can; a name from a
/// configuration is checked once, with this.
pub fn is_valid_namespace(namespace: &str) -> bool {
    namespace.starts_with('/') && !namespace.contains([',', '?'])
}

/// Appends `packet`; its attachments follow as binary messages.
pub fn encode(out: &mut BytesMut, packet: &Packet<'_>) {
    let Packet {
        namespace,
        query,
        body,
    } = packet;
    match body {
        Body::Connect(payload) => {
            begin(out, b'0', None, namespace, *query, None);
            put_optional(out, *payload);
        }
        Body::Disconnect => begin(out, b'1', None, namespace, *query, None),
        Body::Event(Event {
            name,
            args,
            ack_id,
            attachments,
        }) => {
            let (kind, count) = if *attachments == 0 {
                (b'2', None)
            } else {
                (b'5', Some(*attachments))
            };
            begin(out, kind, count, namespace, *query, *ack_id);
            begin_event(out, name).args(*args).finish();
        }
        Body::Ack(Ack {
            id,
            args,
            attachments,
        }) => {
            let (kind, count) = if *attachments == 0 {
                (b'3', None)
            } else {
                (b'6', Some(*attachments))
            };
            begin(out, kind, count, namespace, *query, Some(*id));
            ArgsWriter::begin(out).args(*args).finish();
        }
        Body::ConnectError(payload) => {
            begin(out, b'4', None, namespace, *query, None);
            put_optional(out, *payload);
        }
    }
}

/// Appends a server's answer to a connect: the socket's id, and its private id if the connection can be recovered.
pub fn connected(out: &mut BytesMut, namespace: &str, sid: &str, pid: Option<&str>) {
    begin(out, b'0', None, namespace, None, None);
    out.put_slice(b"{\"sid\":");
    write_string(out, sid);
    if let Some(pid) = pid {
        out.put_slice(b",\"pid\":");
        write_string(out, pid);
    }
    out.put_u8(b'}');
}

/// Appends a server's refusal of a connect.
pub fn connect_error(out: &mut BytesMut, namespace: &str, message: &str, data: Option<Json<'_>>) {
    begin(out, b'4', None, namespace, None, None);
    out.put_slice(b"{\"message\":");
    write_string(out, message);
    if let Some(data) = data {
        out.put_slice(b",\"data\":");
        out.put_slice(data.as_str().as_bytes());
    }
    out.put_u8(b'}');
}

/// Appends a disconnection from a namespace.
pub fn disconnect(out: &mut BytesMut, namespace: &str) {
    begin(out, b'1', None, namespace, None, None);
}

/// Begins an event: `2/chat,["name"`. Its arguments follow through the writer.
pub fn event<'b>(
    out: &'b mut BytesMut,
    namespace: &str,
    ack_id: Option<u64>,
    name: &str,
) -> ArgsWriter<'b> {
    begin(out, b'2', None, namespace, None, ack_id);
    begin_event(out, name)
}

/// Begins an event whose arguments have placeholders for `attachments` binary messages, which follow the packet.
pub fn binary_event<'b>(
    out: &'b mut BytesMut,
    namespace: &str,
    ack_id: Option<u64>,
    name: &str,
    attachments: usize,
) -> ArgsWriter<'b> {
    begin(out, b'5', Some(attachments), namespace, None, ack_id);
    begin_event(out, name)
}

/// Begins the acknowledgement of the event that came with this id.
pub fn ack<'b>(out: &'b mut BytesMut, namespace: &str, id: u64) -> ArgsWriter<'b> {
    begin(out, b'3', None, namespace, None, Some(id));
    ArgsWriter::begin(out)
}

/// Begins an acknowledgement whose arguments have placeholders for `attachments` binary messages, which follow the
/// packet.
pub fn binary_ack<'b>(
    out: &'b mut BytesMut,
    namespace: &str,
    id: u64,
    attachments: usize,
) -> ArgsWriter<'b> {
    begin(out, b'6', Some(attachments), namespace, None, Some(id));
    ArgsWriter::begin(out)
}

/// Writes the arguments of an event or acknowledgement. The packet is complete with [`ArgsWriter::finish`].
#[derive(Debug)]
#[must_use = "a packet is incomplete until its writer is finished"]
pub struct ArgsWriter<'b> {
    out: &'b mut BytesMut,
    is_first: bool,
}

impl<'b> ArgsWriter<'b> {
    fn begin(out: &'b mut BytesMut) -> Self {
        out.put_u8(b'[');
        Self {
            out,
            is_first: true,
        }
    }

    /// Adds a JSON value as it was written.
    pub fn json(self, value: Json<'_>) -> Self {
        self.with(|out| out.put_slice(value.as_str().as_bytes()))
    }

    /// Adds all the arguments of another packet as they were written.
    pub fn args(self, args: Args<'_>) -> Self {
        if args.is_empty() {
            self
        } else {
            self.with(|out| out.put_slice(args.as_str().as_bytes()))
        }
    }

    /// Adds a string.
    pub fn string(self, text: &str) -> Self {
        self.with(|out| write_string(out, text))
    }

    /// Adds a value. On an error the buffer holds a part of a packet and is to be thrown away.
    pub fn value<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self, serde_json::Error> {
        self.separate();
        serde_json::to_writer((&mut *self.out).writer(), value)?;
        Ok(self)
    }

    /// Adds a value that `write` appends. It has to be one whole JSON value.
    pub fn with(mut self, write: impl FnOnce(&mut BytesMut)) -> Self {
        self.separate();
        write(self.out);
        self
    }

    /// Completes the packet.
    pub fn finish(self) {
        self.out.put_u8(b']');
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.out.put_u8(b',');
        }
    }
}

/// Writes what comes before a packet's JSON.
fn begin(
    out: &mut BytesMut,
    kind: u8,
    attachments: Option<usize>,
    namespace: &str,
    query: Option<&str>,
    ack_id: Option<u64>,
) {
    debug_assert!(is_valid_namespace(namespace), "no namespace: {namespace:?}");
    out.put_u8(kind);
    if let Some(attachments) = attachments {
        write_number(out, attachments as u64);
        out.put_u8(b'-');
    }
    if namespace != ROOT_NAMESPACE || query.is_some() {
        out.put_slice(namespace.as_bytes());
        if let Some(query) = query {
            out.put_u8(b'?');
            out.put_slice(query.as_bytes());
        }
        out.put_u8(b',');
    }
    if let Some(ack_id) = ack_id {
        write_number(out, ack_id);
    }
}

fn begin_event<'b>(out: &'b mut BytesMut, name: &str) -> ArgsWriter<'b> {
    ArgsWriter::begin(out).string(name)
}

fn put_optional(out: &mut BytesMut, payload: Option<Json<'_>>) {
    if let Some(payload) = payload {
        out.put_slice(payload.as_str().as_bytes());
    }
}
