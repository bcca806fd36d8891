//! `confab-gateway`: settings, then a gateway until it is told to drain.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use confab_gateway::commands::{config, healthcheck};
use confab_gateway::config::GatewayConfig;
use confab_gateway::http::listen;
use confab_gateway::{descriptors, serve};
use confab_shared::config::{ConfigError, Loaded};
use confab_shared::lifecycle::{EX_CONFIG, InheritedError, InheritedSockets, Shutdown};
use confab_shared::telemetry;
use tikv_jemallocator::Jemalloc;

/// Gives memory back to the system after a crowd has left (ARCHITECTURE.md, "Memory").
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How long what blocks may go on when everything else has ended: a name that is looked up while DNS is away takes many seconds, and nobody
/// needs it any more.
const LAST_BLOCKING: Duration = Duration::from_secs(1);
/// What this was built from, if whoever built it said so.
const COMMIT: Option<&str> = option_env!("CONFAB_COMMIT");

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
            if would_be_the_same(&error) {
                ExitCode::from(EX_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Whether starting again changes nothing: the settings are wrong, or those of whoever started us.
fn would_be_the_same(error: &anyhow::Error) -> bool {
    let settings = error.downcast_ref::<ConfigError>();
    settings.is_some_and(ConfigError::is_lasting) || error.is::<InheritedError>()
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    let ended = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().context("signals")?;
        serve::run(loaded.config, inherited, shutdown, levels, COMMIT).await
    });
    runtime.shutdown_timeout(LAST_BLOCKING);
    ended
}
