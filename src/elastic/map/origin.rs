//! Scheme, host and port that the client used, as far as proxies report them. Pure.
//!
//! Source: Elastic's agents read `Forwarded` ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)) first, then the
//! `X-Forwarded-*` headers. Of a list only the first element counts, which the proxy next to the client wrote. Anyone can
//! send these headers, so a value that is no host, port or scheme is ignored.

use crate::semconv::map_text;
use std::{borrow::Cow, iter::Peekable, str::Chars};

/// The longest host name by RFC 1035, with brackets or a dot at its end.
const MAX_HOST: usize = 255;

/// What was found so far. The number is the rank of the header: a lower one wins.
#[derive(Debug, Default)]
pub(super) struct Origin {
    host: Option<(u8, String)>,
    scheme: Option<(u8, &'static str)>,
    port: Option<u16>,
}

const FORWARDED: u8 = 0;

impl Origin {
    /// Takes a header into account. `name` is in lower case.
    pub(super) fn header(&mut self, name: &str, value: &str) {
        let first = || value.split(',').next().unwrap_or_default().trim();
        match name {
            "forwarded" => self.forwarded(value),
            "x-forwarded-host" => self.host(1, first()),
            "x-forwarded-port" if self.port.is_none() => self.port = port(first()),
            "x-forwarded-proto" => self.scheme(1, first()),
            "x-forwarded-protocol" => self.scheme(2, first()),
            "x-url-scheme" => self.scheme(3, first()),
            "front-end-https" if value.eq_ignore_ascii_case("on") => self.scheme(4, "https"),
            "x-forwarded-ssl" if value.eq_ignore_ascii_case("on") => self.scheme(5, "https"),
            _ => {}
        }
    }

    fn forwarded(&mut self, value: &str) {
        for (key, value) in first_element(value) {
            if key.eq_ignore_ascii_case("host") {
                self.host(FORWARDED, &value);
            } else if key.eq_ignore_ascii_case("proto") {
                self.scheme(FORWARDED, &value);
            }
        }
    }

    fn host(&mut self, rank: u8, host: &str) {
        if self.host.as_ref().is_none_or(|(present, _)| rank < *present)
            && let Some(host) = authority(host)
        {
            self.host = Some((rank, host.to_owned()));
        }
    }

    fn scheme(&mut self, rank: u8, scheme: &str) {
        let known = ["https", "http", "wss", "ws"].into_iter().find(|known| known.eq_ignore_ascii_case(scheme));
        if let Some(known) = known
            && self.scheme.is_none_or(|(present, _)| rank < present)
        {
            self.scheme = Some((rank, known));
        }
    }

    /// The scheme that the client used, if a proxy reports one.
    pub(super) fn reported_scheme(&self) -> Option<&'static str> {
        self.scheme.map(|(_, scheme)| scheme)
    }

    /// Host and port that the client used. `requested` is what the request itself names; empty where that is no host.
    pub(super) fn authority<'a>(self, requested: &'a str, scheme: &str) -> Cow<'a, str> {
        let (rank, host) = match self.host {
            Some((rank, host)) => (Some(rank), Cow::Owned(host)),
            None => (None, Cow::Borrowed(authority(requested).unwrap_or_default())),
        };
        let Some(port) = self.port.filter(|_| !host.is_empty()) else { return host };
        // a host that a proxy reports with a port, or without one in `Forwarded`, is complete
        if rank.is_some_and(|rank| rank == FORWARDED || at_port(&host).1.is_some()) {
            return host;
        }
        match (scheme, port) {
            ("https" | "wss", 443) | ("http" | "ws", 80) => map_text(host, |host| Cow::Borrowed(at_port(host).0)),
            _ => Cow::Owned(format!("{}:{port}", at_port(&host).0)),
        }
    }
}

/// The pairs of the first element of `Forwarded`: `for=1.2.3.4;host="a:1", for=…`. Commas and semicolons within quotes
/// belong to the value.
fn first_element(text: &str) -> impl Iterator<Item = (String, String)> {
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        let mut key = String::new();
        loop {
            match chars.next()? {
                // nothing of the next element counts
                ',' => {
                    chars.by_ref().for_each(drop);
                    return None;
                }
                ';' => key.clear(),
                '=' => break,
                other => key.push(other),
            }
        }
        Some((key.trim().to_owned(), value(&mut chars)))
    })
}

