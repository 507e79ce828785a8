//! Checks that `src/docs/options.md` matches the table of options.
//!
//! `TOWER_APM_UPDATE_DOCS=1 cargo test --all-features --lib config::reference` updates the file.

use std::{env, fs, path::Path};

use super::{
    not_offered::NOT_OFFERED,
    resolve::{OPTIONS, OptionRow},
};

const BEGIN: &str = "<!-- generated from src/config/options.rs: begin -->\n";
const BEGIN_NOT_OFFERED: &str = "<!-- generated from src/config/not_offered.rs: begin -->\n";
const END: &str = "<!-- end -->\n";

fn row(option: &OptionRow) -> String {
    let cell = |text: &str| text.trim().replace('|', "\\|");
    let default = match option.default.split(',').collect::<Vec<_>>()[..] {
        [""] => String::new(),
        // a long list of numbers would make the column too wide
        [first, second, .., last] if option.default.len() > 200 && !option.default.contains(' ') => {
            format!("`{first},{second},…,{last}`")
        }
        _ => format!("`{}`", cell(option.default)),
    };
    let variables = match option.variables {
        [own] if own.starts_with("ELASTIC_APM_") => String::new(),
        [own, others @ ..] if own.starts_with("ELASTIC_APM_") => format!(" Also set by `{}`.", others.join("`, `")),
        all => format!(" Variables: `{}`.", all.join("`, `")),
    };
    let attributes = option.attributes.iter().map(|attribute| format!("`{attribute}`")).collect::<Vec<_>>();
    let otel = match attributes.is_empty() {
        true => String::new(),
        false => format!(" Fallback: OpenTelemetry's {}.", attributes.join(", ")),
    };
    let live = if option.live { "yes" } else { "" };
    format!(
        "| `{}` | {default} | {live} | {} | {}{variables}{otel} |\n",
        option.name,
        cell(option.allowed),
        cell(option.doc),
    )
}

fn with_table(text: &str, begin: &str, table: &str) -> String {
    let (before, rest) = text.split_once(begin).expect("the table's beginning is marked");
    let (_, after) = rest.split_once(END).expect("the table's end is marked");
    format!("{before}{begin}{table}{END}{after}")
}

#[test]
fn option_reference_matches_the_option_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/docs/options.md");
    let text = fs::read_to_string(&path).unwrap();
    let rows: String = OPTIONS.iter().map(row).collect();
    let table = format!("| option | default | central | allowed values | description |\n|---|---|---|---|---|\n{rows}");
    let expected = with_table(&text, BEGIN, &table);
    let rows: String = NOT_OFFERED.iter().map(|(name, instead)| format!("| `{name}` | {instead} |\n")).collect();
    let table = format!("| option | reason or alternative |\n|---|---|\n{rows}");
    let expected = with_table(&expected, BEGIN_NOT_OFFERED, &table);
    if env::var_os("TOWER_APM_UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
    } else {
        assert!(
            text == expected,
            "src/docs/options.md does not match the table of options: see the head of this test's file"
        );
    }
}
