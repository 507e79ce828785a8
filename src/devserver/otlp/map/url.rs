//! URLs as the server reads them: by the rules of Go's `net/url`, which takes more and changes less than browsers do.

use percent_encoding::percent_decode_str;

use super::attributes::cut;

/// A URL in parts; all that is unknown is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) original: String,
    pub(super) full: String,
    pub(super) scheme: String,
    pub(super) domain: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) fragment: String,
    pub(super) port: u32,
}

impl Url {
    /// Host and scheme stand in where the URL is relative. One that cannot be read is its text alone.
    pub(super) fn of(original: &str, host: &str, scheme: &str) -> Self {
        let original = cut(original);
        let Some(mut parsed) = Parsed::of(original) else {
            return Self { original: original.to_owned(), ..Self::default() };
        };
        if parsed.scheme.is_empty() {
            parsed.scheme = if scheme.is_empty() { "http" } else { scheme }.to_owned();
        }
        if parsed.host.is_empty() {
            parsed.host = host.to_owned();
        }
        Self {
            original: original.to_owned(),
            full: cut(&parsed.written()).to_owned(),
            domain: cut(parsed.hostname()).to_owned(),
            path: cut(&parsed.path).to_owned(),
            query: cut(&parsed.query).to_owned(),
            port: parsed.port().parse().unwrap_or_default(),
            fragment: parsed.fragment,
            scheme: parsed.scheme,
        }
    }
}

/// What a text says as a URL. Path and fragment are decoded.
#[derive(Debug, Clone, Default)]
pub(super) struct Parsed {
    pub(super) scheme: String,
    opaque: String,
    user: Option<String>,
    pub(super) host: String,
    path: String,
    /// As it was written.
    raw_path: String,
    omit_host: bool,
    /// A `?` with nothing behind it.
    force_query: bool,
    query: String,
    fragment: String,
    raw_fragment: String,
}

impl Parsed {
    pub(super) fn of(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return None;
        }
        let (text, raw_fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = scheme(text)?;
        let mut url = Self { scheme: scheme.to_ascii_lowercase(), ..Self::default() };
        url.fragment = unescape(raw_fragment)?;
        raw_fragment.clone_into(&mut url.raw_fragment);
        let mut rest = match rest.split_once('?') {
            Some((before, "")) => {
                url.force_query = true;
                before
            }
            Some((before, query)) => {
                query.clone_into(&mut url.query);
                before
            }
            None => rest,
        };
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                rest.clone_into(&mut url.opaque);
                return Some(url);
            }
            if rest.split('/').next().is_some_and(|first| first.contains(':')) {
                return None;
            }
        }
        let is_rooted = !url.scheme.is_empty() || !rest.starts_with("///");
        if let Some(authority) = rest.strip_prefix("//").filter(|_| is_rooted) {
            let end = authority.find('/').unwrap_or(authority.len());
            let (authority, path) = authority.split_at(end);
            rest = path;
            let (user, host) = match authority.rsplit_once('@') {
                Some((user, host)) => (Some(user), host),
                None => (None, authority),
            };
            url.host = host_of(host)?;
            if let Some(user) = user {
                url.user = Some(user_of(user)?);
            }
        } else if !url.scheme.is_empty() && rest.starts_with('/') {
            url.omit_host = true;
        }
        url.path = unescape(rest)?;
        rest.clone_into(&mut url.raw_path);
        Some(url)
    }

    /// Put together again.
    pub(super) fn written(&self) -> String {
        let mut out = String::new();
        if !self.scheme.is_empty() {
            out += &format!("{}:", self.scheme);
        }
        if !self.opaque.is_empty() {
            out += &self.opaque;
        } else {
            let has_host = !self.host.is_empty() || self.user.is_some();
            if !self.scheme.is_empty() || has_host {
                if has_host || !self.omit_host && !self.path.is_empty() {
                    out += "//";
                }
                if let Some(user) = &self.user {
                    out += &format!("{user}@");
                }
                out += &escape(&self.host, "!$&'()*+,;=:[]<>\"");
            }
            let path = encoded(&self.path, &self.raw_path, "$&+,/:;=@", "!'()*[]");
            if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
                out.push('/');
            }
            out += &path;
        }
        if self.force_query || !self.query.is_empty() {
            out += &format!("?{}", self.query);
        }
        if !self.fragment.is_empty() {
            out += &format!("#{}", encoded(&self.fragment, &self.raw_fragment, "$&+,/:;=?@!()*", "'[]"));
        }
        out
    }

    /// Scheme and host alone.
    pub(super) fn origin(&self, host: &str) -> String {
        Self { scheme: self.scheme.clone(), host: host.to_owned(), ..Self::default() }.written()
    }

    pub(super) fn hostname(&self) -> &str {
        let host = &self.host;
        let host = host.strip_suffix(self.port()).and_then(|host| host.strip_suffix(':')).unwrap_or(host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    pub(super) fn port(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => port,
            _ => "",
        }
    }
}

