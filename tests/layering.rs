//! Imports between the crate's modules point down one list, or sideways as listed.

use std::{
    collections::{BTreeMap, BTreeSet},
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

/// Imports that are allowed in addition to the rule.
const SIDEWAYS: &[(&str, &str)] = &[
    // only re-exports its public types
    ("otel", "metrics"),
    ("sanitize", "config"),
    ("semconv", "sanitize"),
    ("testkit", "devserver"),
];

/// The exporters use records, options and the pipeline, but nothing of the half that observes requests.
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
fn import_parser_reads_groups_and_skips_comments() {
    let source = "use crate::{a::{x, y}, b,\n    c::Z};\nfn f() { crate::d::g(); my_crate::e(); }\n// crate::f\n";
    assert_eq!(imports(source), ["a", "b", "c", "d"].map(String::from).into());
}

/// Folders whose files import each other without a circle.
const FOLDERS: &[&str] =
    &["transaction", "otel", "semconv", "elastic", "server", "pipeline", "intake", "otlp", "devserver"];

/// Imports that close a circle all the same, as file and imported file. These two folders are yet to be untangled.
const CIRCULAR: &[(&str, &str)] = &[
    ("devserver::server", "devserver::agent_config"),
    ("devserver::server", "devserver::api"),
    ("devserver::server", "devserver::builder"),
    ("devserver::server", "devserver::intake"),
    ("devserver::server", "devserver::origin"),
    ("devserver::server", "devserver::requests"),
    ("devserver::server", "devserver::server_info"),
    ("devserver::otlp::grpc", "devserver::otlp::http"),
    ("devserver::otlp::budget", "devserver::otlp::receive"),
    ("otlp::batch", "otlp::pack"),
];

/// Modules by path, such as `otel::span`. A folder's module is its `mod.rs`.
type Modules = BTreeMap<String, Module>;

#[derive(Default)]
struct Module {
    /// Whole paths, from the crate's root.
    imports: BTreeSet<String>,
    /// Names that the module re-exports, with the path of the item.
    exports: BTreeMap<String, String>,
}

fn module_path(relative: &Path) -> String {
    let path = relative.with_extension("").to_string_lossy().replace('/', "::");
    path.strip_suffix("::mod").map(str::to_owned).unwrap_or(path)
}

/// The paths of a `use` tree, each with the name under which the item is known.
fn expand(prefix: &str, tree: &str, found: &mut Vec<(String, String)>) {
    let tree = tree.trim();
    if let Some((before, group)) = tree.split_once('{') {
        let (mut depth, mut start) = (0, 0);
        let group = group.strip_suffix('}').unwrap_or(group);
        for (at, char) in group.char_indices().chain([(group.len(), ',')]) {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&format!("{prefix}{}", before.trim()), &group[start..at], found);
                    start = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let (path, alias) = tree.split_once(" as ").unwrap_or((tree, tree));
    let path = format!("{prefix}{path}");
    let path = path.strip_suffix("::self").unwrap_or(&path);
    let name = if tree == "self" { path } else { alias }.rsplit("::").next().unwrap_or_default();
    if !tree.is_empty() {
        found.push((path.to_owned(), name.trim().to_owned()));
    }
}

/// A path as seen from the crate's root; `None` for other crates.
fn absolute(path: &str, module: &str) -> Option<String> {
    if let Some(rest) = path.strip_prefix("crate::") {
        return Some(rest.to_owned());
    }
    let (mut base, mut rest) = (module, path.strip_prefix("self::").unwrap_or(path));
    let is_relative = rest != path || path.starts_with("super::");
    while let Some(below) = rest.strip_prefix("super::") {
        (base, rest) = (base.rsplit_once("::").map_or("", |(above, _)| above), below);
    }
    is_relative.then(|| if base.is_empty() { rest.to_owned() } else { format!("{base}::{rest}") })
}

fn read_module(source: &str, path: &str) -> Module {
    let mut module = Module::default();
    let lines = source.lines().take_while(|line| !line.starts_with("#[cfg(test)]") || line.contains("use "));
    let code: String =
        lines.filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect();
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        let is_start = |at: &usize| *at == 0 || statement[..*at].ends_with(['\n', ' ', ')']);
        let Some(at) = statement.match_indices("use ").map(|(at, _)| at).find(is_start) else {
            rest.push_str(statement);
            continue;
        };
        let is_export = statement[..at].trim_end().ends_with(['b', ')']);
        let mut found = Vec::new();
        let tree =
            statement[at + "use ".len()..].trim_end_matches(';').split_whitespace().collect::<Vec<_>>().join(" ");
        expand("", &tree, &mut found);
        for (import, name) in found {
            let Some(import) = absolute(&import, path) else { continue };
            if is_export {
                module.exports.insert(name, import);
            } else {
                module.imports.insert(import);
            }
        }
    }
    let is_path = |char: char| char.is_alphanumeric() || matches!(char, '_' | ':');
    for word in rest.split(|char| !is_path(char)) {
        if word.starts_with("crate::") || word.starts_with("super::") {
            module.imports.extend(absolute(word, path));
        }
    }
    module
}

/// The module in which an item is defined, or the module itself.
fn home(path: &str, modules: &Modules) -> Option<String> {
    let mut at = path.to_owned();
    while !modules.contains_key(&at) {
        at = at.rsplit_once("::")?.0.to_owned();
    }
    let name = path[at.len()..].trim_start_matches("::").split("::").next().unwrap_or_default();
    match modules[&at].exports.get(name) {
        Some(exported) if exported != path => home(exported, modules),
        _ => Some(at),
    }
}

#[test]
fn files_of_a_folder_import_each_other_without_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut modules = Modules::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        if !relative.to_string_lossy().contains("test") || relative.starts_with("testkit") {
            let path = module_path(relative);
            modules.insert(path.clone(), read_module(&fs::read_to_string(&file).unwrap(), &path));
        }
    }
    let mut edges = BTreeMap::<&str, BTreeSet<String>>::new();
    for (path, module) in &modules {
        let folder = path.split("::").next().unwrap();
        let is_beside = |to: &String| to != path && to.split("::").next() == Some(folder);
        let is_listed = |to: &String| CIRCULAR.contains(&(path, to));
        let homes = module.imports.iter().filter_map(|import| home(import, &modules));
        let homes: BTreeSet<_> = homes.filter(|to| is_beside(to) && !is_listed(to)).collect();
        if FOLDERS.contains(&folder) && !homes.is_empty() {
            edges.insert(path, homes);
        }
    }
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(at) = open.pop() {
            if at == to {
                return true;
            }
            open.extend(edges.get(at).into_iter().flatten().map(String::as_str).filter(|next| seen.insert(*next)));
        }
        false
    };
    let seen: usize = edges.values().map(BTreeSet::len).sum();
    let imports = edges.iter().flat_map(|(from, all)| all.iter().map(move |to| (*from, to.as_str())));
    let circular: Vec<_> =
        imports.filter(|(from, to)| reaches(to, from)).map(|(from, to)| format!("{from} imports {to}")).collect();
    assert!(seen > 100, "the test sees imports at all ({seen})");
    assert!(circular.is_empty(), "imports that close a circle:\n{}", circular.join("\n"));
}
