//! HTTP clients as this program needs them.

use reqwest::{Client, ClientBuilder, Url};

/// A client for `url`; what runs on this machine is never asked for by way of a proxy.
pub(crate) fn builder(url: &Url) -> ClientBuilder {
    let here = url.host_str().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."));
    if here { for_this_machine() } else { any() }
}

/// A client that uses no proxy.
pub(crate) fn for_this_machine() -> ClientBuilder {
    any().no_proxy()
}

fn any() -> ClientBuilder {
    // reqwest asks the process for its TLS provider. Installing it fails only when there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
}
