//! What operators read of a program while it runs: its log, and traces of what passes through it.
//!
//! Owns how log lines look, which of them are written and until when, and the way of spans to a collector. It must never know what is
//! logged or traced.

mod export;
mod levels;
mod traces;
mod unreadable;

use std::env;
use std::io::{IsTerminal, stderr};

use serde::Deserialize;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

pub use levels::{LevelError, LevelStatus, Levels, MAX_FILTER_BYTES};
pub use traces::{Kind, Parent, Service, Span, Traces, TracesConfig, TracesError, current, scope};

pub use unreadable::Unreadable;

use crate::config::ConfigError;

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
    /// For people with narrow terminals: where a line comes from stands behind what it says.
    Compact,
    /// For programs: one JSON object a line.
    Json,
}

/// Starts logging to standard error. Call once. What is logged can be changed later by what is returned.
pub fn init(config: &LogConfig) -> Result<Levels, ConfigError> {
    let from_environment = env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let (key, configured) = match from_environment {
        Some(filter) => ("RUST_LOG", filter),
        None => ("log.filter", config.filter.clone()),
    };
    let filter =
        levels::parse(&configured).map_err(|error| ConfigError::invalid(key, error.to_string()))?;
    let (filter, handle) = reload::Layer::new(filter);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines(config.format))
        .init();
    let install = move |filter| {
        handle
            .reload(filter)
            .map_err(|error| LevelError::NotInstalled(error.to_string()))
    };
    Ok(Levels::new(configured, install))
}

type Filtered = tracing_subscriber::layer::Layered<
    reload::Layer<tracing_subscriber::EnvFilter, Registry>,
    Registry,
>;

/// Writes lines of this form. Times are in UTC, as RFC 3339 has them; colours are for terminals only.
fn lines(format: LogFormat) -> Box<dyn Layer<Filtered> + Send + Sync> {
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = fmt::layer()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal() && !is_plain);
    match format {
        LogFormat::Pretty => lines.boxed(),
        LogFormat::Compact => lines.compact().boxed(),
        // A span's fields once: the list of spans has those of the innermost, too.
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .boxed(),
    }
}
