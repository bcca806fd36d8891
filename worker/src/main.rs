//! Confab's worker: the program. Settings, a subcommand, and an orderly end.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use confab_shared::config::{ConfigError, Environment, Loaded};
use confab_shared::id::WorkerId;
use confab_shared::lifecycle::{Drainage, EX_CONFIG, Readiness, ServiceManager, Shutdown, Vitals};
use confab_shared::postgres::{partitions, pool_by_key, schema};
use confab_shared::redis;
use confab_shared::telemetry::{self, Levels, Service, Traces};
use confab_worker::commands::{
    config, create_admin, healthcheck, migrate, patient_pool, reset, seed,
};
use confab_worker::config::Config;
use confab_worker::consumer::Context;
use confab_worker::metrics::Metrics;
use confab_worker::ops::{Operations, serve};
use confab_worker::ownership::Ownership;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// How long the last spans may take to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// How long what blocks may go on when everything else has ended: a name that is looked up while DNS is away takes many seconds, and nobody
/// needs it any more.
const LAST_BLOCKING: Duration = Duration::from_secs(1);

/// Confab's worker.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(flatten)]
    Work(Work),
    #[command(flatten)]
    Ask(Ask),
}

/// What is done with Redis or the database.
#[derive(Debug, Subcommand)]
enum Work {
    /// Process commands until told to stop (the default).
    Run,
    /// Bring the database up to date and record the number of partitions.
    Migrate,
    /// Add demo users, and as much demo talk as is asked for. Refused in production.
    Seed(seed::Amount),
    /// Destroy everything and make the schema anew. Asks first; refused in production.
    Reset(reset::Assurance),
    /// Make an admin. The password is asked for, or read from standard input.
    CreateAdmin(create_admin::Admin),
}

/// What needs no database and writes no log.
#[derive(Debug, Subcommand)]
enum Ask {
    /// Show the settings that are in force, secrets hidden.
    Config(config::Look),
    /// Ask the worker that runs here how it is; exits with 1 unless it is well.
    Healthcheck(healthcheck::Question),
}

impl Ask {
    fn answer(&self, loaded: &Loaded<Config>) -> anyhow::Result<()> {
        match self {
            Self::Config(look) => config::run(loaded, look, &mut std::io::stdout()),
            Self::Healthcheck(question) => {
                healthcheck::run(&loaded.config.http.internal_listen, question)
            }
        }
    }
}

fn main() -> ExitCode {
    match block_on(start(Arguments::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Settings may be what is wrong, so this cannot count on the log. The causes in one line, no backtrace: who reads it
            // is to mend the deployment, not the program.
            let _ = writeln!(std::io::stderr(), "confab-worker: {error:#}");
            match error.downcast_ref::<ConfigError>() {
                Some(settings) if settings.is_lasting() => ExitCode::from(EX_CONFIG),
                Some(_) | None => ExitCode::FAILURE,
            }
        }
    }
}

fn block_on(program: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    let ended = runtime.block_on(program);
    runtime.shutdown_timeout(LAST_BLOCKING);
    ended
}

async fn start(arguments: Arguments) -> anyhow::Result<()> {
    let loaded = Config::load()?;
    let work = match arguments.action {
        None => Work::Run,
        Some(Action::Work(work)) => work,
        Some(Action::Ask(ask)) => return ask.answer(&loaded),
    };
    let levels = telemetry::init(&loaded.config.log)?;
    for key in &loaded.unknown {
        // Both programs are usually given one environment: this is a misspelt key or a setting of the gateway.
        tracing::debug!(key, "not a worker setting");
    }
    let config = loaded.config;
    let count = config.partitions.count;
    let pool = patient_pool(&config.database)?;
    let mut out = std::io::stdout();
    match work {
        Work::Run => {
            let pool = pool_by_key(&config.database, "confab-worker")?;
            run(config, pool, levels).await
        }
        Work::Migrate => migrate::run(&pool, count, &mut out).await,
        Work::Seed(amount) => seed::run(&pool, config.environment, amount, &mut out).await,
        Work::Reset(assurance) => {
            let name = schema::database_name(&pool).await?;
            permit(config.environment, assurance, &name)?;
            reset::run(&pool, count, &mut out).await
        }
        Work::CreateAdmin(admin) => {
            let password = || create_admin::ask_password(admin.password_stdin);
            let account = create_admin::run(&pool, &admin, password).await?;
            writeln!(out, "{} is an admin", account.username)?;
            Ok(())
        }
    }
}

