//! Configuration: a commented defaults file per program, compiled in, under an optional file, under the environment.
//!
//! Three layers, the later over the earlier: the program's defaults; a TOML file named by `CONFAB_CONFIG`; environment variables.
//! `CONFAB_SECTION__KEY` sets `key` in `[section]`. Beside those, the names that the replaced backends used are honoured as they
//! are (`PORT`, `DATABASE_URL`, `JWT_SECRET`…). A bad value fails at start and names its key; an unknown key is reported.
//! A secret may also be [named by its file](secrets).

mod secrets;
mod settings;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::time::Duration;

use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Provider};
use serde::de::DeserializeOwned;

pub use self::settings::Settings;

/// Why a program did not start: a setting is missing or bad. The message names its key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that does not fit its key.
    #[error("configuration: {0}")]
    Figment(#[from] Box<figment::Error>),
    /// A value that fits in form but not in meaning.
    #[error("configuration: {key}: {reason}")]
    Invalid {
        /// Which setting, as `section.key`.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that cannot be used as it is now. Files are replaced under way: a key may be there before its certificate is.
    #[error("configuration: {key}: {reason}")]
    File {
        /// Which setting names it, as `section.key`.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    /// A value that fits in form but not in meaning.
    pub fn invalid(key: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            key,
            reason: reason.into(),
        }
    }

    /// Whether it will be the same the next time, unless somebody changes the settings.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Figment(_) | Self::Invalid { .. } => true,
            Self::File { .. } => false,
        }
    }
}

/// A program's settings and the names of those that it does not know.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The settings.
    pub config: T,
    /// Keys given in the environment or the file that no setting has: typing mistakes, or settings of the other program. Variables
    /// that begin as ours do and name no key are here as they are.
    pub unknown: Vec<String>,
    /// The same as `config`, to be read by people.
    pub settings: Settings,
}

/// Reads a program's configuration from its defaults file, the file named by `CONFAB_CONFIG` and the environment.
pub fn load<T: DeserializeOwned>(defaults: &str) -> Result<Loaded<T>, ConfigError> {
    let defaults = Figment::from(Toml::string(defaults));
    let mut given = Figment::new();
    if let Some(file) = env::var_os("CONFAB_CONFIG") {
        given = given.merge(Toml::file_exact(file));
    }
    for (key, value) in source_names(|name| env::var(name).ok().filter(|value| !value.is_empty())) {
        given = given.merge(Serialized::default(key, value));
    }
    given = given
        .merge(
            Env::prefixed("CONFAB_")
                .filter(|key| key.as_str().contains("__"))
                .split("__"),
        )
        .merge(Env::prefixed("CONFAB_").only(&["environment"]));
    let known = keys(&defaults);
    let said = keys(&given);
    let merged = defaults.clone().merge(given);
    let figment = secrets::resolve(merged, &defaults, |name| env::var(name).ok())?;
    let merged: Dict = figment.extract().map_err(Box::new)?;
    let unknown = said.difference(&known).cloned();
    Ok(Loaded {
        config: figment.extract().map_err(Box::new)?,
        unknown: unknown.chain(env::vars_os().filter_map(stray)).collect(),
        settings: Settings::new(&merged, &known, &said),
    })
}

/// A variable that begins as ours do, and is read by nobody: most likely `CONFAB_HTTP_PORT`, with one underscore too few.
fn stray((name, _): (OsString, OsString)) -> Option<String> {
    let name = name.into_string().ok()?;
    let key = name.strip_prefix("CONFAB_")?;
    let is_read = key.contains("__") || ["CONFIG", "ENVIRONMENT"].contains(&key);
    (!is_read).then_some(name)
}

/// The environment names of the replaced backends, as our keys. What they do not set stays as it is.
fn source_names(get: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, Value)> {
    let mut found: Vec<(&'static str, Value)> = Vec::new();
    let mut put = |key, value: String| found.push((key, Value::from(value)));
    // It makes a deployment stricter, never laxer: whatever else reads that name must not open what a file keeps shut.
    if get("NODE_ENV").is_some_and(|name| name == "production") {
        put("environment", "production".to_owned());
    }
    // Parts make a URL unless there is a whole one, in the environment or in a file.
    let whole = |name: &str, file: &str, parts: Option<String>| {
        get(name).or_else(|| parts.filter(|_| get(file).is_none()))
    };
    if let Some(url) = whole("DATABASE_URL", "DATABASE_URL_FILE", postgres_url(&get)) {
        put("database.url", url);
    }
    if let Some(url) = whole("REDIS_URL", "REDIS_URL_FILE", redis_url(&get)) {
        put("redis.url", url);
    }
    for (name, key) in [
        ("DATABASE_URL_FILE", "database.url_file"),
        ("POSTGRES_PASSWORD_FILE", "database.password_file"),
        ("REDIS_URL_FILE", "redis.url_file"),
        ("REDIS_PASSWORD_FILE", "redis.password_file"),
        ("JWT_SECRET_FILE", "auth.jwt_secret_file"),
        ("JWT_SECRET", "auth.jwt_secret"),
        ("JWT_EXPIRES_IN", "auth.jwt_expires_in"),
        ("CORS_ORIGIN", "http.cors_origin"),
        // OpenTelemetry's own names; what is said of traces alone goes before what is said of everything.
        ("OTEL_SERVICE_NAME", "traces.service_name"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "traces.endpoint"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "traces.endpoint"),
    ] {
        if let Some(value) = get(name) {
            put(key, value);
        }
    }
    if get("CORS_ORIGIN").is_none()
        && let Some(value) = get("FRONTEND_URL")
    {
        put("http.cors_origin", value);
    }
    for (name, key) in [
        ("PORT", "http.port"),
        ("THROTTLE_TTL", "rate_limits.rest_window_seconds"),
        ("THROTTLE_LIMIT", "rate_limits.rest_requests"),
    ] {
        if let Some(value) = get(name) {
            let number = value
                .parse::<i64>()
                .map_or_else(|_| Value::from(value), Value::from);
            found.push((key, number));
        }
    }
    found
}

fn postgres_url(get: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let password = match get("POSTGRES_PASSWORD") {
        Some(password) => format!(":{}", percent(&password)),
        // The password comes from there.
        None => get("POSTGRES_PASSWORD_FILE").map(|_| String::new())?,
    };
    let user = get("POSTGRES_USER").unwrap_or_else(|| "postgres".into());
    let host = get("POSTGRES_HOST").unwrap_or_else(|| "localhost".into());
    let port = get("POSTGRES_PORT").unwrap_or_else(|| "5432".into());
    let database = get("POSTGRES_DB").unwrap_or_else(|| "confab".into());
    Some(format!(
        "postgres://{}{password}@{host}:{port}/{database}",
        percent(&user)
    ))
}

fn redis_url(get: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let host = get("REDIS_HOST")?;
    let port = get("REDIS_PORT").unwrap_or_else(|| "6379".into());
    let credentials = get("REDIS_PASSWORD")
        .map(|password| format!(":{}@", percent(&password)))
        .unwrap_or_default();
    Some(format!("redis://{credentials}{host}:{port}"))
}

/// Percent-encodes what may not stand in a URL's credentials (RFC 3986, 3.2.1).
fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                encoded.extend(
                    char::from_digit(digit.into(), 16).map(|digit| digit.to_ascii_uppercase()),
                );
            }
        }
    }
    encoded
}

