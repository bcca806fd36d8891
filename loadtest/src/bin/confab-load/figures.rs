//! What a run measured, and how it is printed.
#![allow(
    clippy::cast_precision_loss,
    reason = "counts of one run are far below 2^53"
)]

use std::fmt::Write;
use std::time::Duration;

use confab_loadtest::cluster::Cluster;
use confab_loadtest::histogram::Quantiles;
use confab_loadtest::instruments::Instruments;
use confab_loadtest::processes::Ticks;
use serde_json::{Map, Value, json};

/// Named numbers, in the order of their importance.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<(&'static str, f64)>);

/// Processor time used up to a moment.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    gateways: Vec<Ticks>,
    workers: Vec<Ticks>,
    redis: Ticks,
    postgres: Ticks,
    generator: Ticks,
    machine: Ticks,
}

impl Usage {
    pub(crate) fn now(cluster: &Cluster) -> Self {
        Self {
            gateways: cluster
                .gateways
                .iter()
                .map(|gateway| Ticks::of(gateway.pid))
                .collect(),
            workers: cluster
                .workers
                .iter()
                .map(|worker| Ticks::of(worker.pid))
                .collect(),
            redis: Ticks::of(cluster.redis.pid),
            postgres: Ticks::of_family(cluster.postgres.pid),
            generator: Ticks::of(std::process::id()),
            machine: Ticks::of_machine(),
        }
    }
}

impl Figures {
    pub(crate) fn push(&mut self, name: &'static str, value: f64) {
        self.0.push((name, value));
    }

    /// The figure with this name, if there is one.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| *value)
    }

    /// What was sent and what arrived within a window.
    pub(crate) fn push_traffic(&mut self, instruments: &Instruments, window: Duration) {
        let seconds = window.as_secs_f64();
        self.push("stored/s", instruments.acked_within() as f64 / seconds);
        self.push(
            "deliveries/s",
            instruments.delivered_within() as f64 / seconds,
        );
        self.push_quantiles(
            ["ack p50 ms", "ack p90 ms", "ack p99 ms", "ack max ms"],
            instruments.acks.quantiles(),
        );
        self.push_quantiles(
            [
                "delivery p50 ms",
                "delivery p90 ms",
                "delivery p99 ms",
                "delivery max ms",
            ],
            instruments.deliveries.quantiles(),
        );
    }

    pub(crate) fn push_quantiles(
        &mut self,
        names: [&'static str; 4],
        quantiles: Option<Quantiles>,
    ) {
        if let Some(found) = quantiles {
            for (name, value) in names
                .into_iter()
                .zip([found.p50, found.p90, found.p99, found.max])
            {
                self.push(name, value);
            }
        }
    }

    /// Processor time used within a window. `threads` is how many the generator may use, and `made` names and counts what was
    /// made in it, of which is said how many a processor second makes: of the gateways, and of all servers.
    pub(crate) fn push_usage(
        &mut self,
        from: &Usage,
        to: &Usage,
        window: Duration,
        threads: u8,
        made: [(&'static str, u64); 2],
    ) {
        let sum = |to: &[Ticks], from: &[Ticks]| -> f64 {
            to.iter()
                .zip(from)
                .map(|(to, from)| to.seconds_since(*from))
                .sum()
        };
        let gateways = sum(&to.gateways, &from.gateways);
        let workers = sum(&to.workers, &from.workers);
        let redis = to.redis.seconds_since(from.redis);
        let postgres = to.postgres.seconds_since(from.postgres);
        let generator = to.generator.seconds_since(from.generator);
        let machine = to.machine.seconds_since(from.machine);
        let servers = gateways + workers + redis + postgres;
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let [by_gateways, by_servers] = made;
        for (name, value) in [
            (by_gateways.0, ratio(by_gateways.1 as f64, gateways)),
            (by_servers.0, ratio(by_servers.1 as f64, servers)),
            ("cpu-s gateways", gateways),
            ("cpu-s workers", workers),
            ("cpu-s redis", redis),
            ("cpu-s postgres", postgres),
            ("cpu-s generator", generator),
            // What runs beside the load makes figures doubtful.
            ("cpu-s others", (machine - servers - generator).max(0.0)),
            (
                "generator share of machine %",
                100.0 * ratio(generator, window.as_secs_f64() * processors),
            ),
            // At 100 the generator, not the system, sets the figures.
            (
                "generator saturation %",
                100.0 * ratio(generator, window.as_secs_f64() * f64::from(threads)),
            ),
            (
                "machine busy %",
                100.0 * ratio(machine, window.as_secs_f64() * processors),
            ),
        ] {
            self.push(name, value);
        }
    }

    /// All runs side by side, and their medians.
    pub(crate) fn table(runs: &[Self]) -> String {
        let mut text = String::new();
        for (name, median) in medians(runs) {
            let single: String = match runs {
                [_] => String::new(),
                _ => values(runs, name)
                    .map(|value| format!("{:>14}", short(value)))
                    .collect::<Vec<_>>()
                    .concat(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{name:<32}{:>14}{}{single}",
                short(median),
                if single.is_empty() { "" } else { "  |" }
            );
        }
        text
    }
}

/// All runs and their medians, for programs.
pub(crate) fn json(runs: &[Figures]) -> Value {
    let object = |pairs: Vec<(&'static str, f64)>| -> Map<String, Value> {
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect()
    };
    let single: Vec<_> = runs.iter().map(|run| object(run.0.clone())).collect();
    json!({ "median": object(medians(runs)), "runs": single })
}

fn medians(runs: &[Figures]) -> Vec<(&'static str, f64)> {
    let Some(first) = runs.first() else {
        return Vec::new();
    };
    first
        .0
        .iter()
        .map(|(name, _)| (*name, median(values(runs, name).collect())))
        .collect()
}

fn values<'a>(runs: &'a [Figures], name: &'a str) -> impl Iterator<Item = f64> + 'a {
    runs.iter().filter_map(move |run| run.get(name))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn ratio(value: f64, of: f64) -> f64 {
    if of > 0.0 { value / of } else { 0.0 }
}

/// As many digits as mean something.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_each_figure_by_itself() {
        let runs = [1.0, 3.0, 2.0].map(|value| Figures(vec![("a", value), ("b", 10.0 - value)]));
        assert_eq!(medians(&runs), [("a", 2.0), ("b", 8.0)]);
        assert_eq!(medians(&runs[..2]), [("a", 2.0), ("b", 8.0)]);
        assert_eq!(json(&runs)["runs"][1]["a"], 3.0);
        assert!(Figures::table(&runs).contains('|'));
    }
}
