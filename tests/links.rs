//! Links in Markdown work on docs.rs and on the repository's host, and lead to something that exists.

use std::{
    fs,
    path::{Path, PathBuf},
};

const DOCS_RS: &str = "https://docs.rs/tower-apm/latest/tower_apm/";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the files with this extension below a folder.
fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["target", "node_modules", ".git"].contains(&&*name) {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
}

/// Returns the text without code blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// Returns the targets of `[text](target)`, and of `[text]: target` at the start of a line.
fn targets(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    let inline = prose.clone().flat_map(|part| part.split("](").skip(1));
    let inline = inline.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let definitions = prose.flat_map(str::lines).filter(|line| line.starts_with('['));
    inline.chain(definitions.filter_map(|line| line.split_once("]: ").map(|(_, target)| target))).collect()
}

/// Returns the anchors of the headings, as rustdoc and the repository's host derive them.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).lines().filter(|line| line.starts_with('#')).map(str::to_lowercase).collect::<Vec<_>>();
    let kept = |char: &char| char.is_alphanumeric() || " -_".contains(*char);
    headings
        .iter()
        .map(|line| line.trim_start_matches(['#', ' ']).chars().filter(kept).collect::<String>())
        .map(|text| text.replace(' ', "-"))
        .collect()
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_letter = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    let is_whole =
        |at: usize| !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + word.len()..].chars().next());
    text.match_indices(word).any(|(at, _)| is_whole(at))
}

/// Returns the reason why a page of this crate on docs.rs does not exist. `page` is relative to the crate's page.
fn missing(page: &str, exports: &str, sources: &str) -> Option<String> {
    let (path, anchor) = page.split_once('#').unwrap_or((page, ""));
    let (module, file) = path.rsplit_once('/').unwrap_or(("", path));
    let item = file.strip_suffix(".html").and_then(|file| file.split_once('.'));
    if let Some(guide) = module.strip_prefix("docs/") {
        let Ok(text) = fs::read_to_string(root().join(format!("src/docs/{guide}.md"))) else {
            return Some(format!("no guide {guide}"));
        };
        return (!anchor.is_empty() && !anchors(&text).iter().any(|known| known == anchor))
            .then(|| format!("no heading #{anchor} in the guide {guide}"));
    }
    let exported = module.split('/').chain(item.filter(|_| module.is_empty()).map(|(_, name)| name));
    let mut unknown: Vec<_> = exported.filter(|name| !name.is_empty() && !contains_word(exports, name)).collect();
    let member = anchor.split_once('.').map(|(_, name)| name);
    unknown.extend(item.map(|(_, name)| name).into_iter().chain(member).filter(|name| !contains_word(sources, name)));
    (!unknown.is_empty()).then(|| format!("no {}", unknown.join(", ")))
}

#[test]
fn links_in_markdown_have_targets() {
    let (mut markdown, mut sources) = (Vec::new(), Vec::new());
    files(root(), "md", &mut markdown);
    files(&root().join("src"), "rs", &mut sources);
    let sources: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let exports = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut wrong = Vec::new();
    for path in markdown {
        let text = fs::read_to_string(&path).unwrap();
        let is_guide = path.starts_with(root().join("src/docs"));
        for target in targets(&text) {
            let reason = if let Some(page) = target.strip_prefix(DOCS_RS) {
                missing(page, &exports, &sources)
            } else if target.starts_with("crate::")
                || target.starts_with("super::")
                || target.starts_with("tower_apm::")
            {
                Some("works only in rustdoc".to_owned())
            } else if let Some(anchor) = target.strip_prefix('#') {
                (!anchors(&text).iter().any(|known| known == anchor)).then(|| "no such heading".to_owned())
            } else if target.contains("://") || target.starts_with("mailto:") {
                None
            } else if is_guide {
                Some("a relative link does not work on docs.rs".to_owned())
            } else {
                let file = path.parent().unwrap().join(target.split('#').next().unwrap());
                (!file.exists()).then(|| "no such file".to_owned())
            };
            wrong.extend(reason.map(|reason| format!("{}: {target}: {reason}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn wrong_links_are_found() {
    let text = "[a](crate::A) and [`b`]\n\n```text\n[c](c)\n```\n\n## Why, `and` how\n\n[`b`]: https://b\n";
    assert_eq!(targets(text), ["crate::A", "https://b"]);
    assert_eq!(anchors(text), ["why-and-how"]);
    let missing = |page| missing(page, "pub use Agent; pub mod docs;", "struct Agent; fn flush() {}");
    assert_eq!(missing("struct.Agent.html#method.flush"), None);
    assert_eq!(missing("struct.Agent.html#method.drop").as_deref(), Some("no drop"));
    assert_eq!(missing("struct.Secret.html").as_deref(), Some("no Secret, Secret"));
    assert_eq!(missing("docs/errors/index.html#log-lines"), None);
    assert_eq!(
        missing("docs/errors/index.html#no-heading").as_deref(),
        Some("no heading #no-heading in the guide errors")
    );
    assert_eq!(missing("docs/none/index.html").as_deref(), Some("no guide none"));
}
