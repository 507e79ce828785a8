//! The URL for OTLP.

use super::{OptionType, Parsed, ServerUrl, Url};

/// A base URL, or the exact URL for traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtlpEndpoint {
    pub(crate) url: ServerUrl,
    /// The URL is used unchanged, and only for traces.
    pub(crate) is_for_traces_only: bool,
}

/// The option type of [`OtlpEndpoint`]. The option's own variable contains the URL for traces. The other variable and
/// code set a base URL.
#[derive(Debug)]
pub(crate) struct OtlpUrl;

fn endpoint(parsed: Parsed<ServerUrl>, is_for_traces_only: bool) -> Parsed<Option<OtlpEndpoint>> {
    match parsed {
        Parsed::Valid(url) | Parsed::Corrected(url) => Parsed::Valid(Some(OtlpEndpoint { url, is_for_traces_only })),
        Parsed::Invalid => Parsed::Invalid,
        Parsed::Unset => Parsed::Unset,
    }
}

impl OptionType for OtlpUrl {
    type Value = Option<OtlpEndpoint>;
    type Code = String;
    const ALLOWED: &'static str = "an http or https URL without a query, such as `https://apm.example.com:8200`";

    fn read(text: &str) -> Parsed<Self::Value> {
        endpoint(Url::read(text), true)
    }

    fn read_alias(text: &str) -> Parsed<Self::Value> {
        endpoint(Url::read(text), false)
    }

    fn check(code: &String) -> Parsed<Self::Value> {
        endpoint(Url::check(code), false)
    }

    fn show(value: &Self::Value) -> String {
        value.as_ref().map_or_else(String::new, |endpoint| endpoint.url.to_string())
    }

    fn show_text(text: &str) -> String {
        Url::show_text(text)
    }

    fn show_code(code: &String) -> String {
        Url::show_code(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_endpoint_variable_is_used_unchanged() {
        let url = "https://collector.example:4318/custom";
        let of =
            |parsed: Parsed<Option<OtlpEndpoint>>| parsed.valid().flatten().map(|endpoint| endpoint.is_for_traces_only);
        assert_eq!(of(OtlpUrl::read(url)), Some(true));
        assert_eq!(of(OtlpUrl::read_alias(url)), Some(false));
        assert_eq!(of(OtlpUrl::check(&url.to_owned())), Some(false));
        assert_eq!(OtlpUrl::read("collector:4317"), Parsed::Invalid);
    }
}
