//! What a server writes.
//!
//! Owns the layout of frames, and the cut through a MESSAGE by which the same bytes serve many subscriptions: what differs
//! ([`message_head`]) comes first, what does not ([`message_rest`]) after it.

use bytes::{BufMut, BytesMut};

use super::command::ServerCommand;
use super::escape::Escapes;
use super::version::Version;
use crate::json::write_number;

/// What is sent to show that one is there: an end of line between frames.
pub const HEART_BEAT: &[u8] = b"\n";

/// Appends a frame. `content-length` follows the given headers, always: bodies may contain NUL, and clients that know the
/// length need not search.
pub fn write(
    out: &mut BytesMut,
    version: Version,
    command: ServerCommand,
    headers: &[(&str, &str)],
    body: &[u8],
) {
    let escapes = match command {
        ServerCommand::Connected => Escapes::None,
        ServerCommand::Message | ServerCommand::Receipt | ServerCommand::Error => {
            Escapes::of(version)
        }
    };
    out.put_slice(command.as_str().as_bytes());
    out.put_u8(b'\n');
    for (name, value) in headers {
        put_header(out, escapes, name, value);
    }
    out.put_slice(b"content-length:");
    write_number(out, body.len() as u64);
    out.put_slice(b"\n\n");
    out.put_slice(body);
    out.put_u8(0);
}

/// Appends the first lines of a MESSAGE, those in which one subscription differs from another. [`message_rest`] follows.
pub fn message_head(
    out: &mut BytesMut,
    version: Version,
    subscription_id: &str,
    destination: &str,
) {
    let escapes = Escapes::of(version);
    out.put_slice(b"MESSAGE\n");
    put_header(out, escapes, "subscription", subscription_id);
    put_header(out, escapes, "destination", destination);
}

/// Appends what follows a [`message_head`]: the other headers, the body that `body` appends, and the NUL. The body is
/// written where it stays. What `body` returns is handed on; if that is an error, what was appended is to be thrown away.
///
/// These bytes are the same for every version, so the headers must need no escapes: no colon, no backslash, no control
/// character.
pub fn message_rest<R>(
    out: &mut BytesMut,
    message_id: &str,
    content_type: &str,
    more_headers: &[(&str, &str)],
    body: impl FnOnce(&mut BytesMut) -> R,
) -> R {
    put_plain_header(out, "message-id", message_id);
    put_plain_header(out, "content-type", content_type);
    for (name, value) in more_headers {
        put_plain_header(out, name, value);
    }
    out.put_slice(b"content-length:");
    let length_at = out.len();
    // Most bodies have a length of three digits; for others the body moves over by the difference.
    out.put_slice(b"000\n\n");
    let body_at = out.len();
    let result = body(out);
    let body_len = out.len().saturating_sub(body_at);
    put_length(out, length_at, body_at, body_len);
    out.put_u8(0);
    result
}

/// Writes a body's length in front of it, into the room of three digits that was left there.
fn put_length(out: &mut BytesMut, length_at: usize, body_at: usize, body_len: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(body_len).as_bytes();
    let end_of_head = b"\n\n";
    let moved_to = length_at + digits.len() + end_of_head.len();
    if moved_to > body_at {
        out.put_bytes(0, moved_to - body_at);
    }
    if moved_to != body_at {
        out.copy_within(body_at..body_at + body_len, moved_to);
        out.truncate(moved_to + body_len);
    }
    let head = &mut out[length_at..moved_to];
    head[..digits.len()].copy_from_slice(digits);
    head[digits.len()..].copy_from_slice(end_of_head);
}

fn put_header(out: &mut BytesMut, escapes: Escapes, name: &str, value: &str) {
    escapes.write(out, name);
    out.put_u8(b':');
    escapes.write(out, value);
    out.put_u8(b'\n');
}

/// Writes a header that is the same in every version.
fn put_plain_header(out: &mut BytesMut, name: &str, value: &str) {
    debug_assert!(
        [name, value]
            .iter()
            .all(|part| !part.contains([':', '\\', '\n', '\r', '\0'])),
        "{name:?}: {value:?} needs escapes"
    );
    put_header(out, Escapes::None, name, value);
}
