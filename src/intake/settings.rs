//! What the exporter is set up with.

use std::{path::PathBuf, time::Duration};

use crate::config::{LiveConfig, Secret, ServerUrl};

/// Plain data: the part of the options that concerns the exporter.
#[derive(Debug, Clone)]
pub(crate) struct IntakeSettings {
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
    /// Bytes of a batch, compressed where it is.
    pub(crate) api_request_size: usize,
    /// None: compressed unless the server is on this machine.
    pub(crate) gzip: Option<bool>,
    /// For what can change meanwhile.
    pub(crate) live: LiveConfig,
}

impl IntakeSettings {
    pub(crate) fn from_config(live: &LiveConfig, gzip: Option<bool>) -> Self {
        let config = live.load();
        Self {
            server_url: config.server_url.clone(),
            api_key: config.api_key.clone(),
            secret_token: config.secret_token.clone(),
            verify_server_cert: config.verify_server_cert,
            server_ca_cert_file: config.server_ca_cert_file.clone(),
            server_timeout: config.server_timeout,
            api_request_size: config.api_request_size,
            gzip,
            live: live.clone(),
        }
    }
}
