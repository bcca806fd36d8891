//! Logs: readable on a terminal, JSON elsewhere, filtered by `RUST_LOG` or the configured level.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Debug, Clone, Deserialize)]
pub struct LogConfig {
    /// What is logged, in `tracing`'s filter syntax. `RUST_LOG` goes before it.
    pub filter: String,
    /// As what.
    pub format: LogFormat,
}

/// The forms of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For programs: one JSON object a line.
    Json,
}

/// Starts logging to standard error. Call once.
pub fn init(config: &LogConfig) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&config.filter));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.format {
        LogFormat::Pretty => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
