//! HTTP clients as this program needs them.

use reqwest::{Client, ClientBuilder, Url};

/// A client for `url`; what runs on this machine is never asked for by way of a proxy.
pub(crate) fn builder(url: &Url) -> ClientBuilder {
    // reqwest asks the process for its TLS provider. Installing it fails only when there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let here = url.host_str().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."));
    if here { Client::builder().no_proxy() } else { Client::builder() }
}
