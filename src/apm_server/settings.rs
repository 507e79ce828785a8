//! Where the server is, and who calls.

use std::{path::PathBuf, time::Duration};

use reqwest::header::HeaderValue;

use crate::config::{Config, Secret, ServerUrl};

/// Plain data: the part of the options that concerns the server.
#[derive(Debug, Clone)]
pub(crate) struct ServerSettings {
    /// A path in it is a prefix.
    pub(crate) server_url: ServerUrl,
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
    pub(crate) user_agent: HeaderValue,
}

impl ServerSettings {
    pub(crate) fn from_config(config: &Config, gzip: Option<bool>) -> Self {
        Self {
            server_url: config.server_url.clone(),
            api_key: config.api_key.clone(),
            secret_token: config.secret_token.clone(),
            verify_server_cert: config.verify_server_cert,
            server_ca_cert_file: config.server_ca_cert_file.clone(),
            server_timeout: config.server_timeout,
            gzip,
            user_agent: user_agent(&config.service_name, config.service_version.as_deref()),
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

    #[test]
    fn the_user_agent_holds_nothing_illegal() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(user_agent("shop", None), format!("apm-agent-rust/{version} (shop)"));
        assert_eq!(user_agent("shop", Some("123(:\\;)456")), format!("apm-agent-rust/{version} (shop 123_:_;_456)"));
        assert_eq!(user_agent("a\nb", Some("")), format!("apm-agent-rust/{version} (a_b)"));
    }
}
