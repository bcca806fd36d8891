//! How much processor time each process of the system under test used, from `/proc`.

use std::fs;

/// Clock ticks of `/proc` in a second; the same on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time used up to a moment, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(u64);

impl Ticks {
    /// What a process has used so far; nothing, once it is gone.
    pub fn of(pid: u32) -> Self {
        stat(pid).map_or(Self(0), |stat| Self(stat.own))
    }

    /// What a process and its children have used so far, those that have ended included.
    pub fn of_family(parent: u32) -> Self {
        let ended = stat(parent).map_or(0, |stat| stat.own + stat.reaped);
        let living: u64 = pids()
            .filter_map(stat)
            .filter(|stat| stat.parent == parent)
            .map(|stat| stat.own)
            .sum();
        Self(ended + living)
    }

    /// What the whole machine has spent on something other than waiting.
    pub fn of_machine() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self(text.lines().next().and_then(busy).unwrap_or(0))
    }

    /// Seconds used since an earlier moment.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        let ticks = self.0.saturating_sub(earlier.0);
        f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) / TICKS_PER_SECOND
    }
}

/// How many bytes a process holds in memory.
pub fn resident_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Whether a process runs. One that has ended and that nobody has collected does not.
pub fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != b'Z' && stat.state != b'X')
}

struct Stat {
    state: u8,
    parent: u32,
    own: u64,
    reaped: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name, in parentheses, may itself hold spaces and parentheses: fields are counted from its end.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: u32::try_from(number(1)?).ok()?,
        own: number(11)? + number(12)?,
        reaped: number(13)? + number(14)?,
    })
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// user, nice, system, irq and softirq of the line of all processors.
fn busy(line: &str) -> Option<u64> {
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    [0, 1, 2, 5, 6]
        .iter()
        .map(|index| fields.get(*index).copied())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let text = "12 (a ) b) S 7 12 12 0 -1 4194560 1 2 3 4 250 50 10 5 20 0 1 0 100 1 1";
        let stat = parse_stat(text).unwrap();
        assert_eq!(
            (stat.state, stat.parent, stat.own, stat.reaped),
            (b'S', 7, 300, 15)
        );
    }

    #[test]
    fn this_process_runs_and_uses_memory() {
        assert!(is_running(std::process::id()));
        assert!(resident_bytes(std::process::id()) > 0);
        let alone = Ticks::of(std::process::id());
        assert!(Ticks::of_family(std::process::id()) >= alone);
        assert_eq!(busy("cpu  1 2 3 100 9 4 5 0 0 0"), Some(15));
    }
}
