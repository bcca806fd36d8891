//! Secrets: a value, or the name of the file that has it, as Kubernetes, systemd (`LoadCredential=`) and Docker hand them over.
//!
//! `key_file` names the file of `key`. Of the two only one may be given. A line end after the secret is not part of it. Nothing in here
//! may ever say what a secret is, only which one is wrong.

use std::fs::File;
use std::io::Read;

use figment::Figment;
use figment::providers::Serialized;
use figment::value::Value;

use super::ConfigError;

/// The keys of secrets, each with that of its file. URLs are among them: they may have a password inside.
const SECRETS: [(&str, &str); 6] = [
    ("auth.jwt_secret", "auth.jwt_secret_file"),
    ("database.url", "database.url_file"),
    ("database.password", "database.password_file"),
    ("redis.url", "redis.url_file"),
    ("redis.password", "redis.password_file"),
    ("redis.sentinel_password", "redis.sentinel_password_file"),
];

/// Longer than any secret. Who names a device or a log by mistake shall not have it read to its end.
const LONGEST: u64 = 64 * 1024;

/// Puts in the secrets of a program that has these `defaults`. `get` reads the environment.
pub(super) fn resolve(
    mut figment: Figment,
    defaults: &Figment,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Figment, ConfigError> {
    for (key, file_key) in SECRETS {
        // Only one of the programs signs tokens.
        let Ok(default) = defaults.find_value(key) else {
            continue;
        };
        // Elsewhere 123456 in the environment is a number, and `true` is not a string either. Here they are passwords.
        if let Some(value) = get(&variable(key)) {
            figment = figment.merge(Serialized::default(key, value));
        }
        let file = match figment.find_value(file_key) {
            Ok(Value::String(_, path)) => path,
            Err(_) => String::new(),
            Ok(_) => {
                return Err(ConfigError::invalid(
                    file_key,
                    "expected the path of a file",
                ));
            }
        };
        if !file.is_empty() {
            if text(figment.find_value(key).ok()) != text(Some(default)) {
                return Err(ConfigError::invalid(
                    file_key,
                    format!("{key} is given, too; give one of them"),
                ));
            }
            figment = figment.merge(Serialized::default(key, read(file_key, &file)?));
        }
        // The error that reading the settings would end with quotes the value.
        if matches!(figment.find_value(key), Ok(value) if !matches!(value, Value::String(..))) {
            return Err(ConfigError::invalid(
                key,
                "expected a string, that is, in quotes",
            ));
        }
    }
    Ok(figment)
}

/// `CONFAB_SECTION__KEY`.
fn variable(key: &str) -> String {
    format!("CONFAB_{}", key.replace('.', "__").to_uppercase())
}

fn text(value: Option<Value>) -> Option<String> {
    value.and_then(Value::into_string)
}

fn read(key: &'static str, path: &str) -> Result<String, ConfigError> {
    let failed = |error: std::io::Error| ConfigError::invalid(key, format!("{path}: {error}"));
    let file = File::open(path).map_err(failed)?;
    let mut secret = String::new();
    file.take(LONGEST + 1)
        .read_to_string(&mut secret)
        .map_err(failed)?;
    if secret.len() as u64 > LONGEST {
        return Err(ConfigError::invalid(
            key,
            format!("{path}: too long for a secret"),
        ));
    }
    let kept = secret.strip_suffix('\n').unwrap_or(&secret);
    let kept = kept.strip_suffix('\r').unwrap_or(kept);
    if kept.is_empty() {
        return Err(ConfigError::invalid(key, format!("{path}: it is empty")));
    }
    Ok(kept.to_owned())
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format, Toml};

    use super::*;

    const DEFAULTS: &str = "[redis]\nurl = \"redis://127.0.0.1\"\nurl_file = \"\"\npassword = \"\"\npassword_file = \"\"\n";

    fn resolved(given: &str, get: impl Fn(&str) -> Option<String>) -> Result<Figment, ConfigError> {
        let defaults = Figment::from(Toml::string(DEFAULTS));
        resolve(defaults.clone().merge(Toml::string(given)), &defaults, get)
    }

    fn path(name: &str, content: &[u8]) -> String {
        let path = std::env::temp_dir().join(format!("confab-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_file_has_the_secret_without_its_line_end() {
        for (number, (content, secret)) in [
            (&b"s3cret\n"[..], "s3cret"),
            (b"s3cret", "s3cret"),
            (b" s3cret \r\n", " s3cret "),
            (b"two\nlines\n\n", "two\nlines\n"),
        ]
        .into_iter()
        .enumerate()
        {
            let file = path(&format!("secret-{number}"), content);
            let given = format!("[redis]\npassword_file = {file:?}");
            let figment = resolved(&given, |_| None).unwrap();
            let found: String = figment.extract_inner("redis.password").unwrap();
            assert_eq!(found, secret);
            std::fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn the_environment_has_passwords_and_no_numbers() {
        for password in ["123456", "true", "[x", "\"quoted\""] {
            let figment = resolved("", |name| {
                (name == "CONFAB_REDIS__PASSWORD").then(|| password.to_owned())
            });
            let found: String = figment.unwrap().extract_inner("redis.password").unwrap();
            assert_eq!(found, password);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_never_quoted() {
        let (empty, good) = (path("empty", b"\n"), path("good", b"s3cret"));
        let long = path("long", &vec![b's'; 65 * 1024]);
        let binary = path("binary", b"s3cret\xff");
        for (given, key) in [
            (
                format!("[redis]\npassword_file = {empty:?}"),
                "redis.password_file",
            ),
            (
                format!("[redis]\npassword_file = {long:?}"),
                "redis.password_file",
            ),
            (
                format!("[redis]\npassword_file = {binary:?}"),
                "redis.password_file",
            ),
            (
                "[redis]\npassword_file = \"/nowhere/s\"".into(),
                "redis.password_file",
            ),
            ("[redis]\npassword_file = 7".into(), "redis.password_file"),
            (
                format!("[redis]\npassword_file = {good:?}\npassword = \"s3cret\""),
                "redis.password_file",
            ),
            (
                format!("[redis]\nurl_file = {good:?}\nurl = \"redis://:s3cret@there\""),
                "redis.url_file",
            ),
            ("[redis]\npassword = 90125".into(), "redis.password"),
        ] {
            let refused = resolved(&given, |_| None).unwrap_err().to_string();
            assert!(refused.contains(&format!("{key}:")), "{given}: {refused}");
            assert!(
                !refused.contains("s3cret") && !refused.contains("90125"),
                "{refused}"
            );
        }
        // A default is not somebody's wish.
        let given = format!("[redis]\nurl_file = {good:?}");
        let figment = resolved(&given, |_| None).unwrap();
        assert_eq!(
            figment.extract_inner::<String>("redis.url").unwrap(),
            "s3cret"
        );
        for file in [empty, good, long, binary] {
            std::fs::remove_file(file).unwrap();
        }
    }
}
