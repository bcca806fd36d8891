//! Which log lines are written, and how operators change that while the program runs.
//!
//! Owns the filter in force and the way back to the configured one. Knows nothing of how it is asked: that is the programs' internal
//! listeners' business.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::AbortHandle;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

use crate::config::parse_duration;

/// The longest filter.
pub const MAX_FILTER_BYTES: usize = 4_096;
/// For how long a filter can be asked for at the most.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Changes what is logged. Cheap to clone.
#[derive(Clone)]
pub struct Levels {
    inner: Arc<Inner>,
}

struct Inner {
    install: Box<dyn Fn(EnvFilter) -> Result<(), LevelError> + Send + Sync>,
    configured: String,
    state: Mutex<State>,
}

/// What is in force.
struct State {
    filter: String,
    /// When the configured filter comes back, and who sees to it.
    return_at: Option<(Instant, AbortHandle)>,
}

/// What is logged now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LevelStatus {
    /// The filter in force.
    pub filter: String,
    /// The one that the program was started with.
    pub configured: String,
    /// In how many seconds that one comes back by itself, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returns_in_seconds: Option<u64>,
}

/// As JSON, in one line.
impl fmt::Display for LevelStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        writeln!(f, "{json}")
    }
}

/// Why what is logged was not changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// There is no filter.
    #[error("a filter is missing, such as \"info,confab_gateway=debug\"")]
    Empty,
    /// It is too long, or no text.
    #[error("a filter is text of at most {MAX_FILTER_BYTES} bytes")]
    NotText,
    /// A part of it has no level.
    #[error(
        "{0:?}: expected a level (off, error, warn, info, debug, trace) or target=level, separated by commas"
    )]
    NoLevel(String),
    /// A part of it has a level, but is wrong before it.
    #[error("{directive:?}: {reason}")]
    Directive {
        /// Which part.
        directive: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such option.
    #[error("{0:?}: the only option is \"for\"")]
    UnknownOption(String),
    /// The time is none.
    #[error("for={0:?}: expected a duration such as 90s, 10m or 2h, at most 7d")]
    Duration(String),
    /// The log does not take a filter any more.
    #[error("the filter was not installed: {0}")]
    NotInstalled(String),
}

impl LevelError {
    /// Whether whoever asked is to ask otherwise.
    pub fn is_asked_wrongly(&self) -> bool {
        !matches!(self, Self::NotInstalled(_))
    }
}

