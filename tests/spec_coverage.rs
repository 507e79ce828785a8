//! Each section and each trap of the digest of Elastic's agent specification has a test that is named after it, or a
//! reason why it has none: `section_8_2_trap_30_…`, `section_8_1_and_8_2_…`, `…_traps_6_7_…`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The number of the last section of each chapter.
const LAST_SECTIONS: [u32; 14] = [6, 8, 8, 9, 7, 9, 6, 4, 5, 7, 5, 5, 4, 6];

/// Sections that ask for nothing that this agent does.
const EXEMPT_SECTIONS: &[((u32, u32), &str)] = &[
    ((6, 8), "GraphQL, processes, templates and web sockets of a client have no instrumentation here"),
    ((10, 7), "there are no metrics of the runtime"),
    ((11, 5), "`host_id` serves universal profiling only"),
    ((14, 3), "GraphQL has no instrumentation"),
    ((14, 4), "inferred spans, profiling and functions are not for a service of axum's"),
];

const TRAPS: std::ops::RangeInclusive<u32> = 1..=48;

/// Traps that nobody can fall into here.
const EXEMPT_TRAPS: &[(u32, &str)] =
    &[(13, "a batch is whole before its request begins, so no request is open for `api_request_time`")];

/// What the names of tests speak of.
#[derive(Default)]
struct Named {
    sections: BTreeMap<(u32, u32), Vec<String>>,
    traps: BTreeMap<u32, Vec<String>>,
}

impl Named {
    /// `section_4_2_traps_6_7_…`: what belongs to it are the numbers that follow the word.
    fn add(&mut self, name: &str) {
        let mut parts = name.split('_').peekable();
        let mut in_section = false;
        while let Some(part) = parts.next() {
            // `section_8_1_and_8_2`
            in_section = part == "section" || (in_section && part == "and");
            if !in_section && part != "trap" && part != "traps" {
                continue;
            }
            let mut numbers = Vec::new();
            while let Some(number) = parts.peek().and_then(|part| part.parse().ok()) {
                numbers.push(number);
                parts.next();
            }
            match (in_section, &numbers[..]) {
                (true, [chapter, section, ..]) => {
                    self.sections.entry((*chapter, *section)).or_default().push(name.to_owned());
                }
                (true, _) => {}
                (false, traps) => {
                    traps.iter().for_each(|trap| self.traps.entry(*trap).or_default().push(name.to_owned()));
                }
            }
        }
    }
}

fn tests_of(source: &str) -> Vec<&str> {
    let mut is_test = false;
    let mut found = Vec::new();
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && let Some(name) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ") {
            found.push(name.split('(').next().unwrap_or(name));
            is_test = false;
        }
    }
    found
}

fn walk(folder: &Path, named: &mut Named) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            walk(&path, named);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            // the rules for a server have a count of their own
            let tests = tests_of(&source).into_iter().filter(|name| !name.starts_with("otlp_section_"));
            tests.for_each(|name| named.add(name));
        }
    }
}

fn named() -> Named {
    let mut named = Named::default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["src", "tests"].iter().for_each(|folder| walk(&root.join(folder), &mut named));
    named
}

/// The faults of what is named, where it should be all of `wanted` but for `exempt`.
fn faults<K: Ord + Copy + std::fmt::Debug>(
    named: &BTreeMap<K, Vec<String>>,
    wanted: impl IntoIterator<Item = K>,
    exempt: &[(K, &str)],
) -> Vec<String> {
    let wanted: BTreeSet<K> = wanted.into_iter().collect();
    let exempt: BTreeSet<K> = exempt.iter().map(|(key, _)| *key).collect();
    let missing = wanted.iter().filter(|key| !exempt.contains(key) && !named.contains_key(key));
    let missing = missing.map(|key| format!("{key:?} has no test"));
    let unknown = named.iter().filter(|(key, _)| !wanted.contains(key));
    let unknown = unknown.map(|(key, tests)| format!("{key:?} does not exist: {tests:?}"));
    let needless = named.iter().filter(|(key, _)| exempt.contains(key));
    let needless = needless.map(|(key, tests)| format!("{key:?} is exempt no longer: {tests:?}"));
    missing.chain(unknown).chain(needless).collect()
}

#[test]
fn each_section_has_tests_that_are_named_after_it() {
    let sections =
        (1..).zip(LAST_SECTIONS).flat_map(|(chapter, last)| (1..=last).map(move |section| (chapter, section)));
    assert_eq!(faults(&named().sections, sections, EXEMPT_SECTIONS), [""; 0]);
}

#[test]
fn each_trap_has_a_test_that_is_named_after_it() {
    assert_eq!(faults(&named().traps, TRAPS, EXEMPT_TRAPS), [""; 0]);
}

#[test]
fn names_are_read_as_they_are_meant() {
    let mut named = Named::default();
    let tests = "#[test]\nfn section_8_1_and_8_2_trap_1_two_and_3_more() {}\n    #[tokio::test(flavor = \"current_thread\")]\n    \
                 async fn section_4_2_traps_6_7_of_2() {}\n#[test]\n#[ignore]\nfn section_6_6_1_x() {}\nfn section_9_9() {}\n\
                 #[test]\nfn section_12_long() {}\n#[test]\nfn trap_34_a_clock() {}\n";
    tests_of(tests).into_iter().for_each(|name| named.add(name));
    assert_eq!(named.sections.into_keys().collect::<Vec<_>>(), [(4, 2), (6, 6), (8, 1), (8, 2)]);
    assert_eq!(named.traps.into_keys().collect::<Vec<_>>(), [1, 6, 7, 34]);
    let none = BTreeMap::from([(2, vec!["two".to_owned()]), (3, Vec::new())]);
    assert_eq!(faults(&none, [1, 2], &[(2, "why")]).len(), 3);
}
