//! Hosts, ports and URLs as instrumentations record them.

use std::borrow::Cow;

/// A host, or a host with its port, without the `user:password@` in front of it.
pub(crate) fn without_userinfo(host: Cow<'_, str>) -> Cow<'_, str> {
    match host.rfind('@') {
        None => host,
        Some(at) => match host {
            Cow::Borrowed(host) => Cow::Borrowed(&host[at + 1..]),
            Cow::Owned(host) => Cow::Owned(host[at + 1..].to_owned()),
        },
    }
}

/// `host:port`, `[v6]:port`, or a host alone; the brackets of an IPv6 address are left out.
pub(crate) fn split_port(authority: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

/// Returns host and port of an absolute URL. Without a port, the default port of the scheme is returned.
pub(crate) fn host_and_port(url: &str) -> Option<(&str, Option<u16>)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = split_port(authority);
    (!host.is_empty()).then(|| (host, port.or_else(|| default_port(scheme))))
}

pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn authority<'a>(host: impl Into<Cow<'a, str>>, port: Option<u16>) -> Cow<'a, str> {
    let host = host.into();
    match (port, host.contains(':') && !host.starts_with('[')) {
        (Some(port), true) => Cow::Owned(format!("[{host}]:{port}")),
        (Some(port), false) => Cow::Owned(format!("{host}:{port}")),
        (None, _) => host,
    }
}
