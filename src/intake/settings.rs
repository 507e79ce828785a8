//! What the exporter is set up with, and what can be wrong with it.

use std::{fmt, time::Duration};

use reqwest::header::{HeaderValue, InvalidHeaderValue};

use crate::sanitize::Sanitizer;

/// Plain data; the defaults are those of the options.
#[derive(Debug, Clone)]
pub(crate) struct IntakeSettings {
    /// `server_url`; a path in it is a prefix.
    pub(crate) server_url: String,
    pub(crate) auth: Option<Auth>,
    pub(crate) verify_server_cert: bool,
    /// Contents of `server_ca_cert_file`, PEM: trusted instead of the system's certificates.
    pub(crate) ca_certificates: Option<Vec<u8>>,
    /// For one attempt, from connecting to the last byte of the answer.
    pub(crate) server_timeout: Duration,
    /// Bytes of a batch, compressed where it is.
    pub(crate) api_request_size: usize,
    /// None: compressed unless the server is on this machine.
    pub(crate) gzip: Option<bool>,
    pub(crate) sanitizer: Sanitizer,
    /// Frames of an error; 0 for none, `usize::MAX` for all.
    pub(crate) stack_trace_limit: usize,
}

impl IntakeSettings {
    pub(crate) fn new(server_url: impl Into<String>, sanitizer: Sanitizer) -> Self {
        Self {
            server_url: server_url.into(),
            auth: None,
            verify_server_cert: true,
            ca_certificates: None,
            server_timeout: Duration::from_secs(30),
            api_request_size: 768 * 1024,
            gzip: None,
            sanitizer,
            stack_trace_limit: 50,
        }
    }
}

/// The `Authorization` header. Prints as `***`.
#[derive(Clone)]
pub(crate) struct Auth {
    header: HeaderValue,
    secret: String,
}

impl Auth {
    /// An API key wins over a secret token; empty ones are none.
    pub(crate) fn new(api_key: Option<&str>, secret_token: Option<&str>) -> Result<Option<Self>, IntakeError> {
        let given = |value: Option<&str>| value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned);
        let (option, scheme, secret) = match (given(api_key), given(secret_token)) {
            (Some(key), _) => ("api_key", "ApiKey", key),
            (None, Some(token)) => ("secret_token", "Bearer", token),
            (None, None) => return Ok(None),
        };
        let header: Result<HeaderValue, InvalidHeaderValue> = format!("{scheme} {secret}").parse();
        let mut header = header.map_err(|_| IntakeError::Auth { option })?;
        header.set_sensitive(true);
        Ok(Some(Self { header, secret }))
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// A server or proxy may quote the credentials in what it says.
    pub(super) fn hide_in(&self, text: &str) -> String {
        text.replace(&self.secret, "***")
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why there is no exporter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum IntakeError {
    #[error("server_url `{value}` is no URL that begins with http:// or https:// and names a host")]
    ServerUrl { value: String },
    #[error("{option} holds characters that no HTTP header may hold")]
    Auth { option: &'static str },
    #[error("server_ca_cert_file holds no usable PEM certificates: {0}")]
    CaCertificate(String),
    #[error("no TLS to the server (server_ca_cert_file can name its certificate authority): {0}")]
    Tls(String),
    #[error("the HTTP client could not be built: {0}")]
    Client(String),
    #[error("the metadata could not be written as JSON: {0}")]
    Metadata(#[from] serde_json::Error),
}
