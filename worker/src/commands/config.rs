//! `config`: the settings that are in force, and whether a worker would start with them.

use std::io::Write;

use anyhow::ensure;
use confab_shared::config::Loaded;

use crate::config::Config;

/// How to look.
#[derive(Debug, clap::Args)]
pub struct Look {
    /// Fail if something is set that is no setting of the worker's
    #[arg(long)]
    strict: bool,
}

/// Prints the settings as TOML, secrets hidden, and then says what is wrong with them.
pub fn run(loaded: &Loaded<Config>, look: &Look, out: &mut impl Write) -> anyhow::Result<()> {
    write!(out, "{}", loaded.settings)?;
    for name in &loaded.unknown {
        writeln!(out, "# not a setting of the worker: {name}")?;
    }
    let unknown = loaded.unknown.join(", ");
    ensure!(
        !look.strict || unknown.is_empty(),
        "not settings of the worker: {unknown}"
    );
    Ok(())
}
