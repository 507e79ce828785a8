//! Where the APM Server is.

use std::{fmt, net::IpAddr};

use super::{Kind, Reading, secret::HIDDEN, text::list};

/// An `http` or `https` URL, checked by the parser that the transport's client uses. Its path is a prefix that is kept:
/// an APM Server may stand behind a gateway. Prints without user and password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    /// Without a slash at its end.
    base: String,
    /// The same, fit for the eyes.
    shown: String,
    loopback: bool,
}

impl ServerUrl {
    /// None unless it is an absolute `http` or `https` URL without query and fragment.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut url = reqwest::Url::parse(text.trim()).ok()?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        let host = url.host_str()?;
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let loopback = address.map_or_else(|_| host == "localhost", |address| address.is_loopback());
        let base = url.as_str().trim_end_matches('/').to_owned();
        if !url.username().is_empty() || url.password().is_some() {
            url.set_password(None).ok()?;
            url.set_username(HIDDEN).ok()?;
        }
        let shown = url.as_str().trim_end_matches('/').replace("%2A", "*");
        Some(Self { base, shown, loopback })
    }

    /// The URL of a path of the server's API, which begins with a slash.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Certificates matter.
    pub(crate) fn is_https(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// This machine: no compression, no proxy.
    pub(crate) fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl Default for ServerUrl {
    /// `http://127.0.0.1:8200`
    fn default() -> Self {
        let base = "http://127.0.0.1:8200".to_owned();
        Self { shown: base.clone(), base, loopback: true }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The kind of [`ServerUrl`]. From code it comes as text, as users have it.
#[derive(Debug)]
pub(crate) struct Url;

impl Kind for Url {
    type Value = ServerUrl;
    type Code = String;
    const ALLOWED: &'static str = "an http or https URL without a query, such as `https://apm.example.com:8200`";

    fn read(text: &str) -> Reading<ServerUrl> {
        if text.trim().is_empty() {
            return Reading::Unset;
        }
        Reading::from_option(ServerUrl::parse(text))
    }

    fn check(code: &String) -> Reading<ServerUrl> {
        Self::read(code)
    }

    fn show(value: &ServerUrl) -> String {
        value.to_string()
    }

    fn show_text(text: &str) -> String {
        hide_secrets(text)
    }

    fn show_code(code: &String) -> String {
        hide_secrets(code)
    }
}

/// Several of them between commas.
#[derive(Debug)]
pub(crate) struct Urls;

impl Kind for Urls {
    type Value = Vec<ServerUrl>;
    type Code = Vec<String>;
    const ALLOWED: &'static str = "a list of http or https URLs without queries, between commas";

    fn read(text: &str) -> Reading<Vec<ServerUrl>> {
        Reading::from_option(list(text).map(ServerUrl::parse).collect())
    }

    fn check(code: &Vec<String>) -> Reading<Vec<ServerUrl>> {
        Reading::from_option(code.iter().map(|url| ServerUrl::parse(url)).collect())
    }

    fn show(value: &Vec<ServerUrl>) -> String {
        value.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    fn show_text(text: &str) -> String {
        list(text).map(hide_secrets).collect::<Vec<_>>().join(", ")
    }

    fn show_code(code: &Vec<String>) -> String {
        code.iter().map(|url| hide_secrets(url)).collect::<Vec<_>>().join(", ")
    }
}

/// Text that is no usable URL may still hold a password or, in a query, a token.
fn hide_secrets(text: &str) -> String {
    let (text, query) = match text.split_once(['?', '#']) {
        Some((text, _)) => (text, "?…"),
        None => (text, ""),
    };
    match text.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}{query}"),
        None => format!("{text}{query}"),
    }
}
