//! How many partitions each worker should have.

/// How many partitions a worker should have, and its rank: all get the same number, the first ones one more where it does not
/// come out even.
pub(super) fn quota(partitions: u16, live: &[String], worker: &str) -> (usize, usize) {
    let (partitions, workers) = (usize::from(partitions), live.len().max(1));
    let rank = live.iter().position(|id| id == worker).unwrap_or(workers);
    (
        partitions / workers + usize::from(rank < partitions % workers),
        rank,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_share_everything_out() {
        for partitions in [1_u16, 7, 16, 64] {
            for workers in 1..=20 {
                let live: Vec<String> = (0..workers).map(|n| format!("{n:02}")).collect();
                let quotas: Vec<usize> = live
                    .iter()
                    .map(|id| quota(partitions, &live, id).0)
                    .collect();
                assert_eq!(quotas.iter().sum::<usize>(), usize::from(partitions));
                assert!(quotas.iter().max().unwrap() - quotas.iter().min().unwrap() <= 1);
            }
        }
    }
}
