//! Breaks a running cluster under load, one thing at a time and then many, and checks that no promise was broken.
//!
//! Needs `CONFAB_TEST_STATE`: the state file of a cluster with two gateways at least (three are better) and two workers, whose
//! workers have failpoints.
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
mod rolling;
mod scenario;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use confab_loadtest::client::Kind;
use dice::Dice;
use harness::Harness;
use injuries::Injury;
use scenario::{Crowd, Promise, Scenario};

/// Load before something is broken, and after it is whole again.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(3);
/// Load from one gateway's turn to the next: longer than clients stay away from home, so that the next one has some, too.
const BETWEEN: Duration = Duration::from_secs(4);
/// How long a room may stand still after another of Redis' servers has taken over: less than it takes until the gateways' sweep, which
/// would find what nobody was told.
const PROMPTLY: Duration = Duration::from_secs(20);
/// How many clients of each kind are in a crowd; `CONFAB_FAULT_CLIENTS` goes over it. `CONFAB_FAULT_KINDS` names the kinds.
const CROWD: u32 = 200;
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
        let mut scenario = Scenario::begin(name, Crowd::few(), &harness).await;
        scenario.flow(BEFORE).await;
        for injury in injuries {
            scenario.break_by(&[*injury]).await;
        }
        scenario.flow(AFTER).await;
        scenario.finish(Promise::AllOrNothing).await;
    });
}

fn crowd_from_environment() -> Crowd {
    let count = std::env::var("CONFAB_FAULT_CLIENTS").ok();
    let count = count.map(|count| count.parse().expect("CONFAB_FAULT_CLIENTS is a number"));
    let named = |name: &str| {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        kind.unwrap_or_else(|| panic!("CONFAB_FAULT_KINDS: there is no kind {name}"))
    };
    let kinds = std::env::var("CONFAB_FAULT_KINDS").map_or_else(
        |_| Kind::ALL.to_vec(),
        |names| names.split(',').map(named).collect(),
    );
    Crowd::of_each(kinds, count.unwrap_or(CROWD))
}

/// Clients of every kind, through every gateway in turn; `injuries` says what breaks when it is a gateway's turn.
fn a_crowd_survives(name: &'static str, promise: Promise, injuries: fn(usize) -> Vec<Injury>) {
    run(async {
        let harness = Harness::from_environment().await;
        let crowd = crowd_from_environment();
        let mut scenario = Scenario::begin(name, crowd, &harness).await;
        scenario.flow(BEFORE).await;
        for gateway in 0..harness.cluster().gateways.len() {
            scenario.break_by(&injuries(gateway)).await;
            scenario.flow(BETWEEN).await;
        }
        scenario.flow(AFTER).await;
        scenario.finish(promise).await;
    });
}

/// The injuries hit the very last messages of every room: nothing that follows would show the gap.
fn last_words_arrive(name: &'static str, injuries: &[Injury]) {
    run(async {
        let harness = Harness::from_environment().await;
        let mut scenario = Scenario::begin(name, Crowd::few(), &harness).await;
        scenario.flow(Duration::from_millis(500)).await;
        scenario.break_and_fall_silent(injuries).await;
        scenario.finish(Promise::AllOrNothing).await;
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
    redis_set_back_in_time: Injury::SetRedisBack;
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

/// On a Redis of several servers, one of which fails: the others go on, and everybody hears again soon after.
fn replicated_redis_survives(name: &'static str, injuries: &[Injury]) {
    run(async {
        let harness = Harness::from_environment().await;
        let mut scenario = Scenario::begin(name, Crowd::few(), &harness).await;
        scenario.resumes_within(PROMPTLY);
        scenario.flow(BEFORE).await;
        for injury in injuries {
            scenario.break_by(&[*injury]).await;
        }
        scenario.flow(AFTER).await;
        scenario.finish(Promise::AllOrNothing).await;
    });
}

faults! { replicated_redis_survives:
    replicated_primary_killed: Injury::KillPrimary(0);
    replicated_primary_flushed: Injury::FlushPrimary(0);
    // Among the first are those of the partitions 3 and 7.
    replicated_slots_moved: Injury::MoveSlots(1_800);
}

/// The same while clients break off all the time: what a gateway does not hear for a moment, none of them may be taken to have seen.
fn replicated_redis_and_clients_cut_off(name: &'static str, injuries: &[Injury]) {
    run(async {
        let harness = Harness::from_environment().await;
        let mut scenario = Scenario::begin(name, Crowd::few(), &harness).await;
        scenario.flow(BEFORE).await;
        for injury in injuries {
            scenario.break_by(&[*injury, Injury::CutClientsAgain]).await;
        }
        scenario.flow(AFTER).await;
        scenario.finish(Promise::AllOrNothing).await;
    });
}

faults! { replicated_redis_and_clients_cut_off:
    replicated_primary_killed_and_clients_cut_off: Injury::KillPrimary(0);
    replicated_slots_moved_and_clients_cut_off: Injury::MoveSlots(1_800);
}

/// Nothing is broken but clients' connections: on a Redis of several servers they are recovered as on one.
#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn replicated_redis_recovers_clients() {
    run(async {
        let harness = Harness::from_environment().await;
        let name = "replicated_redis_recovers_clients";
        let mut scenario = Scenario::begin(name, Crowd::few(), &harness).await;
        scenario.flow(BEFORE).await;
        scenario.break_by(&[Injury::CutClients]).await;
        scenario.flow(AFTER).await;
        scenario.finish(Promise::AllRecovered).await;
    });
}

macro_rules! crowd_faults {
    ($($name:ident: $promise:expr, $injuries:expr;)+) => {$(
        #[test]
        #[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
        fn $name() {
            a_crowd_survives(stringify!($name), $promise, $injuries);
        }
    )+};
}

crowd_faults! {
    crowd_cut_off: Promise::AllRecovered, |_| vec![Injury::CutClients];
    crowd_and_every_gateway_killed: Promise::AllRecovered, |gateway| vec![Injury::KillGateway(gateway)];
    crowd_and_every_gateway_drained: Promise::AllRecovered, |gateway| vec![Injury::DrainGateway(gateway)];
    crowd_and_redis_flushed_meanwhile: Promise::AllOrNothing, |gateway| {
        vec![Injury::KillGateway(gateway), Injury::FlushRedis]
    };
    crowd_and_a_worker_killed_meanwhile: Promise::AllOrNothing, |gateway| {
        vec![Injury::KillGateway(gateway), Injury::KillWorker(gateway % 2)]
    };
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn then_a_mix_of_everything() {
    run(async {
        let harness = Harness::from_environment().await;
        let mut dice = Dice::seeded();
        let name = "then_a_mix_of_everything";
        let mut scenario = Scenario::begin(name, Crowd::few(), &harness).await;
        scenario.flow(BEFORE).await;
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < MIX {
            scenario.break_by(&Injury::some(&mut dice)).await;
            scenario
                .flow(Duration::from_millis(dice.below(1_500)))
                .await;
        }
        scenario.flow(AFTER).await;
        scenario.finish(Promise::AllOrNothing).await;
    });
}
