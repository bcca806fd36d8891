//! The three ways in which a client of SockJS receives without a WebSocket, and how what is queued is dressed for each.
//!
//! The queue holds WebSocket frames whose payloads are SockJS frames, the same for every carrier; here they get what stands around them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use confab_gateway_protocol::sockjs::{self, Merger, NotMerged};
use confab_gateway_protocol::websocket::{self, Opcode};

use crate::hub::send_queue::SendQueue;

/// How a request receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One frame, and that is the answer.
    Xhr,
    /// Frames as they come, a line each.
    XhrStreaming,
    /// Frames as they come, an event each.
    EventSource,
}

impl Form {
    /// Its name, for metric labels.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Xhr => "xhr",
            Self::XhrStreaming => "xhr_streaming",
            Self::EventSource => "eventsource",
        }
    }

    /// Whether the answer goes on after its first frame.
    pub(super) fn streams(self) -> bool {
        match self {
            Self::Xhr => false,
            Self::XhrStreaming | Self::EventSource => true,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Xhr | Self::XhrStreaming => "application/javascript; charset=UTF-8",
            Self::EventSource => "text/event-stream; charset=UTF-8",
        }
    }

    /// What comes before the first frame.
    pub(super) fn prelude(self) -> Option<Bytes> {
        match self {
            Self::Xhr => None,
            Self::XhrStreaming => {
                let mut prelude = BytesMut::new();
                sockjs::streaming_prelude(&mut prelude);
                Some(prelude.freeze())
            }
            Self::EventSource => Some(Bytes::from_static(sockjs::EVENT_PRELUDE)),
        }
    }

    /// Appends a frame with what stands around it.
    pub(super) fn put(self, out: &mut BytesMut, frame: &[u8]) {
        match self {
            Self::Xhr | Self::XhrStreaming => sockjs::line(out, frame),
            Self::EventSource => sockjs::event(out, frame),
        }
    }

    /// A frame with what stands around it.
    pub(super) fn dress(self, frame: &[u8]) -> Bytes {
        let mut dressed = BytesMut::new();
        self.put(&mut dressed, frame);
        dressed.freeze()
    }

    /// A frame as all that an answer has.
    pub(super) fn whole(self, frame: &[u8]) -> Bytes {
        let mut whole = BytesMut::from(self.prelude().unwrap_or_default());
        self.put(&mut whole, frame);
        whole.freeze()
    }

    /// What is queued, dressed: as much as an answer that may have `limit` bytes more can carry of it, and one frame at least. The rest stays
    /// queued. Nothing if nothing was queued.
    pub(super) fn take(self, queue: &SendQueue, limit: usize) -> Bytes {
        let mut out = BytesMut::new();
        if self.streams() {
            each_frame(queue, |frame| {
                let fits = out.len() < limit;
                if fits {
                    self.put(&mut out, frame);
                }
                fits
            });
            return out.freeze();
        }
        let mut messages = Merger::new(limit);
        each_frame(queue, |frame| {
            if !out.is_empty() {
                return false;
            }
            match messages.push(frame) {
                Ok(()) => true,
                // Only messages can share a frame; whatever else there is stands alone.
                Err(NotMerged::NoMessages) if messages.is_empty() => {
                    self.put(&mut out, frame);
                    true
                }
                Err(NotMerged::NoMessages | NotMerged::Full) => false,
            }
        });
        if let Some(frame) = messages.finish() {
            self.put(&mut out, &frame);
        }
        out.freeze()
    }
}

/// Shows each queued frame's payload until one does not fit; that one and what follows stay queued.
fn each_frame(queue: &SendQueue, mut take: impl FnMut(&[u8]) -> bool) {
    let mut chunks = VecDeque::new();
    queue.take(&mut chunks);
    while let Some(chunk) = chunks.pop_front() {
        let mut frames = websocket::frames(chunk);
        loop {
            let rest = frames.unread().clone();
            let frame = match frames.next() {
                None => break,
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    tracing::error!(%error, "a send queue holds something else than frames");
                    break;
                }
            };
            // Frames that speak of the WebSocket itself mean nothing here.
            if frame.opcode() == Opcode::Text && !take(&frame.payload()) {
                chunks.push_front(rest);
                queue.put_back(chunks);
                return;
            }
        }
    }
}

/// A SockJS frame as send queues hold it.
pub(super) fn queued(frame: &[u8]) -> Bytes {
    websocket::text_frame(|out| out.extend_from_slice(frame)).into_wire()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: usize = 1_000;

    fn queue(frames: &[&str]) -> SendQueue {
        let queue = SendQueue::new(10_000);
        for frame in frames {
            queue.push(queued(frame.as_bytes()));
        }
        queue
    }

    #[test]
    fn a_polls_answer_is_one_frame_with_as_many_messages_as_there_are() {
        let queue = queue(&["o", r#"a["1"]"#, r#"a["2","3"]"#, r#"c[3000,"Go away!"]"#]);
        let next = || Form::Xhr.take(&queue, PLENTY);
        assert_eq!(next(), "o\n");
        assert_eq!(next(), "a[\"1\",\"2\",\"3\"]\n");
        assert_eq!(next(), "c[3000,\"Go away!\"]\n");
        assert!(next().is_empty());
    }

    #[test]
    fn what_does_not_fit_stays_in_order() {
        let queue = queue(&[r#"a["one"]"#, r#"a["two"]"#, r#"a["three"]"#]);
        assert_eq!(Form::Xhr.take(&queue, 14), "a[\"one\",\"two\"]\n");
        assert_eq!(Form::XhrStreaming.take(&queue, 1), "a[\"three\"]\n");
    }

    #[test]
    fn a_stream_has_frames_one_after_the_other_within_its_limit() {
        let frames = ["o", r#"a["1"]"#, r#"a["2"]"#];
        assert_eq!(
            Form::XhrStreaming.take(&queue(&frames), PLENTY),
            "o\na[\"1\"]\na[\"2\"]\n"
        );
        let queue = queue(&frames);
        assert_eq!(Form::XhrStreaming.take(&queue, 3), "o\na[\"1\"]\n");
        assert_eq!(Form::XhrStreaming.take(&queue, 3), "a[\"2\"]\n");
    }

    #[test]
    fn an_events_data_survives_the_clients_decoding() {
        let queue = queue(&["o", r#"a["100% %41\n"]"#]);
        assert_eq!(
            Form::EventSource.take(&queue, PLENTY),
            "data: o\r\n\r\ndata: a[\"100%25 %2541\\n\"]\r\n\r\n"
        );
    }

    #[test]
    fn preludes_are_those_of_the_protocol() {
        assert_eq!(Form::Xhr.prelude(), None);
        assert_eq!(Form::EventSource.prelude().unwrap(), "\r\n");
        let prelude = Form::XhrStreaming.prelude().unwrap();
        assert_eq!(prelude, format!("{}\n", "h".repeat(2_048)));
    }
}
