//! `confab-load`: puts a bounded load on a running cluster, takes figures, and checks that no promise was broken.
#![allow(clippy::print_stdout, reason = "figures are what this command is for")]

mod connect;
mod drive;
mod figures;
mod options;
mod passed_on;
mod run;
mod scrape;
mod subscribers;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use confab_loadtest::cluster::Cluster;
use sqlx::PgPool;

use figures::Figures;
use options::{Options, Scenario};
use run::Terms;

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    // One thread is enough for a million deliveries a second, and leaves the rest of the machine to the servers.
    let mut builder = match options.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder
        .worker_threads(usize::from(options.threads))
        .enable_all()
        .build()?
        .block_on(take_figures(&options))
}

async fn take_figures(options: &Options) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::load(&options.state)?;
    let database = PgPool::connect(&cluster.postgres.url)
        .await
        .context("connecting to PostgreSQL")?;
    let mut taken = Vec::new();
    let mut kept = true;
    let terms = Terms {
        clients: options.clients,
        threads: options.threads,
        check: !options.no_check,
    };
    for number in 1..=options.runs {
        let figures = match &options.scenario {
            Scenario::Connect(storm) => {
                connect::storm(&cluster, &database, storm, options.clients).await?
            }
            Scenario::PassedOn(wanted) => {
                let load = options.scenario.load();
                let (figures, clean) =
                    passed_on::compare(&cluster, &database, wanted, load.as_ref(), terms).await?;
                kept &= clean;
                figures
            }
            Scenario::Subscribers(_) => {
                let load = options.scenario.load().context("not a load")?;
                let (figures, clean) =
                    subscribers::compare(&cluster, &database, &load, terms).await?;
                kept &= clean;
                figures
            }
            Scenario::Stored(_) | Scenario::Fanout(_) | Scenario::Latency(_) => {
                let load = options.scenario.load().context("not a load")?;
                let run = run::run(&cluster, &database, &load, terms).await?;
                if let Some(report) = &run.report {
                    kept &= report.is_clean();
                    eprintln!("run {number} of {}: {report}", options.runs);
                }
                run.figures
            }
        };
        taken.push(figures);
    }
    if options.json {
        println!("{}", figures::json(&taken));
    } else {
        print!("{}", Figures::table(&taken));
    }
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
