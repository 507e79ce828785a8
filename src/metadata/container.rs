//! The ids of the container and of the pod, out of what Linux tells a process of itself. Pure.

/// What `/proc/self` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) id: Option<String>,
    pub(crate) pod_uid: Option<String>,
}

impl Container {
    /// From the contents of `/proc/self/cgroup` and of `/proc/self/mountinfo`. The second is the second choice: below
    /// some runtimes it names the pod's sandbox and not the container.
    pub(crate) fn find(cgroup: &str, mountinfo: &str) -> Self {
        let found = cgroup.lines().map(of_cgroup).find(|found| *found != Self::default());
        found.unwrap_or_else(|| Self { id: of_mountinfo(mountinfo), pod_uid: None })
    }
}

/// A line `id:controllers:path`.
fn of_cgroup(line: &str) -> Container {
    let Some(path) = line.splitn(3, ':').nth(2) else { return Container::default() };
    // containerd's form is `…/kubepods-….slice:cri-containerd:<id>`
    let Some((dir, base)) = path.trim_end().rsplit_once(':').or_else(|| path.trim_end().rsplit_once('/')) else {
        return Container::default();
    };
    let base = match base.strip_suffix(".scope") {
        // `docker-`, `crio-`, `cri-containerd-`
        Some(scope) => scope.rsplit_once('-').map_or(scope, |(_, id)| id),
        None => base,
    };
    let id = (!base.is_empty()).then(|| base.to_owned());
    match pod_uid(dir) {
        Some(uid) => Container { id, pod_uid: Some(uid) },
        None => Container { id: id.filter(|id| is_container_id(id)), pod_uid: None },
    }
}

/// `/kubepods/…/pod<uid>`, or `kubepods-…-pod<uid>.slice` with underscores in the uid.
fn pod_uid(dir: &str) -> Option<String> {
    if dir.starts_with("/kubepods")
        && !dir.contains(char::is_whitespace)
        && let Some(uid) =
            dir.rsplit('/').next().and_then(|last| last.strip_prefix("pod")).filter(|uid| !uid.is_empty())
    {
        return Some(uid.replace('_', "-"));
    }
    dir.split('/').find_map(|part| {
        let (_, below) = part.split_once("kubepods")?;
        let (named, _) = below.rsplit_once(".slice")?;
        let (_, uid) = named.rsplit_once("-pod").filter(|(_, uid)| !uid.is_empty())?;
        Some(uid.replace('_', "-"))
    })
}

