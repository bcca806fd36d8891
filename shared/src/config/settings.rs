//! The settings that are in force, as an operator reads them: what the layers came to, secrets left out.
//!
//! Must never show a password, wherever it was written: under a key that is a secret's, or inside a URL.

use std::collections::BTreeSet;
use std::fmt;

use figment::value::{Dict, Value};

/// What stands where a secret would.
const HIDDEN: &str = "(hidden)";

/// A program's settings as a TOML document: every key that it knows, each section under its name. Those that something other than
/// the defaults file says are marked.
#[derive(Debug, Clone)]
pub struct Settings {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    section: String,
    key: String,
    value: String,
    given: bool,
}

impl Settings {
    /// What `merged` has under the keys that are `known`; those in `given` were said by somebody.
    pub(super) fn new(merged: &Dict, known: &BTreeSet<String>, given: &BTreeSet<String>) -> Self {
        let lines = known.iter().filter_map(|path| {
            let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
            let value = find(merged, path)?;
            Some(Line {
                section: section.to_owned(),
                key: key.to_owned(),
                value: toml(&without_secret(key, value)),
                given: given.contains(path),
            })
        });
        let mut lines: Vec<_> = lines.collect();
        // Keys of no section come first: below a section's head they would be its own.
        lines.sort_by(|a, b| (&a.section, &a.key).cmp(&(&b.section, &b.key)));
        Self { lines }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for line in &self.lines {
            if line.section != section {
                section = &line.section;
                writeln!(f, "\n[{section}]")?;
            }
            let mark = if line.given { "  # given" } else { "" };
            writeln!(f, "{} = {}{mark}", line.key, line.value)?;
        }
        Ok(())
    }
}

fn find<'a>(dict: &'a Dict, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => dict.get(path),
        Some((section, rest)) => find(dict.get(section)?.as_dict()?, rest),
    }
}

/// JSON's notation of numbers, booleans, lists and strings is TOML's, too.
fn toml(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| format!("{HIDDEN:?}"))
}

fn without_secret(key: &str, value: &Value) -> Value {
    let is_secret = ["secret", "password"]
        .iter()
        .any(|secret| key.ends_with(secret));
    match value.as_str() {
        Some("") => value.clone(),
        _ if is_secret => Value::from(HIDDEN),
        Some(text) if text.contains("://") => Value::from(without_credentials(text)),
        _ => value.clone(),
    }
}

/// A URL without whatever may be a password. It is not parsed, since one that is wrong holds a password all the same: everything up to
/// the last `@` goes, and so does what follows the name of a secret among the parameters.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let place = match rest.rsplit_once('@') {
        Some((_, place)) => format!("{HIDDEN}@{place}"),
        None => rest.to_owned(),
    };
    let (address, parameters) = match place.split_once('?') {
        Some((address, parameters)) => (address, Some(parameters)),
        None => (&*place, None),
    };
    let mut shown = format!("{scheme}://{address}");
    for (index, parameter) in parameters.iter().flat_map(|all| all.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("password") => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(HIDDEN);
            }
            _ => shown.push_str(parameter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(merged: &Dict, given: &[&str]) -> String {
        let names = ["environment", "auth.jwt_secret", "http.port", "redis.url"];
        let known = names.map(str::to_owned).into();
        let given = given.iter().copied().map(str::to_owned).collect();
        Settings::new(merged, &known, &given).to_string()
    }

    fn dict(pairs: &[(&str, Value)]) -> Dict {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect()
    }

    #[test]
    fn sections_are_toml_and_what_was_given_is_marked() {
        let merged = dict(&[
            ("environment", "production".into()),
            ("auth", dict(&[("jwt_secret", "".into())]).into()),
            (
                "http",
                dict(&[("port", 3_000.into()), ("prot", 1.into())]).into(),
            ),
            ("redis", dict(&[("url", "redis://cache".into())]).into()),
        ]);
        assert_eq!(
            settings(&merged, &["http.port"]),
            "environment = \"production\"\n\n[auth]\njwt_secret = \"\"\n\n[http]\nport = 3000  # given\n\n[redis]\nurl = \"redis://cache\"\n"
        );
    }

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("redis://cache:6379", "redis://cache:6379"),
            ("redis://:pass@cache:6379", "redis://(hidden)@cache:6379"),
            (
                "postgres://confab:p/a@ss@db/confab?sslmode=require",
                "postgres://(hidden)@db/confab?sslmode=require",
            ),
            (
                "postgres://db/confab?user=a&sslpassword=b&password=c",
                "postgres://db/confab?user=a&sslpassword=(hidden)&password=(hidden)",
            ),
            ("redis://:a@one,redis://:b@two", "redis://(hidden)@two"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
        for key in ["jwt_secret", "password", "sentinel_password"] {
            assert_eq!(
                without_secret(key, &"pass".into()).as_str(),
                Some(HIDDEN),
                "{key}"
            );
        }
    }
}