/// Asks on the terminal, if there is one.
fn permit(
    environment: Environment,
    assurance: reset::Assurance,
    database: &str,
) -> Result<(), reset::Refusal> {
    let (input, mut output) = (std::io::stdin(), std::io::stderr());
    let somebody = input.is_terminal() && output.is_terminal();
    let mut input = input.lock();
    let terminal = somebody.then_some((&mut input as _, &mut output as _));
    reset::permit(environment, assurance, database, terminal)
}

async fn run(config: Config, pool: PgPool, levels: Levels) -> anyhow::Result<()> {
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    let shutdown = Shutdown::on_signals()?;
    let metrics = Metrics::new()?;
    metrics.is_built_from(option_env!("CONFAB_COMMIT"));
    metrics.pool.watch(&metrics.pulls, &pool);
    let readiness = Readiness::default();
    let vitals = Vitals::of_steps(config.longest_step());
    let tasks = TaskTracker::new();
    let address = &config.http.internal_listen;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("http.internal_listen: {address}"))?;
    tasks.spawn(serve(
        listener,
        Operations {
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            vitals: vitals.clone(),
            levels,
        },
        shutdown.clone(),
        tasks.clone(),
    ));

    let keyspace = (config.redis)
        .keyspace(config.partitions.count)
        .context("redis.url")?;
    let (drain_limit, count) = (config.worker.drain(), config.partitions.count);
    let drainage = Drainage {
        begins: shutdown.drain.clone(),
        ended: shutdown.abort.clone(),
        limit: drain_limit,
    };
    let owned = metrics.owned_partitions.clone();
    let doing = move || format!("{} of {count} partitions", owned.get());
    tasks.spawn(ServiceManager::from_environment().keep_informed(
        readiness.clone(),
        vitals.clone(),
        drainage,
        doing,
    ));
    let id = WorkerId::generate();
    let service = Service {
        program: "confab-worker",
        version: env!("CARGO_PKG_VERSION"),
        instance: id.to_string(),
    };
    let traces = Traces::start(&config.traces, service)?;
    metrics.spans.watch(&metrics.pulls, &traces);
    let context = Context {
        id,
        keyspace,
        config: Arc::new(config),
        pool,
        metrics,
        traces: traces.clone(),
        vitals,
    };
    tracing::info!(worker = %context.id, "starting");
    let work = tokio::spawn(work(context, readiness, shutdown.clone()));
    let abort_work = work.abort_handle();
    let deadline = async {
        shutdown.drain.cancelled().await;
        tokio::select! {
            () = tokio::time::sleep(drain_limit) => tracing::warn!("the drain took too long; what is unfinished is left to others"),
            () = shutdown.abort.cancelled() => tracing::warn!("leaving at once; what is unfinished is left to others"),
        }
    };
    let result = tokio::select! {
        result = work => result.context("the worker failed")?,
        () = deadline => {
            abort_work.abort();
            Ok(())
        }
    };
    traces.flush(FLUSH).await;
    shutdown.abort.cancel();
    tasks.close();
    tasks.wait().await;
    tracing::info!("stopped");
    result
}

/// Waits for what the worker depends on, then works until told to drain.
async fn work(context: Context, readiness: Readiness, shutdown: Shutdown) -> anyhow::Result<()> {
    let start = async {
        let config = context.config.clone();
        readiness.wait_for("PostgreSQL");
        let (count, patience) = (config.partitions.count, config.database.patience());
        partitions::check_when_there(&context.pool, count, patience).await?;
        readiness.wait_for("Redis");
        redis::examine(&config.redis).await?;
        anyhow::Ok(Ownership::start(context, readiness).await?)
    };
    let ownership = tokio::select! {
        ownership = start => ownership?,
        () = shutdown.drain.cancelled() => return Ok(()),
    };
    // Boxed: all that the worker does is in it.
    Box::pin(ownership.run(shutdown)).await;
    Ok(())
}
