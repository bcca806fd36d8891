//! `config`: the settings that are in force, and whether a gateway would start with them.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::ensure;
use confab_shared::config::Loaded;

use crate::config::GatewayConfig;

/// How to look.
#[derive(Debug, clap::Args)]
pub struct Look {
    /// Fail if something is set that is no setting of the gateway's
    #[arg(long)]
    strict: bool,
}

/// Prints the settings as TOML, secrets hidden, and then says what is wrong with them.
pub fn run(
    loaded: &Loaded<GatewayConfig>,
    look: &Look,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    write!(out, "{}", loaded.settings)?;
    for name in &loaded.unknown {
        writeln!(out, "# not a setting of the gateway: {name}")?;
    }
    let config = &loaded.config;
    config.auth.tokens(config.environment)?;
    // A host's name becomes an address where it listens; an address can be looked at here.
    if let Ok(listening) = config.http.internal_listen.parse::<SocketAddr>() {
        config.cluster.address(listening)?;
    }
    let unknown = loaded.unknown.join(", ");
    ensure!(
        !look.strict || unknown.is_empty(),
        "not settings of the gateway: {unknown}"
    );
    Ok(())
}