/// A token, or a quoted string without its quotes. Stops before the comma or semicolon that follows.
fn value(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    let mut is_quoted = false;
    while let Some(&next) = chars.peek() {
        if !is_quoted && matches!(next, ',' | ';') {
            break;
        }
        chars.next();
        match next {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => value.extend(chars.next()),
            other => value.push(other),
        }
    }
    value.trim().to_owned()
}

fn port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}

/// A host with or without a port, without user and password. `None` for text that is no host.
fn authority(text: &str) -> Option<&str> {
    let valid = |text| is_authority(text).then_some(text);
    valid(text).or_else(|| valid(text.rsplit_once('@')?.1))
}

/// Returns true if a text is a host with or without a port.
fn is_authority(text: &str) -> bool {
    let (host, digits) = at_port(text);
    let is_host = match host.strip_prefix('[') {
        Some(address) => {
            let address = address.strip_suffix(']').unwrap_or_default();
            // a zone (`%eth0`) may follow the address
            let (address, zone) = address.split_once('%').unwrap_or((address, ""));
            address.parse::<std::net::Ipv6Addr>().is_ok() && is_of_host_chars(zone)
        }
        None => !host.is_empty() && is_of_host_chars(host),
    };
    is_host && host.len() <= MAX_HOST && digits.is_none_or(|digits| port(digits).is_some())
}

/// True for the ASCII characters that can be part of a host.
const HOST_CHARS: [bool; 256] = {
    let mut chars = [false; 256];
    let mut char = 0_u8;
    while char < 128 {
        chars[char as usize] = char.is_ascii_alphanumeric() || matches!(char, b'-' | b'.' | b'_' | b'~' | b'%');
        char += 1;
    }
    chars
};

/// Letters of all scripts: browsers send such hosts in Punycode, other clients as they are.
fn is_of_host_chars(text: &str) -> bool {
    // a loop without an early exit takes a third of the time of a loop with one
    text.bytes().fold(true, |all, byte| all & HOST_CHARS[usize::from(byte)])
        || text.chars().all(|char| char.is_alphanumeric() || char.is_ascii() && HOST_CHARS[char as usize])
}

/// Splits off the port like [`split_port`], but faster, for a result of [`Origin::authority`].
pub(super) fn parts(authority: &str) -> (&str, Option<u16>) {
    let (host, digits) = at_port(authority);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    (address.unwrap_or(host), digits.and_then(port))
}

