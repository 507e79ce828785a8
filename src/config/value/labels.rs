//! Mappings: `key=value` pairs, separated by commas.

use super::{OptionType, Parsed};

/// Labels of every event of the service.
#[derive(Debug)]
pub(crate) struct Labels;

impl OptionType for Labels {
    type Value = Vec<(String, String)>;
    type Code = Vec<(String, String)>;
    const ALLOWED: &'static str = "a list of `key=value` pairs separated by commas, such as region=eu,team=market";

    fn read(text: &str) -> Parsed<Self::Value> {
        Parsed::from_option(mapping(text))
    }

    fn check(code: &Self::Code) -> Parsed<Self::Value> {
        Parsed::from_option(code.iter().all(|(key, _)| !key.trim().is_empty()).then(|| code.clone()))
    }

    fn show(value: &Self::Value) -> String {
        value.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    }

    fn show_code(code: &Self::Code) -> String {
        Self::show(code)
    }
}

/// Returns the pairs of a mapping in their order. A value can contain `=`. Returns None if an item has no key or no `=`.
pub(super) fn mapping(text: &str) -> Option<Vec<(String, String)>> {
    super::text::list(text)
        .map(|item| {
            let (key, value) = item.split_once('=')?;
            let key = key.trim_end();
            (!key.is_empty()).then(|| (key.to_owned(), value.trim_start().to_owned()))
        })
        .collect()
}
