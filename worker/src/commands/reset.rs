//! `reset`: everything gone, the schema made anew. Asks first.

use std::io::{BufRead, Write};

use anyhow::Context as _;
use clap::Args;
use confab_shared::config::Environment;
use confab_shared::postgres::schema;
use sqlx::PgPool;

use super::migrate;

/// How sure whoever calls is.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Assurance {
    /// Do not ask for the database's name.
    #[arg(long)]
    pub yes: bool,
    /// Allow it where environment is production.
    #[arg(long)]
    pub i_know_this_is_production: bool,
}

/// Why nothing was reset.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Production, and nobody said that this is meant.
    #[error(
        "reset destroys every account and message and is refused where environment is production; \
         --i-know-this-is-production allows it"
    )]
    Production,
    /// Nobody is there to be asked.
    #[error("reset destroys everything in database {0:?}; run it on a terminal, or with --yes")]
    NobodyToAsk(String),
    /// What was typed is not the database's name.
    #[error("that is not the database's name; nothing was changed")]
    NotConfirmed,
    /// The question could not be asked or the answer not be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Whether a database may be reset. `terminal` is where to ask, if there is somebody.
pub fn permit(
    environment: Environment,
    assurance: Assurance,
    database: &str,
    terminal: Option<(&mut dyn BufRead, &mut dyn Write)>,
) -> Result<(), Refusal> {
    if environment == Environment::Production && !assurance.i_know_this_is_production {
        return Err(Refusal::Production);
    }
    if assurance.yes {
        return Ok(());
    }
    let Some((input, output)) = terminal else {
        return Err(Refusal::NobodyToAsk(database.to_owned()));
    };
    writeln!(
        output,
        "This destroys every account and message in the database {database}."
    )?;
    write!(output, "Type its name to go on: ")?;
    output.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    if answer.trim() == database {
        Ok(())
    } else {
        Err(Refusal::NotConfirmed)
    }
}

/// Takes everything away and brings the schema up to date again. Must have been permitted.
pub async fn run(pool: &PgPool, partitions: u16, out: &mut impl Write) -> anyhow::Result<()> {
    let others = schema::others_connected(pool).await?;
    if !others.is_empty() {
        anyhow::bail!(
            "{} still runs on this database; stop it first",
            others.join(" and ")
        );
    }
    schema::drop_all(pool)
        .await
        .context("cannot take the schema away")?;
    writeln!(out, "everything is gone")?;
    migrate::run(pool, partitions, out).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(environment: Environment, assurance: Assurance, answer: &str) -> Result<(), Refusal> {
        let mut asked = Vec::new();
        permit(
            environment,
            assurance,
            "confab",
            Some((&mut answer.as_bytes(), &mut asked)),
        )
    }

    #[test]
    fn production_is_refused_whatever_else_is_said() {
        let yes = Assurance {
            yes: true,
            ..Assurance::default()
        };
        for assurance in [Assurance::default(), yes] {
            let refused = asked(Environment::Production, assurance, "confab\n");
            assert!(matches!(refused, Err(Refusal::Production)));
        }
        let sure = Assurance {
            i_know_this_is_production: true,
            ..Assurance::default()
        };
        let refused = asked(Environment::Production, sure, "\n");
        assert!(matches!(refused, Err(Refusal::NotConfirmed)), "still asked");
        assert!(asked(Environment::Production, sure, "confab\n").is_ok());
    }

    #[test]
    fn the_name_has_to_be_typed() {
        for wrong in ["", "\n", "y\n", "yes\n", "confab2\n", "CONFAB\n"] {
            let refused = asked(Environment::Development, Assurance::default(), wrong);
            assert!(matches!(refused, Err(Refusal::NotConfirmed)), "{wrong:?}");
        }
        assert!(asked(Environment::Development, Assurance::default(), "confab\n").is_ok());
    }

    #[test]
    fn where_nobody_can_be_asked_it_takes_a_flag() {
        let refused = permit(
            Environment::Development,
            Assurance::default(),
            "confab",
            None,
        );
        assert!(matches!(refused, Err(Refusal::NobodyToAsk(name)) if name == "confab"));
        let yes = Assurance {
            yes: true,
            ..Assurance::default()
        };
        assert!(permit(Environment::Test, yes, "confab", None).is_ok());
    }
}
