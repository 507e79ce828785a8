//! The memory of the control group, which is a container's (agent-spec 10.3).

use super::{Named, gauge, kernel};

/// The value of version 1 without a limit: the largest number of whole pages, of 64 KiB at most.
const UNLIMITED: f64 = 0x7fff_ffff_ffff_0000_u64 as f64;

const FIRST_FILES: [&str; 2] = ["memory.limit_in_bytes", "memory.usage_in_bytes"];
const SECOND_FILES: [&str; 2] = ["memory.max", "memory.current"];

pub(super) fn memory() -> Vec<Named> {
    let text = |path: &str| kernel(path).unwrap_or_default();
    of(&text("/proc/self/mountinfo"), &text("/proc/self/cgroup"), &|path| kernel(path))
}

/// From the contents of `/proc/self/mountinfo` and of `/proc/self/cgroup`, and with what reads a file. Where both versions
/// are mounted, the first counts if it has the memory controller.
fn of(mountinfo: &str, cgroup: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<Named> {
    let number = |folder: &str, file: &str| read(&format!("{folder}/{file}"))?.trim().parse::<f64>().ok();
    let told = |folder: &str, [limit, usage]: [&str; 2]| {
        let usage = number(folder, usage)?;
        let limit = number(folder, limit).filter(|limit| *limit < UNLIMITED);
        let limit = limit.map(|limit| gauge("system.process.cgroup.memory.mem.limit.bytes", limit));
        Some(limit.into_iter().chain([gauge("system.process.cgroup.memory.mem.usage.bytes", usage)]).collect())
    };
    let has_memory = |list: &str| list.split(',').any(|one| one == "memory");
    let first = mounts(mountinfo, "cgroup", has_memory, "/sys/fs/cgroup/memory");
    let second = mounts(mountinfo, "cgroup2", |_| true, "/sys/fs/cgroup");
    let first = folders(&first, own_group(cgroup, has_memory)).into_iter().map(|folder| (folder, FIRST_FILES));
    let second = folders(&second, own_group(cgroup, str::is_empty)).into_iter().map(|folder| (folder, SECOND_FILES));
    first.chain(second).find_map(|(folder, files)| told(&folder, files)).unwrap_or_default()
}

/// A mounted part of a tree of groups.
struct Mount {
    /// The group that is visible at `point`, seen from the process's own cgroup namespace: `/..` is outside of that.
    root: String,
    point: String,
}

/// The mounts of a file system: `36 35 98:0 /root /point options - type source super-options`. The usual place where none
/// is listed.
fn mounts(mountinfo: &str, kind: &str, is_it: impl Fn(&str) -> bool, usual: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let matches = system.next() == Some(kind) && is_it(system.nth(1).unwrap_or_default());
        let mut mount = mount.split(' ').skip(3).map(unescaped);
        let (root, point) = (mount.next()?, mount.next()?);
        matches.then_some(Mount { root, point })
    };
    let found: Vec<_> = mountinfo.lines().filter_map(mount).collect();
    if found.is_empty() { vec![Mount { root: "/".into(), point: usual.into() }] } else { found }
}

/// The kernel writes blanks, line ends and backslashes in octal.
fn unescaped(path: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(path.to_owned(), |path, (code, char)| path.replace(code, char))
}

/// The process's group in the tree whose controllers match: `id:controllers:path`.
fn own_group(cgroup: &str, is_it: impl Fn(&str) -> bool) -> &str {
    let mut groups = cgroup.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?, parts.next()?))
    });
    groups.find(|(controllers, _)| is_it(controllers)).map_or("", |(_, path)| path.trim_end_matches('/'))
}

/// Where the group may be found, the likeliest first: below each mount, then at a mount point itself. In a container the
/// own group is often mounted there although its path is the host's.
fn folders(mounts: &[Mount], own: &str) -> Vec<String> {
    let below = mounts.iter().filter_map(|Mount { root, point }| {
        let within = own.strip_prefix(root.trim_end_matches('/'))?;
        let is_within = within.is_empty() || within.starts_with('/');
        // what is outside of the mount is not visible
        (is_within && !has_parents(within)).then(|| format!("{}{within}", point.trim_end_matches('/')))
    });
    // a mount that begins outside of the namespace shows the groups of others
    let at = mounts.iter().filter(|mount| !has_parents(&mount.root)).map(|mount| mount.point.clone());
    below.chain(at).collect()
}