/// Every key that a figment has, dotted.
fn keys(figment: &Figment) -> BTreeSet<String> {
    fn walk(prefix: &str, dict: &Dict, into: &mut BTreeSet<String>) {
        for (key, value) in dict {
            let path = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            match value {
                Value::Dict(_, inner) => walk(&path, inner, into),
                _ => {
                    into.insert(path);
                }
            }
        }
    }
    let mut into = BTreeSet::new();
    if let Ok(data) = figment.data() {
        for dict in data.values() {
            walk("", dict, &mut into);
        }
    }
    into
}

/// Where a deployment stands: what is convenient while developing is refused in production.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// On somebody's own machine.
    Development,
    /// Under automated tests.
    Test,
    /// Where it matters.
    Production,
}

/// Reads a duration as the replaced backends write it: `7d`, `12h`, `60m`, `30s`, or a plain number of seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    let number: u64 = digits.trim().parse().ok()?;
    number.checked_mul(factor).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_replaced_backends_write_them() {
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse_duration("60m"), Some(Duration::from_secs(3_600)));
        assert_eq!(parse_duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("soon"), None);
        assert_eq!(parse_duration("99999999999999999999d"), None);
    }

    #[test]
    fn a_variable_of_ours_that_names_no_key_is_noticed() {
        let found = |name: &str| stray((name.into(), "1".into()));
        assert_eq!(
            found("CONFAB_HTTP_PORT").as_deref(),
            Some("CONFAB_HTTP_PORT")
        );
        for read in [
            "CONFAB_HTTP__PORT",
            "CONFAB_CONFIG",
            "CONFAB_ENVIRONMENT",
            "HOME",
        ] {
            assert_eq!(found(read), None, "{read}");
        }
    }

    #[test]
    fn only_production_is_taken_from_node() {
        let environment = |given: &'static str| {
            source_names(|name| (name == "NODE_ENV").then(|| given.to_owned()))
                .into_iter()
                .find_map(|(key, value)| (key == "environment").then(|| value.into_string()))
                .flatten()
        };
        assert_eq!(environment("production").as_deref(), Some("production"));
        for laxer in ["development", "test", "staging", ""] {
            assert_eq!(environment(laxer), None, "{laxer}");
        }
    }

    #[test]
    fn a_database_is_named_whole_or_in_parts() {
        let parts = |name: &str| match name {
            "POSTGRES_PASSWORD" => Some("p@ss".to_owned()),
            "POSTGRES_DB" => Some("chat_app".to_owned()),
            "POSTGRES_PORT" => Some("5433".to_owned()),
            "REDIS_HOST" => Some("cache".to_owned()),
            "PORT" => Some("3001".to_owned()),
            _ => None,
        };
        let found = source_names(parts);
        let get = |key: &str| {
            found
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.clone())
        };
        assert_eq!(
            get("database.url").and_then(Value::into_string).as_deref(),
            Some("postgres://postgres:p%40ss@localhost:5433/chat_app")
        );
        assert_eq!(
            get("redis.url").and_then(Value::into_string).as_deref(),
            Some("redis://cache:6379")
        );
        assert_eq!(
            get("http.port").and_then(|value| value.to_i128()),
            Some(3_001)
        );
    }

    #[test]
    fn a_password_may_be_in_a_file_and_a_url_too() {
        let found = |given: &[(&str, &str)]| -> Vec<_> {
            let get = |name: &str| {
                let found = given.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            source_names(get)
                .into_iter()
                .filter_map(|(key, value)| Some((key, value.into_string()?)))
                .collect()
        };
        let file = ("POSTGRES_PASSWORD_FILE", "/run/secrets/password");
        assert_eq!(
            found(&[("POSTGRES_HOST", "db"), file]),
            [
                ("database.url", "postgres://postgres@db:5432/confab".into()),
                ("database.password_file", "/run/secrets/password".into()),
            ]
        );
        assert_eq!(
            found(&[
                ("POSTGRES_PASSWORD", "p"),
                ("DATABASE_URL_FILE", "/run/secrets/url")
            ]),
            [("database.url_file", "/run/secrets/url".into())]
        );
    }
}
