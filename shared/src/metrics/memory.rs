//! How much memory this process may use: what its control groups allow, or else what the machine has.

use std::fs::read_to_string;
use std::path::Path;

/// Where control groups are, of both versions.
const GROUPS: &str = "/sys/fs/cgroup";

/// The limit in bytes, if it can be known.
pub(super) fn limit() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = read_to_string("/proc/meminfo").unwrap_or_default();
    let allowed = groups
        .lines()
        .filter_map(|group| allowed(Path::new(GROUPS), group));
    allowed.chain(total(&machine)).min()
}

/// What a line of `/proc/self/cgroup` allows. Groups lie in one another, and each may set a limit. In a container the path may be the
/// host's, of which only the end is to be seen: at the root.
fn allowed(root: &Path, group: &str) -> Option<u64> {
    let mut parts = group.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (root, file) = if controllers.is_empty() {
        (root.to_owned(), "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        (root.join("memory"), "memory.limit_in_bytes")
    } else {
        return None;
    };
    let innermost = root.join(path.trim_start_matches('/'));
    innermost
        .ancestors()
        .take_while(|group| group.starts_with(&root))
        .filter_map(|group| read_to_string(group.join(file)).ok()?.trim().parse().ok())
        .min()
}

/// All of a machine's memory, by `/proc/meminfo`.
fn total(machine: &str) -> Option<u64> {
    let line = machine
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1_024)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn the_least_of_the_groups_limits_holds() {
        let root = env::temp_dir().join(format!("confab-groups-{}", process::id()));
        let set = |group: &str, file: &str, limit: &str| {
            fs::create_dir_all(root.join(group)).unwrap();
            fs::write(root.join(group).join(file), limit).unwrap();
        };
        set("pod/container", "memory.max", "max\n");
        set("pod", "memory.max", "2000\n");
        set("other", "memory.max", "9\n");
        set("memory/job", "memory.limit_in_bytes", "3000\n");
        set("memory", "memory.limit_in_bytes", "9223372036854771712\n");
        let found = [
            "0::/pod/container",
            "0::/",
            "4:cpu,memory:/job",
            "4:memory:/gone/elsewhere",
            "3:cpuset:/",
            "",
        ]
        .map(|group| allowed(&root, group));
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            found,
            [
                Some(2_000),
                None,
                Some(3_000),
                Some(i64::MAX as u64 / 4_096 * 4_096),
                None,
                None
            ]
        );
    }

    #[test]
    fn a_machine_says_what_it_has() {
        assert_eq!(
            total("MemTotal:       16315536 kB\nMemFree: 7 kB\n"),
            Some(16_707_108_864)
        );
        assert_eq!(total(""), None);
        assert!(limit().is_some());
    }
}
