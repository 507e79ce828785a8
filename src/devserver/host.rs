//! By which names a server that only this machine reaches may be asked for what it knows.
//!
//! A web page can point a name of its own at 127.0.0.1 and then read from there as if it were its own server. The name
//! it asked for gives it away.

use std::net::IpAddr;

use http::{
    HeaderMap, Method,
    header::{HOST, ORIGIN},
    uri::Authority,
};

/// An error that says why, if the request did not come from this machine's own pages and tools.
pub(crate) fn check(method: &Method, headers: &HeaderMap) -> Result<(), &'static str> {
    // HTTP/1.0, which no browser speaks, has no `Host`
    let named = headers.get_all(HOST).iter().all(|host| host.to_str().is_ok_and(is_local));
    if !named {
        return Err("Host: only localhost and loopback addresses are answered here");
    }
    let from_here = headers.get_all(ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        origin.is_some_and(|(_, authority)| is_local(authority))
    });
    if *method == Method::DELETE && !from_here {
        return Err("Origin: only pages of this machine may delete");
    }
    Ok(())
}

/// With or without a port.
fn is_local(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    // what stands before an `@` is no part of any host
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_loopback = address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    is_loopback || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for local in ["localhost", "LocalHost:8200", "127.0.0.1", "127.9.9.9:80", "[::1]:8200", "[::ffff:127.0.0.1]"] {
            assert!(is_local(local), "{local}");
        }
        for other in [
            "",
            "evil.example",
            "localhost.evil.example:8200",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "192.168.1.2:8200",
            "[fe80::1]",
            "0.0.0.0",
            "localhost:8200/x",
        ] {
            assert!(!is_local(other), "{other}");
        }
    }
}
