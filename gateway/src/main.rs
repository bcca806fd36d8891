//! `confab-gateway`: settings, then a gateway until it is told to drain.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use confab_gateway::config::GatewayConfig;
use confab_gateway::{http::listen, serve};
use confab_shared::config::ConfigError;
use confab_shared::lifecycle::{EX_CONFIG, InheritedSockets, Shutdown};
use confab_shared::telemetry;
use tikv_jemallocator::Jemalloc;

/// Gives memory back to the system after a crowd has left (ARCHITECTURE.md, "Memory").
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Confab's gateway.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
enum Action {
    /// Serve clients until told to stop (the default).
    Run,
    /// Read the settings, name those that are not the gateway's, and leave.
    Check,
}

fn main() -> ExitCode {
    match run(Arguments::parse().action.unwrap_or(Action::Run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not have begun, so plainly.
            #[expect(
                clippy::print_stderr,
                reason = "why a program did not start belongs on its standard error"
            )]
            {
                eprintln!("confab-gateway: {error:#}");
            }
            match error.downcast_ref::<ConfigError>() {
                Some(_) => ExitCode::from(EX_CONFIG),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run(action: Action) -> anyhow::Result<()> {
    let loaded = GatewayConfig::load()?;
    if action == Action::Check {
        return Ok(loaded.tell_unknown(&mut std::io::stdout())?);
    }
    // Before anything may have begun another thread: it takes the variables away that name them.
    let inherited = InheritedSockets::from_environment(&listen::NAMES)?;
    telemetry::init(&loaded.config.log);
    for key in &loaded.unknown {
        tracing::debug!(key, "not a setting of the gateway");
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("runtime")?
        .block_on(async {
            let shutdown = Shutdown::on_signals().context("signals")?;
            serve::run(loaded.config, inherited, shutdown).await
        })
}
