//! HTTP connections: TCP, proxies, TLS, and one request with a time limit. Contains no options and no events.

mod client;
mod connector;
mod stream;
mod tls;

#[cfg(feature = "otlp")]
pub(crate) use self::client::with_causes;
pub(crate) use self::{
    client::{Answer, HttpClient, RequestLimits},
    connector::{Connector, HttpVersion, Proxies},
    tls::{Tls, Trust, read_certificates},
};

#[cfg(test)]
mod tests;