fn is_hex(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// 64 hexadecimal digits, a UUID (its last group may be longer or shorter), or the form of ECS on Fargate.
fn is_container_id(id: &str) -> bool {
    let groups: Vec<_> = id.split('-').collect();
    match &groups[..] {
        [whole] => is_hex(whole, 64..=64),
        [task, number] => {
            is_hex(task, 32..=32)
                && (1..=10).contains(&number.len())
                && number.bytes().all(|byte| byte.is_ascii_digit())
        }
        [first, second, third, fourth, last] => {
            is_hex(first, 8..=8)
                && [second, third, fourth].iter().all(|group| is_hex(group, 4..=4))
                && is_hex(last, 4..=usize::MAX)
        }
        _ => false,
    }
}

/// The container's own `/etc/hostname` is mounted from a folder that is named after it.
fn of_mountinfo(mountinfo: &str) -> Option<String> {
    let line = mountinfo.lines().find(|line| line.contains("/etc/hostname"))?;
    let root = line.split_ascii_whitespace().nth(3)?;
    root.split(|c: char| !c.is_ascii_hexdigit()).find(|run| run.len() == 64).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2227daf62df6694645fee5df53c1f91271546a9560e8600a525690ae252b7f63";
    const UID: &str = "90d81341-92de-11e7-8cf2-507b9d4141fa";

    fn found(cgroup: &str) -> (Option<String>, Option<String>) {
        let Container { id, pod_uid } = Container::find(cgroup, "");
        (id, pod_uid)
    }

    // spec: metadata.md
    #[test]
    fn container_id_is_read_from_the_paths_of_each_runtime() {
        let slice = "90d81341_92de_11e7_8cf2_507b9d4141fa";
        for (line, id, pod) in [
            (format!("12:devices:/docker/{ID}"), Some(ID), false),
            (format!("1:name=systemd:/system.slice/docker-{ID}.scope"), Some(ID), false),
            (format!("11:cpu:/kubepods/besteffort/pod{UID}/{ID}"), Some(ID), true),
            (
                format!(
                    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/crio-{ID}.scope"
                ),
                Some(ID),
                true,
            ),
            (format!("0::/kubepods.slice/kubepods-pod{slice}.slice/cri-containerd-{ID}.scope"), Some(ID), true),
            (
                format!("1:x:/system.slice/containerd.service/kubepods-burstable-pod{slice}.slice:cri-containerd:{ID}"),
                Some(ID),
                true,
            ),
            (format!("1:x:/ecs/x/{}-1234567890", &ID[..32]), Some(&*format!("{}-1234567890", &ID[..32])), false),
            (format!("1:x:/garden/{UID}"), Some(UID), false),
            ("1:name=systemd:/user.slice/user-1000.slice/session-2.scope".to_owned(), None, false),
            ("0::/".to_owned(), None, false),
            ("".to_owned(), None, false),
            ("no colons".to_owned(), None, false),
        ] {
            assert_eq!(found(&line), (id.map(str::to_owned), pod.then(|| UID.to_owned())), "{line}");
        }
        let lines = format!("3:cpu:/\n2:memory:/docker/{ID}\n1:x:/docker/{}", ID.replace('2', "3"));
        assert_eq!(found(&lines).0.as_deref(), Some(ID), "the first line that tells");
    }

    // spec: metadata.md
    #[test]
    fn container_id_is_read_from_mountinfo_as_a_fallback() {
        let mounts = format!(
            "1 2 0:73 / / rw - overlay overlay rw,upperdir=/var/lib/docker/overlay2/{other}/diff\n\
             3 1 253:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda rw",
            other = ID.replace('2', "3"),
        );
        assert_eq!(Container::find("0::/", &mounts).id.as_deref(), Some(ID));
        let both = Container::find(&format!("0::/docker/{}", ID.replace('2', "3")), &mounts);
        assert_eq!(both.id, Some(ID.replace('2', "3")));
        assert_eq!(Container::find("0::/", "1 2 3 /etc/hostname").id, None);
    }

    // spec: metadata.md
    #[test]
    fn container_id_has_64_digits_or_the_form_of_a_uuid_or_of_fargate() {
        let digits = |count: usize| "0123456789abcdef".repeat(5)[..count].to_owned();
        for (id, valid) in [
            (digits(64), true),
            (digits(64).to_uppercase(), true),
            (digits(63), false),
            (digits(65), false),
            (digits(63) + "g", false),
            ("01234567-89ab-cdef-0123-456789abcdef".to_owned(), true),
            ("01234567-89ab-cdef-0123-4567".to_owned(), true),
            ("01234567-89ab-cdef-0123-456789abcdef0123".to_owned(), true),
            ("01234567-89ab-cdef-0123-456".to_owned(), false),
            ("0123456-89ab-cdef-0123-456789abcdef".to_owned(), false),
            ("012345678-89ab-cdef-0123-456789abcdef".to_owned(), false),
            ("01234567-89a-cdef-0123-456789abcdef".to_owned(), false),
            ("01234567-89ab-cdef0-0123-456789abcdef".to_owned(), false),
            ("01234567-89ab-cdef-012g-456789abcdef".to_owned(), false),
            ("01234567-89ab-cdef-0123-456789abcdeg".to_owned(), false),
            ("01234567-89ab-cdef-0123".to_owned(), false),
            ("01234567-89ab-cdef-0123-4567-89ab".to_owned(), false),
            (digits(32) + "-7", true),
            (digits(32) + "-0123456789", true),
            (digits(32) + "-01234567890", false),
            (digits(32) + "-", false),
            (digits(32) + "-7a", false),
            (digits(31) + "-7", false),
            (digits(33) + "-7", false),
            (digits(31) + "g-7", false),
            ("user".to_owned(), false),
        ] {
            let expected = valid.then(|| id.clone());
            assert_eq!(found(&format!("5:pids:/some/place/{id}")), (expected.clone(), None), "{id}");
            assert_eq!(found(&format!("5:pids:/a.slice/docker-{}.scope", digits(64))).0, Some(digits(64)));
            // the id is behind the last dash in a scope
            if !id.contains('-') {
                assert_eq!(found(&format!("5:pids:/a.slice/some-runtime-{id}.scope\n")), (expected, None), "{id}");
            }
        }
    }

    // spec: metadata.md
    #[test]
    fn pod_uid_is_in_the_folder_above_the_container() {
        let dashed = UID;
        let underscored = UID.replace('-', "_");
        for (line, id, uid) in [
            (format!("3:cpu:/kubepods/pod{dashed}/{ID}"), Some(ID), Some(dashed)),
            (format!("3:cpu:/kubepods/burstable/pod{underscored}/{ID}"), Some(ID), Some(dashed)),
            (
                format!("3:cpu:/kubepods.slice/kubepods-pod{underscored}.slice/docker-{ID}.scope"),
                Some(ID),
                Some(dashed),
            ),
            (
                format!("3:cpu:/kubepods.slice/kubepods-besteffort-pod{dashed}.slice/docker-{ID}.scope"),
                Some(ID),
                Some(dashed),
            ),
            // in a pod any name is taken for the container's id
            (format!("3:cpu:/kubepods/pod{dashed}/web-1"), Some("web-1"), Some(dashed)),
            (format!("3:cpu:/kubepods/pod{dashed}/"), None, Some(dashed)),
            (format!("3:cpu:/kubepods/pod/{ID}"), Some(ID), None),
            (format!("3:cpu:/kubepods/tripod{dashed}/{ID}"), Some(ID), None),
            (format!("3:cpu:/pods/pod{dashed}/{ID}"), Some(ID), None),
            (format!("3:cpu:/kube pods/pod{dashed}/{ID}"), Some(ID), None),
            (format!("3:cpu:/kubepods/a b/pod{dashed}/{ID}"), Some(ID), None),
            (format!("3:cpu:/a.slice/kubepods-pod.slice/{ID}"), Some(ID), None),
            (format!("3:cpu:/a.slice/kubepods-pod{dashed}/{ID}"), Some(ID), None),
            (format!("3:cpu:/a.slice/kubes-pod{dashed}.slice/{ID}"), Some(ID), None),
        ] {
            assert_eq!(found(&line), (id.map(str::to_owned), uid.map(str::to_owned)), "{line}");
        }
    }

    // spec: metadata.md
    #[test]
    fn cgroup_line_has_three_parts() {
        for (line, id) in [
            (format!("0::/docker/{ID}"), Some(ID)),
            (format!("12:cpu,cpuacct:/docker/{ID}  \r"), Some(ID)),
            (format!("12:cpu:/docker:{ID}"), Some(ID)),
            (format!("/docker/{ID}"), None),
            (format!("0:/docker/{ID}"), None),
            (format!("0::{ID}"), None),
        ] {
            assert_eq!(found(&line), (id.map(str::to_owned), None), "{line}");
        }
        let second = ID.replace('2', "4");
        assert_eq!(found(&format!("2:cpu:/\n1:pids:/docker/{second}\n0::/docker/{ID}")).0, Some(second));
    }

    // spec: metadata.md
    #[test]
    fn mount_of_etc_hostname_names_the_container() {
        let mounts = |root: &str, target: &str| format!("7 6 0:1 / / rw - tmpfs tmpfs rw\n8 7 0:2 {root} {target} rw");
        for (root, target, id) in [
            (format!("/var/lib/docker/containers/{ID}/hostname"), "/etc/hostname", Some(ID)),
            (format!("/containers/storage/{ID}/userdata/hostname"), "/etc/hostname", Some(ID)),
            (format!("/sandboxes/{ID}0/hostname"), "/etc/hostname", None),
            (format!("/sandboxes/{}/hostname", &ID[1..]), "/etc/hostname", None),
            (format!("/sandboxes/x{ID}y/hostname"), "/etc/hostname", Some(ID)),
            (format!("/var/lib/docker/containers/{ID}/hosts"), "/etc/hosts", None),
        ] {
            let container = Container::find("0::/", &mounts(&root, target));
            assert_eq!(container, Container { id: id.map(str::to_owned), pod_uid: None }, "{root} {target}");
        }
        assert_eq!(Container::find("", ""), Container::default());
    }

    #[test]
    #[ignore = "needs APM_SPEC_DIR"]
    fn container_ids_match_the_published_vectors() {
        let cases = crate::spec_folder::json("json-specs/container_metadata_discovery.json");
        for (name, case) in cases.as_object().unwrap() {
            let file = |path: &str| {
                let lines = case["files"][path].as_array().into_iter().flatten();
                lines.map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
            };
            let found = Container::find(&file("/proc/self/cgroup"), &file("/proc/self/mountinfo"));
            assert_eq!(found.id.as_deref(), case["containerId"].as_str(), "{name}");
            assert_eq!(found.pod_uid.as_deref(), case["podId"].as_str(), "{name}");
        }
    }
}
