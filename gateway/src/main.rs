//! `confab-gateway`: settings, then a gateway until it is told to drain.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use confab_gateway::commands::{config, healthcheck};
use confab_gateway::config::GatewayConfig;
use confab_gateway::http::listen;
use confab_gateway::{descriptors, serve};
use confab_shared::config::{ConfigError, Loaded};
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

#[derive(Debug, Subcommand)]
enum Action {
    /// Serve clients until told to drain (the default).
    Run,
    /// Show the settings that are in force, secrets hidden.
    Config(config::Look),
    /// Ask the gateway that runs here how it is; exits with 1 unless it is well.
    Healthcheck(healthcheck::Question),
}

fn main() -> ExitCode {
    match start(Arguments::parse()) {
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

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let loaded = GatewayConfig::load()?;
    match arguments.action.unwrap_or(Action::Run) {
        Action::Run => run(loaded),
        Action::Config(look) => config::run(&loaded, &look, &mut std::io::stdout()),
        Action::Healthcheck(question) => {
            healthcheck::run(&loaded.config.http.internal_listen, &question)
        }
    }
}

fn run(loaded: Loaded<GatewayConfig>) -> anyhow::Result<()> {
    // Before anything may have begun another thread: it takes the variables away that name them.
    let inherited = InheritedSockets::from_environment(&listen::NAMES)?;
    let levels = telemetry::init(&loaded.config.log)?;
    for key in &loaded.unknown {
        tracing::debug!(key, "not a setting of the gateway");
    }
    descriptors::raise(loaded.config.http.max_connections);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("runtime")?
        .block_on(async {
            let shutdown = Shutdown::on_signals().context("signals")?;
            serve::run(loaded.config, inherited, shutdown, levels).await
        })
}
