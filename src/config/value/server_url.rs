//! The URLs of APM Servers.

use std::{fmt, net::IpAddr};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Uri};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{OptionType, Parsed, secret::HIDDEN, text::list};

/// Characters that are percent-encoded in a path. A `%` stays: the path may be encoded already.
const NOT_IN_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// An `http` or `https` URL. Its path is a prefix that is kept, because an APM Server can be behind a gateway. `Debug`
/// and `Display` print it without user and password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    /// Scheme, host, port and path, without a slash at the end, and without user and password.
    base: String,
    /// The same with `***` for user and password.
    shown: String,
    basic_auth: Option<HeaderValue>,
    loopback: bool,
}

impl ServerUrl {
    /// Returns None unless the text is an absolute `http` or `https` URL without query and fragment. The host must be
    /// ASCII: an internationalised name is written in its `xn--` form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(&*scheme, "http" | "https") || rest.contains(['?', '#']) {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user).filter(|user| !matches!(*user, "" | ":")), address),
            None => (None, authority),
        };
        let address = address.strip_suffix(':').unwrap_or(address).to_ascii_lowercase();
        let path = utf8_percent_encode(path.trim_end_matches('/'), NOT_IN_PATH);
        let base = format!("{scheme}://{address}{path}");
        let url: Uri = base.parse().ok()?;
        let host = url.host().filter(|host| !matches!(*host, "" | "[]"))?;
        // `Uri` accepts a port that is out of range and returns none
        if address.len() > host.len() && url.port_u16().is_none() {
            return None;
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let loopback = literal.map_or_else(|_| host == "localhost", |address| address.is_loopback());
        let hidden = if user.is_some() { format!("{HIDDEN}@") } else { String::new() };
        let shown = format!("{scheme}://{hidden}{address}{path}");
        let basic_auth = match user {
            Some(user) => Some(basic_auth(user)?),
            None => None,
        };
        Some(Self { base, shown, basic_auth, loopback })
    }

    /// Returns the URL of a path of the server's API, which begins with a slash. It contains no user and password.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns the `Authorization` header for the user and password of the URL.
    pub(crate) fn basic_auth(&self) -> Option<&HeaderValue> {
        self.basic_auth.as_ref()
    }

    /// Returns whether the connection uses TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// Returns whether the server is on this machine. Requests then use no compression and no proxy.
    pub(crate) fn is_loopback(&self) -> bool {
        self.loopback
    }
}

/// Returns the `Authorization` header for `user:password`, both percent-encoded.
fn basic_auth(user: &str) -> Option<HeaderValue> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let [user, password] = [user, password].map(|text| percent_decode_str(text).decode_utf8_lossy());
    let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
    let mut header = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

impl Default for ServerUrl {
    /// `http://127.0.0.1:8200`
    fn default() -> Self {
        let base = "http://127.0.0.1:8200".to_owned();
        Self { shown: base.clone(), base, basic_auth: None, loopback: true }
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

/// The option type of [`ServerUrl`]. Code sets the URL as text.
#[derive(Debug)]
pub(crate) struct Url;

impl OptionType for Url {
    type Value = ServerUrl;
    type Code = String;
    const ALLOWED: &'static str = "an http or https URL without a query, such as `https://apm.example.com:8200`";

    fn read(text: &str) -> Parsed<ServerUrl> {
        if text.trim().is_empty() {
            return Parsed::Unset;
        }
        Parsed::from_option(ServerUrl::parse(text))
    }

    fn check(code: &String) -> Parsed<ServerUrl> {
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

/// A list of server URLs, separated by commas.
#[derive(Debug)]
pub(crate) struct Urls;

impl OptionType for Urls {
    type Value = Vec<ServerUrl>;
    type Code = Vec<String>;
    const ALLOWED: &'static str = "a list of http or https URLs without queries, separated by commas";

    fn read(text: &str) -> Parsed<Vec<ServerUrl>> {
        Parsed::from_option(list(text).map(ServerUrl::parse).collect())
    }

    fn check(code: &Vec<String>) -> Parsed<Vec<ServerUrl>> {
        Parsed::from_option(code.iter().map(|url| ServerUrl::parse(url)).collect())
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

/// Hides user, password and query. Text that is not a valid URL can contain secrets too.
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
