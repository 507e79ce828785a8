//! The memory of the control group, which is a container's (agent-spec 10.3).

use super::{Named, gauge, kernel};

/// What version 1 says where there is no limit.
const UNLIMITED: f64 = 9_223_372_036_854_771_712.0;

pub(super) fn memory() -> Vec<Named> {
    let text = |path: &str| kernel(path).unwrap_or_default();
    of(&text("/proc/self/mountinfo"), &text("/proc/self/cgroup"), &|path| kernel(path))
}

fn of(mountinfo: &str, cgroup: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<Named> {
    let number = |folder: &str, file: &str| read(&format!("{folder}/{file}"))?.trim().parse::<f64>().ok();
    let told = |folder: &str, [limit, usage]: [&str; 2]| {
        let usage = number(folder, usage)?;
        let limit = number(folder, limit).filter(|limit| *limit < UNLIMITED);
        let limit = limit.map(|limit| gauge("system.process.cgroup.memory.mem.limit.bytes", limit));
        Some(limit.into_iter().chain([gauge("system.process.cgroup.memory.mem.usage.bytes", usage)]).collect())
    };
    let first = mount(mountinfo, "cgroup", |options| options.split(',').any(|option| option == "memory"));
    let first = first.unwrap_or("/sys/fs/cgroup/memory");
    let second = mount(mountinfo, "cgroup2", |_| true).unwrap_or("/sys/fs/cgroup");
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().trim_end_matches('/');
    told(first, ["memory.limit_in_bytes", "memory.usage_in_bytes"])
        // within a container its own group may be mounted as the root, or be below it
        .or_else(|| told(&format!("{second}{own}"), ["memory.max", "memory.current"]))
        .or_else(|| told(second, ["memory.max", "memory.current"]))
        .unwrap_or_default()
}

/// The mount point of the first file system of this type: `36 35 98:0 /root /mount options - type source super-options`.
fn mount<'a>(mountinfo: &'a str, kind: &str, is_it: impl Fn(&str) -> bool) -> Option<&'a str> {
    mountinfo.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let matches = system.next() == Some(kind) && is_it(system.nth(1).unwrap_or_default());
        mount.split(' ').nth(4).filter(|_| matches)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: &str = "system.process.cgroup.memory.mem.usage.bytes";
    const LIMIT: &str = "system.process.cgroup.memory.mem.limit.bytes";

    const SECOND: &str = "31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const FIRST: &str = "30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                         31 25 0:27 / /mnt/mem rw shared:5 master:2 - cgroup cgroup rw,memory\n";

    fn told(mountinfo: &str, cgroup: &str, files: &[(&str, &str)]) -> Vec<Named> {
        of(mountinfo, cgroup, &|path| {
            files.iter().find(|(known, _)| *known == path).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn section_10_3_the_second_version_has_one_tree() {
        let files = [("/sys/fs/cgroup/a/b/memory.max", "1024\n"), ("/sys/fs/cgroup/a/b/memory.current", "512\n")];
        assert_eq!(told(SECOND, "0::/a/b\n", &files), [gauge(LIMIT, 1024.0), gauge(USAGE, 512.0)]);

        let files = [("/sys/fs/cgroup/memory.max", "max\n"), ("/sys/fs/cgroup/memory.current", "512\n")];
        assert_eq!(told(SECOND, "0::/not/mounted/here\n", &files), [gauge(USAGE, 512.0)], "no limit is told as none");
        assert_eq!(told("", "", &files), [gauge(USAGE, 512.0)], "the usual place");
    }

    #[test]
    fn section_10_3_the_first_version_has_a_tree_for_memory() {
        let limit = ("/mnt/mem/memory.limit_in_bytes", "2048\n");
        let usage = ("/mnt/mem/memory.usage_in_bytes", "512\n");
        assert_eq!(told(FIRST, "4:memory:/x\n", &[limit, usage]), [gauge(LIMIT, 2048.0), gauge(USAGE, 512.0)]);
        let unlimited = ("/mnt/mem/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(told(FIRST, "", &[unlimited, usage]), [gauge(USAGE, 512.0)]);
        assert_eq!(told(FIRST, "", &[]), []);
    }
}
