//! The option reference is what the table says: `TOWER_APM_UPDATE_DOCS=1 cargo test --lib option_reference` writes it anew.

use std::{env, fs, path::Path};

use super::{
    not_offered::NOT_OFFERED,
    resolve::{OPTIONS, OptionRow},
};

const BEGIN: &str = "<!-- made from the table of options: begin -->\n";
const BEGIN_NOT_OFFERED: &str = "<!-- made from the list of what is not offered: begin -->\n";
const END: &str = "<!-- end -->\n";

fn row(option: &OptionRow) -> String {
    let cell = |text: &str| text.trim().replace('|', "\\|");
    let default = if option.default.is_empty() { String::new() } else { format!("`{}`", cell(option.default)) };
    let aliases = option.variables[1..].iter().map(|alias| format!(" Also set by `{alias}`."));
    let attributes = option.attributes.iter().map(|attribute| format!("`{attribute}`")).collect::<Vec<_>>();
    let otel = match attributes.is_empty() {
        true => String::new(),
        false => format!(" If it is not set: OpenTelemetry's {}.", attributes.join(", ")),
    };
    let live = if option.live { "yes" } else { "" };
    format!(
        "| `{}` | {default} | {live} | {} Value: {}.{}{otel} |\n",
        option.name,
        cell(option.doc),
        cell(option.allowed),
        aliases.collect::<String>(),
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
    let table = format!("| option | default | central | what it is |\n|---|---|---|---|\n{rows}");
    let expected = with_table(&text, BEGIN, &table);
    let rows: String = NOT_OFFERED.iter().map(|(name, instead)| format!("| `{name}` | {instead} |\n")).collect();
    let table = format!("| option | why not, or what instead |\n|---|---|\n{rows}");
    let expected = with_table(&expected, BEGIN_NOT_OFFERED, &table);
    if env::var_os("TOWER_APM_UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
    } else {
        assert!(text == expected, "src/docs/options.md is not what the table says: see the head of this test's file");
    }
}
