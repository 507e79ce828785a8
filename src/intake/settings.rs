//! What the exporter is set up with.

use std::{path::PathBuf, time::Duration};

use crate::{
    config::{Config, Secret, ServerUrl},
    sanitize::Sanitizer,
};

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
    pub(crate) sanitizer: Sanitizer,
    /// Frames of an error.
    pub(crate) stack_trace_limit: usize,
}

impl IntakeSettings {
    pub(crate) fn from_config(config: &Config, gzip: Option<bool>) -> Self {
        Self {
            server_url: config.server_url.clone(),
            api_key: config.api_key.clone(),
            secret_token: config.secret_token.clone(),
            verify_server_cert: config.verify_server_cert,
            server_ca_cert_file: config.server_ca_cert_file.clone(),
            server_timeout: config.server_timeout,
            api_request_size: config.api_request_size,
            gzip,
            sanitizer: Sanitizer::new(&config.sanitize_field_names),
            // negative: all
            stack_trace_limit: usize::try_from(config.stack_trace_limit).unwrap_or(usize::MAX),
        }
    }
}
