//! Free text, lists of text, paths and the name of the service.

use std::path::PathBuf;

use super::{OptionType, Parsed};

/// Returns the items of a list that is separated by commas, without surrounding blanks and without empty items.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Any text. Surrounding blanks are removed.
#[derive(Debug)]
pub(crate) struct Text;

impl OptionType for Text {
    type Value = Option<String>;
    type Code = String;
    const ALLOWED: &'static str = "text";

    fn read(text: &str) -> Parsed<Self::Value> {
        match text.trim() {
            "" => Parsed::Unset,
            text => Parsed::Valid(Some(text.to_owned())),
        }
    }

    fn check(code: &String) -> Parsed<Self::Value> {
        Self::read(code)
    }

    fn show(value: &Self::Value) -> String {
        value.clone().unwrap_or_default()
    }

    fn show_code(code: &String) -> String {
        code.clone()
    }
}

/// The path of a file. The file is not opened here.
#[derive(Debug)]
pub(crate) struct Path;

impl OptionType for Path {
    type Value = Option<PathBuf>;
    type Code = PathBuf;
    const ALLOWED: &'static str = "the path of a file";

    fn read(text: &str) -> Parsed<Self::Value> {
        if text.is_empty() { Parsed::Unset } else { Parsed::Valid(Some(text.into())) }
    }

    fn check(code: &PathBuf) -> Parsed<Self::Value> {
        if code.as_os_str().is_empty() { Parsed::Unset } else { Parsed::Valid(Some(code.clone())) }
    }

    fn show(value: &Self::Value) -> String {
        value.as_ref().map_or_else(String::new, |path| path.display().to_string())
    }

    fn show_code(code: &PathBuf) -> String {
        code.display().to_string()
    }
}

/// The name of the service, `^[a-zA-Z0-9 _-]+$` as the server requires. Other characters become `_`, with a warning. The
/// default is the name of the executable.
#[derive(Debug)]
pub(crate) struct ServiceName;

const MAX_SERVICE_NAME: usize = 1024;

impl OptionType for ServiceName {
    type Value = String;
    type Code = String;
    const ALLOWED: &'static str =
        "1 to 1024 letters, digits, blanks, `_` and `-`, at least one of them a letter or digit";

    fn read(text: &str) -> Parsed<String> {
        let text = text.trim();
        match Self::correct(text) {
            _ if text.is_empty() => Parsed::Unset,
            None => Parsed::Invalid,
            Some(corrected) if corrected == text => Parsed::Valid(corrected),
            Some(corrected) => Parsed::Corrected(corrected),
        }
    }

    fn check(code: &String) -> Parsed<String> {
        Self::read(code)
    }

    fn show(value: &String) -> String {
        value.clone()
    }

    fn show_code(code: &String) -> String {
        code.clone()
    }

    fn default_value(text: &str) -> String {
        let executable = std::env::current_exe().ok();
        let stem = executable.as_deref().and_then(std::path::Path::file_stem);
        stem.and_then(|stem| Self::correct(&stem.to_string_lossy())).unwrap_or_else(|| text.to_owned())
    }
}

impl ServiceName {
    /// Replaces characters that are not allowed. Returns None if the name contains no letter and no digit.
    fn correct(name: &str) -> Option<String> {
        let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, ' ' | '_' | '-');
        let corrected: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).take(MAX_SERVICE_NAME).collect();
        corrected.contains(|c: char| c.is_ascii_alphanumeric()).then_some(corrected)
    }
}
