//! How a process ends: a signal starts the drain, a second one cuts it short.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two tokens of a shutdown.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when the process should drain: take no new work, finish what is under way, leave.
    pub drain: CancellationToken,
    /// Cancelled when it should leave at once.
    pub abort: CancellationToken,
}

impl Shutdown {
    /// Tokens that SIGTERM or SIGINT cancels: the first signal drains, the second aborts.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let (mut term, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let tokens = shutdown.clone();
        tokio::spawn(async move {
            for token in [tokens.drain, tokens.abort] {
                tokio::select! {
                    _ = term.recv() => tracing::info!("SIGTERM received"),
                    _ = interrupt.recv() => tracing::info!("SIGINT received"),
                }
                token.cancel();
            }
        });
        Ok(shutdown)
    }
}