impl Levels {
    /// `configured` is in force; `install` puts another filter in its place.
    pub(super) fn new(
        configured: String,
        install: impl Fn(EnvFilter) -> Result<(), LevelError> + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            filter: configured.clone(),
            return_at: None,
        };
        let inner = Inner {
            install: Box::new(install),
            configured,
            state: Mutex::new(state),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// What is logged now.
    pub fn status(&self) -> LevelStatus {
        let state = self.inner.state();
        let left = |(at, _): &(Instant, AbortHandle)| at.saturating_duration_since(Instant::now());
        LevelStatus {
            filter: state.filter.clone(),
            configured: self.inner.configured.clone(),
            returns_in_seconds: state.return_at.as_ref().map(left).map(rounded),
        }
    }

    /// Changes what is logged, as a request has it: the filter, and as options (`for=10m`) after which time the configured one comes
    /// back. Without that time it stays until the program ends. To be called within a runtime, which has the clock.
    pub fn change(&self, filter: &[u8], options: Option<&str>) -> Result<LevelStatus, LevelError> {
        let limit = options.map(parse_options).transpose()?.unwrap_or_default();
        let text = str::from_utf8(filter)
            .ok()
            .filter(|text| text.len() <= MAX_FILTER_BYTES)
            .ok_or(LevelError::NotText)?
            .trim();
        let filter = parse(text)?;
        {
            let mut state = self.inner.state();
            self.inner.replace(&mut state, filter, text)?;
            state.return_at = limit.map(|limit| {
                let levels = self.clone();
                let returning = tokio::spawn(async move {
                    tokio::time::sleep(limit).await;
                    levels.return_by_itself();
                });
                (Instant::now() + limit, returning.abort_handle())
            });
        }
        let seconds = limit.map(|limit| limit.as_secs());
        tracing::info!(filter = text, seconds, "the log's filter is another one");
        Ok(self.status())
    }

    /// Brings the configured filter back.
    pub fn restore(&self) -> Result<LevelStatus, LevelError> {
        let configured = &self.inner.configured;
        let filter = parse(configured)?;
        let mut state = self.inner.state();
        self.inner.replace(&mut state, filter, configured)?;
        drop(state);
        tracing::info!(
            filter = configured,
            "the log's filter is the configured one"
        );
        Ok(self.status())
    }

    fn return_by_itself(&self) {
        if let Err(error) = self.restore() {
            tracing::error!(%error, "the configured filter did not come back");
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; and if it did, what is in force would be no less true.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, state: &mut State, filter: EnvFilter, text: &str) -> Result<(), LevelError> {
        (self.install)(filter)?;
        text.clone_into(&mut state.filter);
        if let Some((_, returning)) = state.return_at.take() {
            returning.abort();
        }
        Ok(())
    }
}

/// Reads a filter. Stricter than `tracing`'s own reading, to which a misspelt level is a target that nothing has: it would turn
/// everything else off.
pub(super) fn parse(text: &str) -> Result<EnvFilter, LevelError> {
    let directives = || {
        let directives = text.split(',').map(str::trim);
        directives.filter(|directive| !directive.is_empty())
    };
    for directive in directives() {
        let level = directive
            .rsplit_once('=')
            .map_or(directive, |(_, level)| level);
        if level.parse::<LevelFilter>().is_err() {
            return Err(LevelError::NoLevel(directive.to_owned()));
        }
        if let Err(error) = directive.parse::<Directive>() {
            return Err(LevelError::Directive {
                directive: directive.to_owned(),
                reason: error.to_string(),
            });
        }
    }
    let tidy = directives().collect::<Vec<_>>().join(",");
    if tidy.is_empty() {
        return Err(LevelError::Empty);
    }
    EnvFilter::builder()
        .parse(&tidy)
        .map_err(|error| LevelError::Directive {
            directive: tidy,
            reason: error.to_string(),
        })
}

fn parse_options(options: &str) -> Result<Option<Duration>, LevelError> {
    let mut limit = None;
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let Some(value) = option.strip_prefix("for=") else {
            return Err(LevelError::UnknownOption(option.to_owned()));
        };
        let duration = parse_duration(value)
            .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
            .ok_or_else(|| LevelError::Duration(value.to_owned()))?;
        limit = Some(duration);
    }
    Ok(limit)
}

/// Whole seconds, the last begun one included.
fn rounded(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels() -> (Levels, Arc<Mutex<Vec<String>>>) {
        let installed = Arc::<Mutex<Vec<String>>>::default();
        let seen = installed.clone();
        let install = move |filter: EnvFilter| {
            seen.lock().unwrap().push(filter.to_string());
            Ok(())
        };
        (Levels::new("info,fred=warn".to_owned(), install), installed)
    }

    #[tokio::test]
    async fn a_filter_that_is_asked_for_a_while_goes_by_itself() {
        let (levels, installed) = levels();
        let status = levels.change(b"debug\n", Some("for=10m")).unwrap();
        assert_eq!(status.filter, "debug");
        let returns = status.returns_in_seconds.unwrap();
        assert!((540..=600).contains(&returns), "{returns}");
        let begun = Instant::now();
        levels.change(b"trace", Some("for=1s")).unwrap();
        while levels.status().filter != "info,fred=warn" {
            assert!(begun.elapsed() < Duration::from_secs(30), "it stays");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(990), "too early");
        let status = levels.status();
        assert_eq!(status.returns_in_seconds, None);
        assert_eq!(installed.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_later_change_stands() {
        let (levels, _) = levels();
        levels.change(b"debug", Some("for=1s")).unwrap();
        levels.change(b"warn,sqlx=trace", None).unwrap();
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(levels.status().filter, "warn,sqlx=trace");
        levels.change(b"debug", Some("for=10m")).unwrap();
        assert_eq!(levels.restore().unwrap().returns_in_seconds, None);
        assert_eq!(levels.status().filter, "info,fred=warn");
    }

    #[tokio::test]
    async fn what_is_wrong_is_named_and_changes_nothing() {
        let (levels, installed) = levels();
        let change = |filter: &[u8], options| levels.change(filter, options).unwrap_err();
        for misspelt in ["debgu", "info,confab_gateway", "sqlx=loud"] {
            let error = change(misspelt.as_bytes(), None);
            assert!(matches!(error, LevelError::NoLevel(_)), "{error}");
            let part = misspelt.rsplit(',').next().unwrap();
            assert!(error.to_string().contains(part), "{error}");
        }
        assert_eq!(change(b" , ", None), LevelError::Empty);
        assert_eq!(change(&[0xff], None), LevelError::NotText);
        assert_eq!(change(&[b'x'; 4_097], None), LevelError::NotText);
        assert!(matches!(
            change(b"a[b{=info", None),
            LevelError::Directive { .. }
        ));
        for time in ["", "soon", "0s", "8d"] {
            let options = format!("for={time}");
            let error = levels.change(b"info", Some(&options)).unwrap_err();
            assert_eq!(error, LevelError::Duration(time.to_owned()));
        }
        assert_eq!(
            change(b"info", Some("until=noon")),
            LevelError::UnknownOption("until=noon".to_owned())
        );
        assert_eq!(levels.status().filter, "info,fred=warn");
        assert!(installed.lock().unwrap().is_empty());
    }

    #[test]
    fn a_second_that_has_begun_is_said_to_be_left() {
        for (millis, seconds) in [(0, 0), (1, 1), (500, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(rounded(Duration::from_millis(millis)), seconds);
        }
    }

    #[test]
    fn filters_of_every_form_are_read() {
        for filter in [
            "info",
            "INFO,fred=warn",
            "off",
            "confab_gateway::chat=trace",
            "warn,[session{user=7}]=debug",
        ] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
    }
}
