//! A process's life among others: what it inherits from whoever started it, when it says that it is ready, how that somebody can tell that it
//! is stuck, and how it ends. A signal starts the drain, a second one cuts it short; and a part it cannot live without takes it along.
//!
//! Owns the way to the service manager (systemd's protocol of environment variables and datagrams). Must never know what is served.

mod inherited;
mod manager;
mod readiness;
mod vitals;

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use inherited::{InheritedError, InheritedSockets};
pub use manager::{Drainage, ServiceManager};
pub use readiness::Readiness;
pub use vitals::{Sign, Vitals};

/// The exit status of a program whose settings are wrong (`EX_CONFIG` of sysexits.h): starting it again changes nothing.
pub const EX_CONFIG: u8 = 78;

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

/// The exit status of a process that ended because one of its vital parts did (`EX_SOFTWARE` of sysexits.h).
const EX_SOFTWARE: i32 = 70;

/// Runs a task that the process cannot live without until `stop`. Should it panic or end before, the process ends at once, to be
/// started anew by whoever runs it: half alive it would look ready and serve nobody.
pub fn spawn_vital<F>(name: &'static str, stop: &CancellationToken, task: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let stop = stop.clone();
    tokio::spawn(async move {
        let ended = tokio::spawn(stop.clone().run_until_cancelled_owned(task)).await;
        if !stop.is_cancelled() {
            let reason = ended
                .err()
                .map_or_else(|| "it ended".to_owned(), |error| error.to_string());
            give_up(name, &reason);
        }
    });
}

/// Ends the process, since a part is gone that it cannot live without.
pub(crate) fn give_up(task: &str, reason: &str) -> ! {
    tracing::error!(task, reason, "a vital task is gone; the process ends");
    std::process::exit(EX_SOFTWARE);
}
