//! Where to send: the server's URL and the rules that hang on it.

use std::net::IpAddr;

use reqwest::Url;

use super::IntakeError;

/// The address of `/intake/v2/events`.
#[derive(Clone)]
pub(super) struct Endpoint {
    url: Url,
}

impl Endpoint {
    /// A path in `server_url` is a prefix and stays. Credentials in it are used as HTTP basic authentication, unless
    /// `own_auth` says that there are others.
    pub(super) fn of(server_url: &str, own_auth: bool) -> Result<Self, IntakeError> {
        let invalid = || IntakeError::ServerUrl { value: without_credentials(server_url) };
        let mut url = Url::parse(server_url.trim()).map_err(|_| invalid())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(invalid());
        }
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/intake/v2/events"));
        url.set_query(None);
        url.set_fragment(None);
        if own_auth {
            url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| invalid())?;
        }
        Ok(Self { url })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Never through a proxy, and not worth compressing for.
    pub(super) fn is_local(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Elastic's rule: compress unless the server is on this machine.
    pub(super) fn wants_gzip(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        !matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&without_credentials(self.url.as_str()))
    }
}

fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prefix_is_kept() {
        for (server_url, url) in [
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200/intake/v2/events"),
            ("https://apm.example/", "https://apm.example/intake/v2/events"),
            ("https://gate.example/apm/?x#y", "https://gate.example/apm/intake/v2/events"),
            (" http://h ", "http://h/intake/v2/events"),
        ] {
            assert_eq!(Endpoint::of(server_url, true).unwrap().url().as_str(), url);
        }
    }

    #[test]
    fn what_is_no_url_is_named_without_its_secrets() {
        for (value, shown) in [
            ("apm.example:8200", "apm.example:8200"),
            ("ftp://u:hunter2@h", "ftp://***@h"),
            ("", ""),
            ("http://", "http://"),
        ] {
            let error = Endpoint::of(value, false).unwrap_err().to_string();
            assert!(error.contains(&format!("`{shown}`")) && error.contains("server_url"), "{error}");
            assert!(!error.contains("hunter2"));
        }
        let endpoint = Endpoint::of("http://u:hunter2@h", false).unwrap();
        assert!(!format!("{endpoint:?}").contains("hunter2"));
        assert_eq!(Endpoint::of("http://u:hunter2@h", true).unwrap().url().as_str(), "http://h/intake/v2/events");
    }

    #[test]
    fn only_this_machine_goes_without_gzip_and_proxy() {
        for (host, gzip, local) in [
            ("localhost", false, true),
            ("127.0.0.1", false, true),
            ("[::1]", false, true),
            ("[0:0:0:0:0:0:0:1]", false, true),
            ("127.0.0.2", true, true),
            ("apm.example", true, false),
            ("10.0.0.1", true, false),
        ] {
            let endpoint = Endpoint::of(&format!("http://{host}:8200"), false).unwrap();
            assert_eq!((endpoint.wants_gzip(), endpoint.is_local()), (gzip, local), "{host}");
        }
    }
}
