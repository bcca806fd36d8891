//! `confab-gateway`: settings, then a gateway until it is told to drain.

use std::process::ExitCode;

use anyhow::Context;
use confab_gateway::config::GatewayConfig;
use confab_gateway::serve;
use confab_shared::lifecycle::Shutdown;
use confab_shared::telemetry;
use tikv_jemallocator::Jemalloc;

/// Gives memory back to the system after a crowd has left (ARCHITECTURE.md, "Memory").
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match run() {
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
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let loaded = GatewayConfig::load()?;
    let levels = telemetry::init(&loaded.config.log)?;
    for key in &loaded.unknown {
        tracing::debug!(key, "not a setting of the gateway");
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("runtime")?
        .block_on(async {
            let shutdown = Shutdown::on_signals().context("signals")?;
            serve::run(loaded.config, shutdown, levels).await
        })
}
