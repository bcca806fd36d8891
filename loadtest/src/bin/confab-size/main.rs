//! `confab-size`: do queries cost the same however much there is? Fills a database of its own twice, a little and a lot, asks the programs' own
//! queries, and prints both figures with their ratio, the blocks that each plan touches, and what it scans.
#![allow(clippy::print_stdout, reason = "figures are what this command is for")]

mod cases;
mod fill;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use confab_shared::postgres::{self, DatabaseConfig};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

use cases::{Case, Planned};
use fill::Size;

/// Compares the cost of queries in a small and in a large database.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// A database on the server to use, by a role that may create others.
    #[arg(long)]
    database_url: String,
    /// How often each query is asked.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Divides the large database, for a quick look.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    divide: u32,
}

/// What a query cost.
#[derive(Debug, Clone, Default)]
struct Cost {
    median: Duration,
    plans: Vec<Plan>,
}

/// What one statement of a query touched.
#[derive(Debug, Clone, Default)]
struct Plan {
    blocks: u64,
    scans: BTreeMap<String, u32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let (few, many) = (Size::small(), Size::large(options.divide));
    let mut admin = PgConnection::connect(&options.database_url)
        .await
        .context("connecting to PostgreSQL")?;
    let names = [(); 2].map(|()| format!("confab_size_{}", Uuid::new_v4().simple()));
    for name in &names {
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut admin).await?;
    }
    let compared = compare(&options, &names, [few, many]).await;
    for name in &names {
        let drop = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
        sqlx::query(drop).execute(&mut admin).await?;
    }
    print(few, many, &compared?);
    Ok(())
}

/// What a query cost in the small database and in the large one.
struct Compared {
    name: &'static str,
    costs: [Cost; 2],
}

/// Fills both databases, then asks each query in turns, so that whatever else the machine does falls on both alike.
async fn compare(
    options: &Options,
    names: &[String; 2],
    sizes: [Size; 2],
) -> anyhow::Result<Vec<Compared>> {
    let [few, many] = names;
    let few = filled(options, few, sizes[0]).await?;
    let many = filled(options, many, sizes[1]).await?;
    let cases = cases::all(&few, sizes[0]).await?;
    let cases = cases.into_iter().zip(cases::all(&many, sizes[1]).await?);
    let mut compared = Vec::new();
    for (small, large) in cases {
        let mut times = [const { Vec::new() }; 2];
        // The first rounds warm the caches and prepare the statements.
        for round in 0..options.rounds + 5 {
            for (times, (pool, case)) in times.iter_mut().zip([(&few, &small), (&many, &large)]) {
                let began = Instant::now();
                case.ask(pool).await.context(case.name)?;
                if round >= 5 {
                    times.push(began.elapsed());
                }
            }
        }
        let [small_times, large_times] = times;
        compared.push(Compared {
            name: large.name,
            costs: [
                cost(&few, &small, small_times).await?,
                cost(&many, &large, large_times).await?,
            ],
        });
    }
    Ok(compared)
}

async fn filled(options: &Options, name: &str, size: Size) -> anyhow::Result<PgPool> {
    let (server, _) = options
        .database_url
        .rsplit_once('/')
        .context("the URL names no database")?;
    let config = DatabaseConfig {
        // One, so that what it has prepared can be looked up afterwards.
        max_connections: 1,
        statement_timeout_ms: 0,
        idle_in_transaction_timeout_ms: 0,
        ..DatabaseConfig::at(format!("{server}/{name}"))
    };
    let pool = postgres::pool(&config, "confab-size")?;
    postgres::migrate(&pool).await?;
    let began = Instant::now();
    fill::fill(&pool, size).await.context("filling")?;
    eprintln!("{size}: filled in {:.0} s", began.elapsed().as_secs_f64());
    Ok(pool)
}

async fn cost(pool: &PgPool, case: &Case, mut times: Vec<Duration>) -> anyhow::Result<Cost> {
    times.sort_unstable();
    let mut plans = Vec::new();
    for planned in &case.planned {
        plans.push(explain(pool, planned).await.context(case.name)?);
    }
    Ok(Cost {
        median: times.get(times.len() / 2).copied().unwrap_or_default(),
        plans,
    })
}

fn print(few: Size, many: Size, compared: &[Compared]) {
    println!("small: {few}");
    println!("large: {many}");
    println!();
    println!("| query | small, ms | large, ms | ratio | blocks, small | blocks, large |");
    println!("|---|---:|---:|---:|---:|---:|");
    for Compared { name, costs } in compared {
        let [few, many] = [0, 1].map(|size: usize| costs[size].median.as_secs_f64() * 1_000.0);
        let ratio = many / few.max(f64::EPSILON);
        let [few_blocks, many_blocks] = [0, 1].map(|size: usize| {
            costs[size]
                .plans
                .iter()
                .map(|plan| plan.blocks)
                .sum::<u64>()
        });
        println!("| {name} | {few:.2} | {many:.2} | {ratio:.1} | {few_blocks} | {many_blocks} |");
    }
    println!();
    println!("What the plans read in the large database, how many times each:");
    for Compared { name, costs } in compared {
        for plan in &costs[1].plans {
            let scans: Vec<String> = plan
                .scans
                .iter()
                .map(|(scan, times)| format!("{scan} ×{times}"))
                .collect();
            println!("{name}: {}", scans.join(", "));
        }
    }
}

/// Runs a statement that the programs have prepared once more, by the plan that they use.
async fn explain(pool: &PgPool, planned: &Planned) -> anyhow::Result<Plan> {
    let name: String = sqlx::query_scalar(
        "SELECT name FROM pg_prepared_statements WHERE position($1 IN statement) > 0 AND position('pg_prepared' IN statement) = 0
         ORDER BY prepare_time DESC LIMIT 1",
    )
    .bind(planned.marker)
    .fetch_optional(pool)
    .await?
    .with_context(|| format!("no statement has {:?}", planned.marker))?;
    let statement = format!(
        "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) EXECUTE {name} ({})",
        planned.arguments
    );
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
        .persistent(false)
        .fetch_all(pool)
        .await?;
    let mut plan = Plan::default();
    if let Some(buffers) = lines.iter().find(|line| line.contains("Buffers: shared")) {
        plan.blocks = buffers
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("hit=").or(word.strip_prefix("read=")))
            .filter_map(|count| count.parse::<u64>().ok())
            .sum();
    }
    for line in lines.iter().filter(|line| !line.contains("never executed")) {
        for kind in [
            "Index Scan using ",
            "Index Only Scan using ",
            "Index Scan Backward using ",
            "Index Only Scan Backward using ",
        ] {
            if let Some((_, rest)) = line.split_once(kind) {
                let index = rest.split_whitespace().next().unwrap_or_default();
                *plan.scans.entry(index.to_owned()).or_default() += 1;
            }
        }
        for kind in ["Seq Scan on ", "Bitmap Index Scan on "] {
            if let Some((_, rest)) = line.split_once(kind) {
                let table = rest.split_whitespace().next().unwrap_or_default();
                *plan.scans.entry(format!("{kind}{table}")).or_default() += 1;
            }
        }
    }
    Ok(plan)
}
