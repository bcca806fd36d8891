//! From the send queue to the body of a poll's answer.
//!
//! The queue holds WebSocket frames, so that an event is encoded once for all sessions, however they are carried. Here their
//! payloads are taken out again. Frames that speak of the WebSocket itself stay behind.

use std::collections::VecDeque;

use bytes::Bytes;
use confab_gateway_protocol::engineio::{Packet, PayloadEncoder, PayloadFull};
use confab_gateway_protocol::websocket::{self, Frame, Opcode};

use crate::hub::send_queue::SendQueue;

/// A body that ends the session.
const CLOSE: Bytes = Bytes::from_static(b"1");

/// What is queued, as far as it fits; the rest stays queued. Empty if nothing was queued that a poll could carry.
pub(super) fn take(queue: &SendQueue, max_bytes: usize) -> Bytes {
    fill(queue, PayloadEncoder::new(max_bytes)).finish()
}

/// What is queued, as [`take`] has it, or, if nothing is, the packet that ends the session; and whether it is that.
///
/// Never both at once: clients hand a body's messages on a moment later than they notice its end, so a message before the end would be
/// processed after the client has said where it goes on from, and come twice.
pub(super) fn take_last(queue: &SendQueue, max_bytes: usize) -> (Bytes, bool) {
    let body = take(queue, max_bytes);
    if body.is_empty() {
        (CLOSE, true)
    } else {
        (body, false)
    }
}

fn fill(queue: &SendQueue, mut body: PayloadEncoder) -> PayloadEncoder {
    let mut chunks = VecDeque::new();
    queue.take(&mut chunks);
    while let Some(chunk) = chunks.pop_front() {
        if let Some(rest) = add(&mut body, chunk) {
            chunks.push_front(rest);
            queue.put_back(chunks);
            break;
        }
    }
    body
}

/// Adds a chunk's frames. Returns what did not fit.
fn add(body: &mut PayloadEncoder, chunk: Bytes) -> Option<Bytes> {
    let mut frames = websocket::frames(chunk);
    loop {
        let rest = frames.unread().clone();
        let added = match frames.next()? {
            Ok(frame) => add_frame(body, &frame),
            Err(error) => {
                tracing::error!(%error, "a send queue holds something else than frames");
                return None;
            }
        };
        if added.is_err() {
            return Some(rest);
        }
    }
}

fn add_frame(body: &mut PayloadEncoder, frame: &Frame) -> Result<(), PayloadFull> {
    match frame.opcode() {
        Opcode::Text => body.push_encoded(&frame.payload()),
        Opcode::Binary => body.push(&Packet::Binary(frame.payload())),
        Opcode::Close | Opcode::Ping | Opcode::Pong => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    fn text(packet: &str) -> Bytes {
        websocket::text_frame(|out| out.extend_from_slice(packet.as_bytes())).into_wire()
    }

    #[test]
    fn frames_become_packets_and_control_frames_stay_behind() {
        let queue = SendQueue::new(1_000);
        let mut chunk = BytesMut::new();
        chunk.extend_from_slice(&text("4a"));
        chunk.extend_from_slice(websocket::pong_frame(b"x").unwrap().wire());
        chunk.extend_from_slice(
            websocket::binary_frame(|out| out.extend_from_slice(&[1, 2, 3])).wire(),
        );
        queue.push(chunk.freeze());
        queue.push(text("2"));
        assert_eq!(take(&queue, 1_000), "4a\u{1e}bAQID\u{1e}2");
        assert!(take(&queue, 1_000).is_empty());
        queue.push(websocket::pong_frame(b"x").unwrap().into_wire());
        assert!(take(&queue, 1_000).is_empty());
    }

    #[test]
    fn what_does_not_fit_stays_in_order_even_within_a_chunk() {
        let queue = SendQueue::new(1_000);
        let mut chunk = BytesMut::new();
        for packet in ["4aaa", "4bbb", "4ccc"] {
            chunk.extend_from_slice(&text(packet));
        }
        queue.push(chunk.freeze());
        queue.push(text("4ddd"));
        assert_eq!(take(&queue, 9), "4aaa\u{1e}4bbb");
        assert_eq!(take(&queue, 1), "4ccc", "one packet always fits");
        queue.push(text("4eee"));
        let last = take_last(&queue, 1_000);
        assert_eq!(last, (Bytes::from_static(b"4ddd\x1e4eee"), false));
        assert_eq!(take_last(&queue, 1_000), (CLOSE, true));
    }
}
