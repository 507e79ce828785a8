//! HTTP clients with the settings of this program.

use reqwest::{Client, ClientBuilder, Url};

/// Returns a client for `url`. A server on this machine is called without a proxy.
pub(crate) fn builder(url: &Url) -> ClientBuilder {
    let here = url.host_str().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."));
    if here { for_this_machine() } else { any() }
}

/// Returns the builder of a client that uses no proxy.
pub(crate) fn for_this_machine() -> ClientBuilder {
    any().no_proxy()
}

fn any() -> ClientBuilder {
    // reqwest needs the TLS provider of the process. This fails only if the process already has one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
}