/// A host of IPv6 in brackets.
pub(super) fn host_port(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Empty where there is none; nothing where the text begins with a colon.
fn scheme(text: &str) -> Option<(&str, &str)> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at > 0 => return Some((&text[..at], &text[at + 1..])),
            b':' => return None,
            _ => break,
        }
    }
    Some(("", text))
}

/// As it is written again.
fn user_of(user: &str) -> Option<String> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(char);
    if !user.chars().all(allowed) {
        return None;
    }
    let escaped = |part: &str| Some(escape(&unescape(part)?, "$&+,;="));
    match user.split_once(':') {
        Some((name, password)) => Some(format!("{}:{}", escaped(name)?, escaped(password)?)),
        None => escaped(user),
    }
}

fn host_of(host: &str) -> Option<String> {
    let is_port = |port: &str| {
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let port = match (host.starts_with('['), host.rfind([']', ':'])) {
        (true, _) => host.get(host.rfind(']')? + 1..)?,
        (false, _) => host.rfind(':').map_or("", |at| &host[at..]),
    };
    if !is_port(port) {
        return None;
    }
    let is_name = |byte: u8| byte >= 0x80 || unreserved(byte) || b"!$&'()*+,;=:[]<>\"%".contains(&byte);
    if !host.bytes().all(is_name) {
        return None;
    }
    // in a host nothing below U+0080 may be escaped
    let escapes = host.match_indices('%').map(|(at, _)| host.get(at + 1..at + 3));
    let allowed = |hex: Option<&str>| {
        hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).is_some_and(|byte| byte >= 0x80 || byte == b'%')
    };
    if !escapes.into_iter().all(allowed) {
        return None;
    }
    unescape(host)
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

/// None where a `%` is not followed by two digits.
fn unescape(text: &str) -> Option<String> {
    let is_escape =
        |at: usize| text.as_bytes().get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    text.match_indices('%')
        .all(|(at, _)| is_escape(at))
        .then(|| percent_decode_str(text).decode_utf8_lossy().into_owned())
}

/// What is neither unreserved nor one of `also` is escaped.
fn escape(text: &str, also: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if unreserved(byte) || also.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// As it was written, if that was well written.
fn encoded(text: &str, raw: &str, also: &str, tolerated: &str) -> String {
    let is_good = |byte: u8| {
        unreserved(byte) || byte == b'%' || also.as_bytes().contains(&byte) || tolerated.as_bytes().contains(&byte)
    };
    if raw.bytes().all(is_good) { raw.to_owned() } else { escape(text, also) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_urls_get_host_and_scheme() {
        let url = Url::of("/a%20b/ü?x=1&y#top", "shop.example:8080", "https");
        assert_eq!(url.full, "https://shop.example:8080/a%20b/%C3%BC?x=1&y#top");
        assert_eq!((url.domain.as_str(), url.port), ("shop.example", 8080));
        assert_eq!((url.path.as_str(), url.query.as_str(), url.fragment.as_str()), ("/a b/ü", "x=1&y", "top"));
        assert_eq!(Url::of("", "h", "").full, "http://h");
    }

    #[test]
    fn absolute_urls_keep_host_and_scheme() {
        let url = Url::of("HTTPS://me:pw@[2001:db8::1]:443/x", "other", "http");
        assert_eq!(url.full, "https://me:pw@[2001:db8::1]:443/x");
        assert_eq!((url.scheme.as_str(), url.domain.as_str(), url.port), ("https", "2001:db8::1", 443));
    }

    #[test]
    fn invalid_url_is_kept_as_text() {
        for text in ["%zz", "http://h:port/", ":8080", ":b/c", "http://a b/", "\u{7f}", "1:2"] {
            let url = Url::of(text, "h", "http");
            assert_eq!(url, Url { original: text.to_owned(), ..Url::default() });
        }
    }
}
