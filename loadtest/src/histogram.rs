//! Durations counted in buckets of about 1.6 % width, shared by all clients of a run.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

/// Each power of two is divided into this many buckets.
const PARTS: u64 = 64;
const PART_BITS: u32 = PARTS.trailing_zeros();
/// Up to 2^42 ns, more than an hour.
const BUCKETS: usize = 64 * 37;

/// Counts of durations in nanoseconds.
#[derive(Debug)]
pub struct Histogram {
    counts: Box<[AtomicU64; BUCKETS]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: Box::new(array::from_fn(|_| AtomicU64::new(0))),
        }
    }
}

/// The quantiles that are reported, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    /// Half took no longer.
    pub p50: f64,
    /// Nine of ten took no longer.
    pub p90: f64,
    /// Ninety-nine of a hundred took no longer.
    pub p99: f64,
    /// None took longer.
    pub max: f64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// The quantiles, or none where nothing was counted.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let total = self.count();
        (total > 0).then(|| Quantiles {
            p50: self.quantile(total, 500),
            p90: self.quantile(total, 900),
            p99: self.quantile(total, 990),
            max: self.quantile(total, 1000),
        })
    }

    fn quantile(&self, total: u64, per_mille: u64) -> f64 {
        let rank = (total * per_mille).div_ceil(1000).max(1);
        let mut below = 0;
        let found = self.counts.iter().position(|count| {
            below += count.load(Ordering::Relaxed);
            below >= rank
        });
        std::time::Duration::from_nanos(ceiling(found.unwrap_or(BUCKETS - 1))).as_secs_f64() * 1e3
    }
}

fn bucket(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let bucket = if bits <= PART_BITS {
        value
    } else {
        let shift = bits - PART_BITS - 1;
        // The value without its leading one, of which the next bits say which part.
        u64::from(shift + 1) * PARTS + ((value >> shift) - PARTS)
    };
    usize::try_from(bucket).map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
}

/// The largest value in a bucket.
fn ceiling(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let (group, part) = (bucket / PARTS, bucket % PARTS);
    match group.checked_sub(1) {
        None => part,
        Some(shift) => ((PARTS + part + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_that_is_hardly_wider() {
        let mut last = 0;
        for value in (0..5_000).chain((12..41).map(|bit| (1 << bit) + 12_345)) {
            let found = bucket(value);
            assert!(found >= last, "{value}");
            last = found;
            assert!(ceiling(found) >= value, "{value}");
            assert!(ceiling(found) <= value + value / 60, "{value}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantiles(), None);
        for milliseconds in 1..=100 {
            histogram.record(milliseconds * 1_000_000);
        }
        let found = histogram.quantiles().unwrap();
        for (value, wanted) in [
            (found.p50, 50.0),
            (found.p90, 90.0),
            (found.p99, 99.0),
            (found.max, 100.0),
        ] {
            assert!((wanted..wanted * 1.02).contains(&value), "{found:?}");
        }
    }
}