/// Returns the host and the digits after the colon.
fn at_port(authority: &str) -> (&str, Option<&str>) {
    let digits = authority.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (front, digits) = authority.split_at(authority.len() - digits);
    match front.strip_suffix(':') {
        Some(host) if !digits.is_empty() => (host, Some(digits)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::names_origin;

    fn origin(headers: &[(&str, &str)]) -> Origin {
        let mut origin = Origin::default();
        for (name, value) in headers {
            assert!(names_origin(name), "{name} is not kept without capture_headers");
            origin.header(name, value);
        }
        origin
    }

    /// The URL's start for a request that names `h:1` as its host.
    fn start(headers: &[(&str, &str)]) -> String {
        let origin = origin(headers);
        let scheme = origin.reported_scheme().unwrap_or("http");
        format!("{scheme}://{}", origin.authority("h:1", scheme))
    }

    #[test]
    fn first_element_of_x_forwarded_headers_is_used() {
        for (headers, url) in [
            (&[("x-forwarded-host", "shop.example, inner")][..], "http://shop.example"),
            (&[("x-forwarded-host", "a"), ("x-forwarded-host", "b")], "http://a"),
            (&[("x-forwarded-proto", "HTTPS,http")], "https://h:1"),
            (&[("x-forwarded-protocol", "https")], "https://h:1"),
            (&[("x-url-scheme", "https"), ("x-forwarded-proto", "http")], "http://h:1"),
            (&[("x-forwarded-proto", "http"), ("x-url-scheme", "https")], "http://h:1"),
            (&[("x-forwarded-ssl", "on")], "https://h:1"),
            (&[("front-end-https", "on")], "https://h:1"),
            (&[("front-end-https", "off")], "http://h:1"),
        ] {
            assert_eq!(start(headers), url, "{headers:?}");
        }
    }

    #[test]
    fn forwarded_takes_precedence_and_is_parsed_as_rfc_7239() {
        let others = [("x-forwarded-host", "other"), ("x-forwarded-proto", "http"), ("x-forwarded-port", "9")];
        for (forwarded, url) in [
            ("for=1.2.3.4;host=\"shop.example:8443\";Proto=https, host=x", "https://shop.example:8443"),
            ("host=shop.example ; proto=\"https\"", "https://shop.example"),
            ("for=\"a,b;host=evil\";host=shop.example", "http://shop.example"),
            ("for=\"a\\\";host=evil\";host=shop.example", "http://shop.example"),
            ("host=\"[2001:db8::1]:8080\";proto=https", "https://[2001:db8::1]:8080"),
            ("by=_secret;HOST=shop.example", "http://shop.example"),
        ] {
            let headers = [others.to_vec(), vec![("forwarded", forwarded)]].concat();
            assert_eq!(start(&headers), url, "{forwarded}");
        }
        assert_eq!(start(&[("forwarded", "for=1.2.3.4, host=x;proto=https")]), "http://h:1", "the second is not read");
        assert_eq!(start(&[("forwarded", "for=1.2.3.4"), ("x-forwarded-host", "a")]), "http://a");
    }

    #[test]
    fn x_forwarded_port_is_added_to_the_host() {
        let https = ("x-forwarded-proto", "https");
        for (headers, url) in [
            (&[https, ("x-forwarded-port", "443")][..], "https://h"),
            (&[https, ("x-forwarded-port", "8443, 1")], "https://h:8443"),
            (&[("x-forwarded-port", "80")], "http://h"),
            (&[https, ("x-forwarded-port", "80")], "https://h:80"),
            (&[("x-forwarded-host", "a"), ("x-forwarded-port", "81")], "http://a:81"),
            (&[("x-forwarded-host", "a:2"), ("x-forwarded-port", "81")], "http://a:2"),
            (&[("x-forwarded-host", "[::1]"), ("x-forwarded-port", "81")], "http://[::1]:81"),
        ] {
            assert_eq!(start(headers), url, "{headers:?}");
        }
        for bad in ["", "0", "65536", "-1", "+80", "80/evil", "http"] {
            assert_eq!(start(&[("x-forwarded-port", bad)]), "http://h:1", "{bad}");
        }
    }

    #[test]
    fn hostile_values_are_ignored() {
        let long = "a".repeat(256);
        for host in [
            "",
            " ",
            "<script>",
            "a b",
            "a/../b",
            "a?b=c",
            "a#b",
            "a\\b",
            "a:b",
            "a:1:2",
            "a:",
            "a:99999",
            "[::1",
            "[::1]x",
            "[evil.example]",
            "[]",
            "::1",
            "user:hunter2@",
            "\"",
            "a\u{0}",
            &long,
        ] {
            assert_eq!(start(&[("x-forwarded-host", host)]), "http://h:1", "{host:?}");
            assert_eq!(Origin::default().authority(host, "http"), "", "{host:?}");
        }
        for proto in ["javascript", "https://", "", "h t t p"] {
            assert_eq!(start(&[("x-forwarded-proto", proto)]), "http://h:1", "{proto:?}");
        }
        for forwarded in ["", ";", ",", "=", "host", "host=", "host=\"", "host=\"a", "\"", "=;=,=", "host=\"\\"] {
            let found = start(&[("forwarded", forwarded)]);
            assert!(["http://h:1", "http://a"].contains(&&*found), "{forwarded:?}: {found}");
        }
    }

    #[test]
    fn user_and_password_are_left_out() {
        for host in ["user:hunter2@a:1", "hunter2@a:1", "a@hunter2@a:1"] {
            assert_eq!(start(&[("x-forwarded-host", host)]), "http://a:1");
            assert_eq!(Origin::default().authority(host, "http"), "a:1");
        }
    }

    #[test]
    fn valid_hosts_are_kept() {
        for host in
            ["a", "a.b:80", "xn--bcher-kva.example", "bücher.example", "10.0.0.1:8080", "[::1]", "[fe80::1%eth0]:1"]
        {
            assert_eq!(Origin::default().authority(host, "http"), host);
        }
    }
}
