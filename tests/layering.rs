//! Imports between the crate's modules point down one list, and sideways only where the list says so.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// From the bottom up. Modules of one row do not import each other, but for the pairs in [`SIDEWAYS`].
const LEVELS: &[&[&str]] = &[
    &["error", "record"],
    &["config", "sanitize", "semconv", "stack", "transport"],
    &["propagation", "pipeline", "apm_server", "metadata"],
    &["transaction"],
    &["otel"],
    &["background", "capture", "trace_context"],
    &["server", "client", "metrics", "log"],
    &["elastic"],
    &["intake", "otlp"],
    &["agent"],
    &["devserver", "testkit"],
    &["internals"],
];

/// Who may import whom beside the rule.
const SIDEWAYS: &[(&str, &str)] = &[
    // only re-exports its public types
    ("otel", "metrics"),
    ("sanitize", "config"),
    ("semconv", "sanitize"),
    ("testkit", "devserver"),
];

/// The exporters know records, options and the pipeline, and nothing of the half that watches requests.
const BACK_HALF: &[&str] = &["elastic", "intake", "otlp"];
const BACK_HALF_MAY_USE: &[&str] = &[
    "error",
    "record",
    "config",
    "sanitize",
    "semconv",
    "stack",
    "propagation",
    "pipeline",
    "apm_server",
    "transport",
    "elastic",
];

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a file's code names: `crate::x` and the first names within `crate::{x, y}`.
fn imports(source: &str) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .take_while(|line| !line.contains("#[cfg(test)]"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|char| char.is_alphanumeric() || char == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        let mut depth = 0;
        found.insert(name(group));
        for (at, char) in group.char_indices() {
            match char {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => drop(found.insert(name(&group[at + 1..]))),
                _ => {}
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn imports_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut faults, mut seen) = (Vec::new(), 0);
    for file in &files {
        let relative = file.strip_prefix(&root).unwrap();
        let is_test = relative.to_string_lossy().contains("test") && !relative.starts_with("testkit");
        let first = relative.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        let Some(from) = level(&first).filter(|_| !is_test) else {
            assert!(
                is_test || ["docs", "lib", "logged", "spec_folder"].contains(&&*first),
                "{first} has no place in the list"
            );
            continue;
        };
        for import in imports(&fs::read_to_string(file).unwrap()) {
            let Some(to) = level(&import) else { continue };
            seen += 1;
            let allowed = import == first || to < from || SIDEWAYS.contains(&(&*first, &*import));
            let half = !BACK_HALF.contains(&&*first) || import == first || BACK_HALF_MAY_USE.contains(&&*import);
            if !allowed || !half {
                faults.push(format!("{} imports {import}", relative.display()));
            }
        }
    }
    assert!(seen > 50, "the test sees imports at all ({seen})");
    assert!(faults.is_empty(), "imports that do not point down:\n{}", faults.join("\n"));
}

#[test]
fn imports_are_read_as_they_are_written() {
    let source = "use crate::{a::{x, y}, b,\n    c::Z};\nfn f() { crate::d::g(); my_crate::e(); }\n// crate::f\n";
    assert_eq!(imports(source), ["a", "b", "c", "d"].map(String::from).into());
}
