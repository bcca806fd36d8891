//! Breaks a running cluster under load, one thing at a time and then many, and checks that no promise was broken.
//!
//! Needs `CONFAB_TEST_STATE`: the state file of a cluster with two gateways and two workers, whose workers have failpoints.
//! The tests take turns, as there is one cluster to break.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests fail by panicking and say on their output what they saw"
)]

mod client;
mod dice;
mod harness;
mod injuries;
mod scenario;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dice::Dice;
use harness::Harness;
use injuries::Injury;
use scenario::Scenario;

/// Load before something is broken, and after it is whole again.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(3);
/// How long the mix goes on.
const MIX: Duration = Duration::from_secs(40);

/// There is one cluster to break.
static CLUSTER: Mutex<()> = Mutex::new(());

fn run(test: impl Future<Output = ()>) {
    let _cluster = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

/// Load, the injuries one after the other, more load, rest, check.
fn survives(name: &'static str, injuries: &[Injury]) {
    run(async {
        let harness = Harness::from_environment().await;
        let mut scenario = Scenario::begin(name, &harness).await;
        scenario.flow(BEFORE).await;
        for injury in injuries {
            scenario.break_by(&[*injury]).await;
        }
        scenario.flow(AFTER).await;
        scenario.finish().await;
    });
}

/// The injuries hit the very last messages of every room: nothing that follows would show the gap.
fn last_words_arrive(name: &'static str, injuries: &[Injury]) {
    run(async {
        let harness = Harness::from_environment().await;
        let mut scenario = Scenario::begin(name, &harness).await;
        scenario.flow(Duration::from_millis(500)).await;
        scenario.break_and_fall_silent(injuries).await;
        scenario.finish().await;
    });
}

macro_rules! faults {
    ($how:ident: $($name:ident: $($injury:expr),+;)+) => {$(
        #[test]
        #[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
        fn $name() {
            $how(stringify!($name), &[$($injury),+]);
        }
    )+};
}

faults! { survives:
    gateways_killed: Injury::KillGateway(1), Injury::KillGateway(0);
    a_worker_killed_again_and_again: Injury::KillWorker(0), Injury::KillWorker(1), Injury::KillWorker(0);
    all_workers_killed: Injury::KillAllWorkers;
    a_worker_dead_before_its_commit: Injury::Failpoint("worker::before_commit");
    a_worker_dead_after_its_commit: Injury::Failpoint("worker::after_commit");
    a_worker_dead_after_its_fan_out: Injury::Failpoint("worker::after_fan_out");
    a_worker_dead_after_its_reply: Injury::Failpoint("worker::after_reply");
    a_worker_asleep_past_its_lease: Injury::SleepWorker(0, Duration::from_secs(6));
    redis_flushed: Injury::FlushRedis, Injury::FlushRedis, Injury::FlushRedis;
    subscribers_cut_off: Injury::DropSubscribers, Injury::DropSubscribers, Injury::DropSubscribers;
    redis_restarted_empty: Injury::RestartRedis(Duration::ZERO);
    redis_away: Injury::RestartRedis(Duration::from_secs(3));
    postgres_restarted: Injury::RestartPostgres(Duration::ZERO);
    postgres_away: Injury::RestartPostgres(Duration::from_secs(3));
    postgres_away_for_long: Injury::RestartPostgres(Duration::from_secs(15));
}

faults! { last_words_arrive:
    last_words_before_a_flush: Injury::FlushRedis;
    last_words_before_subscribers_are_cut_off: Injury::DropSubscribers;
    last_words_before_redis_dies: Injury::RestartRedis(Duration::ZERO);
    last_words_before_a_worker_dies: Injury::KillWorker(0);
    last_words_stored_and_not_announced: Injury::Failpoint("worker::after_commit");
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn then_a_mix_of_everything() {
    run(async {
        let harness = Harness::from_environment().await;
        let mut dice = Dice::seeded();
        let mut scenario = Scenario::begin("then_a_mix_of_everything", &harness).await;
        scenario.flow(BEFORE).await;
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < MIX {
            scenario.break_by(&Injury::some(&mut dice)).await;
            scenario
                .flow(Duration::from_millis(dice.below(1_500)))
                .await;
        }
        scenario.flow(AFTER).await;
        scenario.finish().await;
    });
}
