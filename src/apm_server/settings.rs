//! Where the server is, and who calls.

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

#[cfg(feature = "otlp")]
use crate::config::OtlpCompression;
use crate::{
    config::{Config, Secret, ServerUrl},
    error::BuildError,
    transport::{Connector, HttpVersion, Proxies, Tls, Trust, read_certificates},
};

/// The longest that a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Plain data: the part of the options that concerns the server.
#[derive(Debug, Clone)]
pub(crate) struct ServerSettings {
    /// A path in it is a prefix.
    pub(crate) server_url: ServerUrl,
    /// Where to go when that one fails, one after the other.
    pub(crate) further_urls: Vec<ServerUrl>,
    /// Wins over the secret token.
    pub(crate) api_key: Option<Secret>,
    pub(crate) secret_token: Option<Secret>,
    pub(crate) verify_server_cert: bool,
    /// PEM: trusted instead of the system's certificates.
    pub(crate) server_ca_cert_file: Option<PathBuf>,
    /// For one attempt, from connecting to the last byte of the answer.
    pub(crate) server_timeout: Duration,
    /// None: compressed unless the server is on this machine.
    pub(crate) gzip: Option<bool>,
    /// Further headers of every request; an `authorization` in it counts where there is neither key nor token.
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) user_agent: HeaderValue,
}

impl ServerSettings {
    pub(crate) fn from_config(config: &Config, gzip: Option<bool>) -> Self {
        let (server_url, further_urls) = match &*config.server_urls {
            [] => (config.server_url.clone(), Vec::new()),
            [first, further @ ..] => (first.clone(), further.to_vec()),
        };
        Self {
            server_url,
            further_urls,
            api_key: config.api_key.clone(),
            secret_token: config.secret_token.clone(),
            verify_server_cert: config.verify_server_cert,
            server_ca_cert_file: config.server_ca_cert_file.clone(),
            server_timeout: config.server_timeout,
            gzip,
            headers: Vec::new(),
            user_agent: user_agent(&config.service_name, config.service_version.as_deref()),
        }
    }
}

impl ServerSettings {
    /// All servers, in their order.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &ServerUrl> {
        [&self.server_url].into_iter().chain(&self.further_urls)
    }

    /// All servers are on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.urls().all(ServerUrl::is_loopback)
    }

    /// Returns what makes the connections to a server, and the proxies that they go through. The servers on this
    /// machine are reached without a proxy.
    pub(crate) fn connector(&self, url: &ServerUrl, tls: Tls, version: HttpVersion) -> (Connector, Proxies) {
        let proxies = if url.is_loopback() { Proxies::none() } else { Proxies::from_env() };
        let limit = self.server_timeout.min(CONNECT);
        (Connector::new(proxies.clone(), tls, version, limit), proxies)
    }

    /// Reads the certificates that are trusted.
    ///
    /// # Errors
    /// When `server_ca_cert_file` cannot be read or used, and a server is https.
    pub(crate) fn tls(&self, version: HttpVersion) -> Result<Tls, BuildError> {
        let is_needed = self.urls().any(ServerUrl::is_https);
        let trust = match &self.server_ca_cert_file {
            _ if !self.verify_server_cert => Trust::Everyone,
            Some(file) if is_needed => Trust::Only(read_certificates(file)?.into()),
            // that of an https proxy is checked too
            _ => Trust::System,
        };
        Ok(Tls::new(trust, version))
    }

    fn credential(&self) -> Option<(&'static str, &Secret)> {
        match (&self.api_key, &self.secret_token) {
            (Some(key), _) => Some(("ApiKey", key)),
            (None, token) => token.as_ref().map(|token| ("Bearer", token)),
        }
    }

    /// The headers that nobody may see, and the secrets in them.
    pub(crate) fn secret_headers(&self) -> Result<(HeaderMap, Arc<[Secret]>), http::Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let mut value = HeaderValue::try_from(value.reveal())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(name)?, value);
        }
        if let Some((scheme, secret)) = self.credential() {
            let mut value = HeaderValue::try_from(format!("{scheme} {}", secret.reveal()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let credential = self.credential().map(|(_, secret)| secret);
        Ok((headers, self.headers.iter().map(|(_, value)| value).chain(credential).cloned().collect()))
    }
}

#[cfg(feature = "otlp")]
impl ServerSettings {
    /// The same for OTLP: OpenTelemetry's own options where Elastic's leave something open.
    pub(crate) fn for_otlp(config: &Config, gzip: Option<bool>) -> Self {
        let url = config.otlp_endpoint.as_ref().map(|endpoint| endpoint.url.clone());
        let native = Self::from_config(config, gzip);
        Self {
            further_urls: if url.is_some() { Vec::new() } else { native.further_urls },
            server_url: url.unwrap_or(native.server_url),
            server_ca_cert_file: native.server_ca_cert_file.or_else(|| config.otlp_certificate.clone()),
            server_timeout: config.otlp_timeout.unwrap_or(native.server_timeout),
            gzip: match config.otlp_compression {
                OtlpCompression::Gzip => Some(true),
                OtlpCompression::None => Some(false),
                OtlpCompression::Auto => gzip,
            },
            headers: config.otlp_headers.clone(),
            ..native
        }
    }
}

/// `apm-agent-rust/1.2.3 (service 1.0)`; what a comment of a header may not hold becomes `_`.
fn user_agent(service_name: &str, service_version: Option<&str>) -> HeaderValue {
    let mut text = format!("apm-agent-rust/{} (", env!("CARGO_PKG_VERSION")).into_bytes();
    let legal = |byte: u8| matches!(byte, b'\t' | b' ' | 0x21..=0x27 | 0x2A..=0x5B | 0x5D..=0x7E | 0x80..=0xFF);
    let mut push = |part: &str| text.extend(part.bytes().map(|byte| if legal(byte) { byte } else { b'_' }));
    push(service_name);
    if let Some(version) = service_version.filter(|version| !version.is_empty()) {
        push(" ");
        push(version);
    }
    text.push(b')');
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("apm-agent-rust"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: transport.md
    #[test]
    fn user_agent_replaces_illegal_characters() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(user_agent("shop", None), format!("apm-agent-rust/{version} (shop)"));
        assert_eq!(user_agent("shop", Some("123(:\\;)456")), format!("apm-agent-rust/{version} (shop 123_:_;_456)"));
        assert_eq!(user_agent("a\nb", Some("")), format!("apm-agent-rust/{version} (a_b)"));
    }
}
