//! The writing half: what is queued goes out whole, and in the end a farewell.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
use confab_gateway_protocol::websocket;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::hub::send_queue::SendQueue;
use crate::session::DisconnectReason;

/// How many chunks one write takes.
const MAX_SLICES: usize = 64;
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// The writing half of a connection, and what was taken from the session's queue to be written. Whatever interrupts the writing, the rest of a
/// frame comes before anything else.
pub(in crate::transport) struct Outbox<W> {
    stream: W,
    chunks: VecDeque<Bytes>,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    /// Nothing to write yet.
    pub(in crate::transport) fn new(stream: W) -> Self {
        Self {
            stream,
            chunks: VecDeque::new(),
        }
    }

    /// Writes what is queued, until the session is to end and all of it is written, or the connection breaks. May be dropped at any time.
    pub(super) async fn write_loop(&mut self, queue: &SendQueue) -> DisconnectReason {
        loop {
            std::future::poll_fn(|cx| queue.poll_ready(cx)).await;
            if queue.closing().is_none() {
                // One turn for whoever else has something for this session: several events then share a write.
                tokio::task::yield_now().await;
            }
            queue.take(&mut self.chunks);
            let written = tokio::select! {
                biased;
                written = self.write_all() => written,
                // A writer that is stuck does not notice by itself that its session is to end.
                () = overrun(queue) => return queue.closing().unwrap_or(DisconnectReason::SlowConsumer),
            };
            if written.is_err() {
                return DisconnectReason::TransportError;
            }
            if let Some(reason) = queue.closing() {
                return reason;
            }
        }
    }

    async fn write_all(&mut self) -> io::Result<()> {
        let Self { stream, chunks } = self;
        while let Some(first) = chunks.front() {
            let mut written = if chunks.len() == 1 {
                stream.write(first).await?
            } else {
                let slices: Vec<IoSlice<'_>> = chunks
                    .iter()
                    .take(MAX_SLICES)
                    .map(|chunk| IoSlice::new(chunk))
                    .collect();
                stream.write_vectored(&slices).await?
            };
            if written == 0 && !first.is_empty() {
                return Err(io::ErrorKind::WriteZero.into());
            }
            while let Some(chunk) = chunks.front_mut() {
                if written < chunk.len() {
                    chunk.advance(written);
                    break;
                }
                written -= chunk.len();
                chunks.pop_front();
            }
        }
        // Under TLS the end of it may not have gone out.
        stream.flush().await
    }

    /// Says goodbye as far as the client still listens, with `last` words of the handler's, then ends the connection.
    pub(super) async fn farewell(
        &mut self,
        queue: &SendQueue,
        last: Option<Bytes>,
        reason: DisconnectReason,
    ) {
        if matches!(
            reason,
            DisconnectReason::SlowConsumer | DisconnectReason::TransportError
        ) {
            return;
        }
        queue.take(&mut self.chunks);
        self.chunks.extend(last);
        let close = websocket::close_frame(reason.close_code(), reason.as_str());
        self.chunks.push_back(close.into_wire());
        let goodbye = async {
            self.write_all().await?;
            self.stream.shutdown().await
        };
        if !matches!(tokio::time::timeout(FAREWELL, goodbye).await, Ok(Ok(()))) {
            // The client is gone already; there is nobody to tell.
            tracing::trace!(%reason, "no farewell");
        }
    }
}

/// Resolves when the queue ran over, or has been closing for a while: a client that reads nothing must not hold up a drain.
async fn overrun(queue: &SendQueue) {
    let mut was_closing = false;
    loop {
        tokio::time::sleep(FAREWELL / 2).await;
        if queue.is_overrun() || was_closing {
            return;
        }
        was_closing = queue.closing().is_some();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn whatever_interrupts_the_writing_frames_go_out_whole_and_in_order() {
        let queue = SendQueue::new(1 << 20);
        let sent: Vec<String> = (0..200).map(|number| format!("frame {number}")).collect();
        for text in &sent {
            let frame = websocket::text_frame(|out| out.extend_from_slice(text.as_bytes()));
            queue.push(frame.into_wire());
        }
        let (mut client, server) = tokio::io::duplex(50);
        let mut outbox = Outbox::new(server);
        // The client reads nothing meanwhile: a frame is written in part, others were taken and not begun.
        tokio::select! {
            biased;
            _ = outbox.write_loop(&queue) => panic!("there was no end"),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        queue.close(DisconnectReason::ProtocolViolation);
        let last = websocket::text_frame(|out| out.extend_from_slice(b"last words"));
        let mut read = Vec::new();
        let ((), received) = tokio::join!(
            outbox.farewell(
                &queue,
                Some(last.into_wire()),
                DisconnectReason::ProtocolViolation
            ),
            client.read_to_end(&mut read),
        );
        received.unwrap();
        let frames: Vec<_> = websocket::frames(read.into()).map(Result::unwrap).collect();
        let (close, texts) = frames.split_last().unwrap();
        assert_eq!(close.opcode(), websocket::Opcode::Close);
        let texts: Vec<_> = texts.iter().map(websocket::Frame::payload).collect();
        assert_eq!(texts[..sent.len()], sent);
        assert_eq!(texts[sent.len()..], ["last words"]);
    }
}
