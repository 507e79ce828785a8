//! Comments and Markdown use plain words, and documentation starts with a sentence.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Words that readers stumble over. Documentation says "records", "reports", "sends", "the caller" and the like.
const WORDS: &str =
    "tell, tells, told, beside, seldom, whoever, nobody, somebody, fate, stranger, for ever, by its own word";

/// Files and folders that still have findings.
const EXEMPT: &[&str] = &[
    "src/apm_server",
    "src/capture",
    "src/client",
    "src/devserver",
    "src/elastic",
    "src/intake",
    "src/internals",
    "src/log",
    "src/metadata",
    "src/metrics",
    "src/otel",
    "src/otlp",
    "src/pipeline",
    "src/propagation",
    "src/record",
    "src/sanitize",
    "src/semconv",
    "src/server",
    "src/stack",
    "src/testkit",
    "src/trace_context",
    "src/transaction",
];

/// Files and folders that are not checked.
const SKIPPED: &[&str] = &["target", "node_modules", ".git", "tests/wording.rs"];

/// The comment of a line, for each kind of file that is checked.
fn comment<'a>(line: &'a str, extension: &str) -> Option<&'a str> {
    match extension {
        "md" => Some(line),
        // not the slashes of a URL
        "rs" | "go" => line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':')).map(|(at, _)| &line[at..]),
        "sh" | "py" | "toml" | "yml" => line.trim_start().starts_with('#').then_some(line),
        _ => None,
    }
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_letter = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    text.match_indices(word)
        .any(|(at, _)| !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + word.len()..].chars().next()))
}

/// The first lines of documentation of modules and public items that are not a sentence, with their numbers.
fn fragments(source: &str) -> Vec<(usize, &str)> {
    let lines: Vec<_> = source.lines().map(str::trim_start).collect();
    let doc = |line: usize| lines.get(line).and_then(|line| line.strip_prefix("///").or(line.strip_prefix("//!")));
    let is_public = |line: usize| {
        let mut item = lines[line..].iter().skip_while(|line| line.starts_with("///") || line.starts_with('#'));
        lines[line].starts_with("//!") || item.next().is_some_and(|item| item.starts_with("pub "))
    };
    let is_sentence = |text: &str| text.ends_with(['.', ':', '?']) || text.starts_with("```") || text.starts_with('#');
    let first = (0..lines.len()).filter(|line| doc(*line).is_some() && (*line == 0 || doc(line - 1).is_none()));
    let first = first.filter(|line| is_public(*line)).map(|line| (line + 1, doc(line).unwrap().trim()));
    first.filter(|(_, text)| !is_sentence(text)).collect()
}

fn findings(text: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let comment = comment(line, extension).unwrap_or_default().to_lowercase();
        let words = WORDS.split(", ").filter(|word| contains_word(&comment, word));
        found.extend(words.map(|word| format!("{}: \"{word}\"", number + 1)));
    }
    if extension == "rs" {
        found.extend(fragments(text).iter().map(|(number, line)| format!("{number}: no sentence: {line}")));
    }
    found
}

/// Adds the findings of all files below a folder, by path relative to the root.
fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<String>>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let relative = path.strip_prefix(root).unwrap();
        let name = path.file_name().unwrap();
        if SKIPPED.iter().any(|skipped| relative == Path::new(skipped) || name == *skipped) {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, found);
        } else if let (Some(extension), Ok(text)) = (path.extension(), fs::read_to_string(&path)) {
            found.insert(relative.to_owned(), findings(&text, &extension.to_string_lossy()));
        }
    }
}

#[test]
fn comments_and_markdown_use_plain_words_and_sentences() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found.retain(|_, findings| !findings.is_empty());
    let needless: Vec<_> = EXEMPT.iter().filter(|exempt| !found.keys().any(|path| path.starts_with(exempt))).collect();
    found.retain(|path, _| !EXEMPT.iter().any(|exempt| path.starts_with(exempt)));
    assert!(found.is_empty(), "wording (see the list of words in this test): {found:#?}");
    assert!(needless.is_empty(), "these paths have no findings and must not be exempt: {needless:?}");
}

#[test]
fn findings_are_words_in_comments_and_fragments() {
    let source = "//! A title\n\n/// Told.\nfn told() {} // it TELLS\nlet url = \"http://nobody\";\n/// No sentence\npub fn a() {}\n";
    let found = ["3: \"told\"", "4: \"tells\"", "1: no sentence: A title", "6: no sentence: No sentence"];
    assert_eq!(findings(source, "rs"), found);
    assert_eq!(findings("foretold, retell", "md"), [""; 0]);
}
