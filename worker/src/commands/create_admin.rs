//! `create-admin`: the first admin, and any other. No request can make one.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use confab_shared::auth::hash_password;
use confab_shared::model::account::AccountRole;
use confab_shared::model::content::{parse_email, parse_name, parse_username};
use confab_shared::postgres::admins;
use confab_shared::postgres::users::{Account, NewUser};
use sqlx::PgPool;

/// The shortest and the longest password, in characters.
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
/// More than any password has, in bytes.
const MAX_LINE: u64 = 4_096;

/// Who is to be an admin.
#[derive(Debug, Clone, Args)]
pub struct Admin {
    /// The e-mail address to log in with.
    #[arg(long)]
    pub email: String,
    /// The unique handle.
    #[arg(long, required_unless_present = "promote")]
    pub username: Option<String>,
    /// The name to display; the handle, unless given.
    #[arg(long)]
    pub name: Option<String>,
    /// Read the password from the first line of standard input without asking.
    #[arg(long)]
    pub password_stdin: bool,
    /// Make an admin of the account that has this address already.
    #[arg(long, conflicts_with_all = ["username", "name", "password_stdin"])]
    pub promote: bool,
}

/// Makes or promotes an admin. `password` is asked for only where it is needed.
pub async fn run(
    pool: &PgPool,
    admin: &Admin,
    password: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<Account> {
    let email =
        parse_email(&admin.email).map_err(|rejection| anyhow::anyhow!(rejection.message))?;
    if admin.promote {
        return admins::promote(pool, &email)
            .await?
            .with_context(|| format!("no account has the address {email}"));
    }
    let username = admin.username.as_deref().context("--username is missing")?;
    let username =
        parse_username(username).map_err(|rejection| anyhow::anyhow!(rejection.message))?;
    let name = admin.name.as_deref().unwrap_or(&username);
    let name = parse_name("name", name).map_err(|rejection| anyhow::anyhow!(rejection.message))?;
    let password = password()?;
    ensure!(
        PASSWORD_CHARS.contains(&password.chars().count()),
        "a password has {} to {} characters",
        PASSWORD_CHARS.start(),
        PASSWORD_CHARS.end()
    );
    // One password in the life of this process: nothing else waits for this thread.
    let password_hash = hash_password(&password).context("cannot hash the password")?;
    let user = NewUser {
        email,
        username,
        name,
        avatar: None,
        password_hash,
    };
    let account = admins::create(pool, user)
        .await
        .context("cannot make the account (--promote makes an admin of one that exists)")?;
    debug_assert_eq!(account.role, AccountRole::Admin);
    Ok(account)
}

/// Asks for a password twice without showing it, if somebody is there; else reads it from standard input.
pub fn ask_password(from_stdin: bool) -> anyhow::Result<String> {
    let input = std::io::stdin();
    if from_stdin || !input.is_terminal() {
        return first_line(input.lock());
    }
    let first = rpassword::prompt_password("Password: ").context("cannot read the password")?;
    let second = rpassword::prompt_password("Once more: ").context("cannot read the password")?;
    if first != second {
        bail!("the two passwords differ");
    }
    Ok(first)
}

fn first_line(input: impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    input
        .take(MAX_LINE)
        .read_line(&mut line)
        .context("cannot read the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_as_it_is() {
        for (input, password) in [
            ("secret words \nmore", "secret words "),
            ("windows\r\n", "windows"),
            ("no end", "no end"),
            ("", ""),
        ] {
            assert_eq!(first_line(input.as_bytes()).unwrap(), password);
        }
    }
}