fn has_parents(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Sample;

    const USAGE: &str = "system.process.cgroup.memory.mem.usage.bytes";
    const LIMIT: &str = "system.process.cgroup.memory.mem.limit.bytes";

    const SECOND: &str = "31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const FIRST: &str = "30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                         31 25 0:27 / /mnt/mem rw shared:5 master:2 - cgroup cgroup rw,memory\n";

    /// What is reported where each folder has a limit of 2000 bytes and the usage that is given.
    fn told(mountinfo: &str, cgroup: &str, folders: &[(&str, &str)]) -> Vec<Named> {
        of(mountinfo, cgroup, &|path| {
            let (folder, file) = path.rsplit_once('/').unwrap();
            let (_, usage) = folders.iter().find(|(known, _)| *known == folder)?;
            let is_first = path.starts_with("/mnt/mem") || path.contains("/memory/");
            let [limit, current] = if is_first { FIRST_FILES } else { SECOND_FILES };
            match file {
                _ if file == limit => Some("2000\n".to_owned()),
                _ if file == current => Some(format!("{usage}\n")),
                _ => None,
            }
        })
    }

    fn usage(mountinfo: &str, cgroup: &str, folders: &[(&str, &str)]) -> Option<f64> {
        let told = told(mountinfo, cgroup, folders);
        match &told[..] {
            [] => None,
            [limit, (_, Sample::Gauge(usage))] if *limit == gauge(LIMIT, 2000.0) => Some(*usage),
            other => panic!("{other:?}"),
        }
    }

    // spec: metrics.md
    #[test]
    fn own_cgroup_of_version_1_is_read_before_the_mount_point() {
        let folders = [("/mnt/mem", "21"), ("/mnt/mem/x/y", "5")];
        assert_eq!(usage(FIRST, "5:cpu:/z\n4:hugetlb,memory:/x/y\n", &folders), Some(5.0));
        assert_eq!(usage(FIRST, "4:memory:/\n", &folders), Some(21.0));
        assert_eq!(usage(FIRST, "4:memory:/not/here\n", &folders), Some(21.0));
        assert_eq!(usage("", "4:memory:/x\n", &[("/sys/fs/cgroup/memory/x", "5")]), Some(5.0), "the usual place");
    }

    // spec: metrics.md
    #[test]
    fn own_cgroup_of_version_2_is_read_before_the_mount_point() {
        let folders = [("/sys/fs/cgroup", "21"), ("/sys/fs/cgroup/a/b", "5")];
        assert_eq!(usage(SECOND, "0::/a/b\n", &folders), Some(5.0));
        assert_eq!(usage(SECOND, "0::/not/mounted/here\n", &folders), Some(21.0));
        assert_eq!(usage("", "", &folders), Some(21.0), "the usual place");
        let with_colon = [("/sys/fs/cgroup/a:b", "5")];
        assert_eq!(usage(SECOND, "0::/a:b\n", &with_colon), Some(5.0));
    }

    #[test]
    fn cgroup_mounted_as_root_is_found_by_its_path() {
        let mount = |root: &str| format!("31 25 0:27 {root} /mnt/mem rw - cgroup cgroup rw,memory\n");
        let folders = [("/mnt/mem", "5"), ("/mnt/mem/app", "3"), ("/mnt/mem/docker/1", "9")];
        assert_eq!(usage(&mount("/docker/1"), "4:memory:/docker/1\n", &folders), Some(5.0));
        assert_eq!(usage(&mount("/docker/1"), "4:memory:/docker/1/app\n", &folders), Some(3.0));
        assert_eq!(usage(&mount("/docker/1"), "4:memory:/docker/12\n", &folders), Some(5.0), "the mount point");
    }

    #[test]
    fn cgroups_outside_the_namespace_are_ignored() {
        let outside = [("/sys/fs/cgroup/../other", "9"), ("/sys/fs/other", "9"), ("/sys/fs/cgroup", "5")];
        assert_eq!(usage(SECOND, "0::/../other\n", &outside), Some(5.0));
        // the mount begins above the namespace: its own files are those of others
        let above = "31 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(usage(above, "0::/\n", &outside), None);
        assert_eq!(usage(above, "0::/../../app\n", &[("/sys/fs/cgroup/app", "3")]), Some(3.0));
    }

    #[test]
    fn hybrid_cgroup_setup_uses_the_version_with_the_memory_controller() {
        let unified = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let groups = "4:memory:/x\n0::/y\n";
        let first = [("/mnt/mem/x", "5"), ("/sys/fs/cgroup/unified/y", "9")];
        assert_eq!(usage(&format!("{FIRST}{unified}"), groups, &first), Some(5.0));
        assert_eq!(usage(&format!("{FIRST}{unified}"), "0::/y\n", &first[1..]), Some(9.0));
    }

    #[test]
    fn cgroup_mount_that_contains_the_group_is_used() {
        let mounts =
            "31 23 0:26 /else /mnt/a rw - cgroup2 cgroup2 rw\n32 23 0:26 / /mnt/b\\040c rw - cgroup2 cgroup2 rw\n";
        let folders = [("/mnt/a", "9"), ("/mnt/b c", "8"), ("/mnt/b c/own", "5")];
        assert_eq!(usage(mounts, "0::/own\n", &folders), Some(5.0));
    }

    #[test]
    fn no_limit_is_reported_where_there_is_none() {
        for unlimited in ["9223372036854771712", "9223372036854710272", "18446744073709551615", "max"] {
            let told = of(FIRST, "4:memory:/x\n", &|path| match path {
                "/mnt/mem/x/memory.limit_in_bytes" => Some(format!("{unlimited}\n")),
                "/mnt/mem/x/memory.usage_in_bytes" => Some("512\n".to_owned()),
                _ => None,
            });
            assert_eq!(told, [gauge(USAGE, 512.0)], "{unlimited}");
        }
        assert_eq!(of(FIRST, "", &|_| None), []);
    }
}
