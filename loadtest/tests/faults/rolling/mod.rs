//! Replaces two gateways and two workers one at a time under load, as `deploy/roll` does with systemd: nobody notices.
//!
//! The gateways accept on one socket that belongs to neither. All the while others try to connect.

mod manager;
mod probes;

use std::time::Duration;

use confab_loadtest::client::Kind;
use confab_loadtest::log::ClientLog;
use manager::{Ear, Manager, require_a_whole_life};
use probes::Probes;

use crate::harness::Harness;
use crate::scenario::{Crowd, Promise, Scenario};
use crate::{AFTER, BEFORE};

/// Over how long each gateway sends its clients away.
const SPREAD: Duration = Duration::from_secs(8);
/// Clients of each kind.
const EACH: u32 = 40;
/// Load between two replacements: reconnections, and signs of life from everybody.
const BETWEEN: Duration = Duration::from_secs(3);
/// Into how many parts a drain's time is divided, and how much more than its share of the clients may be sent away in one of them.
const PARTS: u64 = 8;
const UNEVEN: usize = 3;
/// Fewer clients than these say nothing about a drain.
const ENOUGH: usize = 20;

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn everything_replaced_one_at_a_time() {
    crate::run(async {
        let harness = Harness::from_environment().await;
        let manager = Manager::new(harness.cluster(), SPREAD);
        let mut gateways = vec![manager.start().await, manager.start().await];
        let ears = [Ear::open(), Ear::open()];
        for (worker, ear) in ears.iter().enumerate() {
            replace_worker(&harness, worker, Some(ear)).await;
        }

        let name = "everything_replaced_one_at_a_time";
        let crowd = Crowd::of_each(Kind::ALL.to_vec(), EACH);
        let scenario = Scenario::begin_at(vec![manager.endpoint()], name, crowd, &harness).await;
        let probes = Probes::start(manager.endpoint(), scenario.tokens());
        scenario.flow(BEFORE).await;
        let mut drains = [(0, 0); 2];
        for (old, begun_and_ended) in drains.iter_mut().enumerate() {
            *begun_and_ended = gateways.remove(0).stop(&format!("gateway {old}")).await;
            gateways.push(manager.start().await);
            scenario.flow(BETWEEN).await;
        }
        for (worker, ear) in ears.iter().enumerate() {
            replace_worker(&harness, worker, Some(ear)).await;
            scenario.flow(BETWEEN).await;
        }
        scenario.flow(AFTER).await;
        let (attempts, slowest) = probes.finish().await;
        println!("  {attempts} attempts to connect, the slowest took {slowest:.1?}");
        scenario.require_all_connected();
        let logs = scenario.finish(Promise::AllRecovered).await;

        // A machine that stands still for a moment has the clients of that moment go at once; and the kernel decides who accepts how many.
        assert!(
            drains.map(|drain| is_paced(&logs, drain)).contains(&true),
            "hardly anybody was sent away, or not evenly"
        );
        for gateway in gateways {
            gateway.stop("a gateway at the end").await;
        }
        for (worker, ear) in ears.iter().enumerate() {
            replace_worker(&harness, worker, None).await;
            let said = ear.heard();
            let second = said
                .iter()
                .rposition(|(_, said)| said == "READY=1")
                .unwrap();
            assert!(second > 0, "worker {worker} was replaced");
            for life in [&said[..second], &said[second..]] {
                require_a_whole_life(&format!("worker {worker}"), life);
            }
        }
    });
}

/// Drains a worker, starts another in its place and waits until it is ready. Its successor speaks to `ear`.
async fn replace_worker(harness: &Harness, worker: usize, ear: Option<&Ear>) {
    let environment = ear.map(Ear::environment);
    let environment: Vec<_> = environment.iter().flatten().collect();
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let restart = &harness.cluster().workers[worker].restart;
    harness.restart(restart, &environment).await;
}

/// Whether those who were sent away by a drain were so little by little: all of them would come back at once.
fn is_paced(logs: &[ClientLog], (begun, ended): (u64, u64)) -> bool {
    let spread = u64::try_from(SPREAD.as_nanos()).unwrap();
    let mut parts = vec![0_usize; usize::try_from(PARTS).unwrap() + 1];
    let links = logs.iter().flat_map(|log| &log.connections);
    for closed in links.filter_map(|link| link.closed) {
        if (begun..ended).contains(&closed) {
            let part = ((closed - begun) * PARTS / spread).min(PARTS);
            parts[usize::try_from(part).unwrap()] += 1;
        }
    }
    let all: usize = parts.iter().sum();
    println!("  {all} clients sent away, by eighths of the drain: {parts:?}");
    let share = all.div_ceil(parts.len() - 1);
    all >= ENOUGH && parts.iter().all(|part| *part <= share * UNEVEN)
}
