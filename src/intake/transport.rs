//! Bytes to the server and bytes back. Knows HTTP, and nothing of events.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use opentelemetry::context::FutureExt;
use reqwest::{
    Client, Response, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};

use super::{
    IntakeSettings,
    answer::Answer,
    tls::{Trust, client_config},
};
use crate::{config::Secret, error::BuildError};

/// An error document may quote five events of 300 KiB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// The server closes what is idle for 45 s.
const IDLE: Duration = Duration::from_secs(40);
const CONNECT: Duration = Duration::from_secs(10);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client,
    /// May hold a user and password.
    url: Url,
    secret: Option<Secret>,
}

impl Transport {
    pub(super) fn new(settings: &IntakeSettings, user_agent: HeaderValue) -> Result<Self, BuildError> {
        let server = &settings.server_url;
        let mut url = Url::parse(&server.join("/intake/v2/events")).map_err(client_error)?;
        let trust = match (&settings.server_ca_cert_file, server.is_https()) {
            (_, false) => Trust::Nobody,
            _ if !settings.verify_server_cert => Trust::Everybody,
            (Some(file), true) => Trust::Only(file),
            (None, true) => Trust::System,
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let secret = match (&settings.api_key, &settings.secret_token) {
            (Some(key), _) => Some(("ApiKey", key)),
            (None, token) => token.as_ref().map(|token| ("Bearer", token)),
        };
        if let Some((scheme, secret)) = secret {
            let value = HeaderValue::try_from(format!("{scheme} {}", secret.reveal()));
            let mut value = value.map_err(client_error)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
            // or those of the URL would take the header's place
            let _ = url.set_username("").and_then(|()| url.set_password(None));
        }
        let mut builder = Client::builder()
            .tls_backend_preconfigured(client_config(trust)?)
            .default_headers(headers)
            .user_agent(user_agent)
            .redirect(redirect::Policy::none())
            .timeout(settings.server_timeout)
            .connect_timeout(settings.server_timeout.min(CONNECT))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .http1_only();
        if server.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(client_error)?;
        Ok(Self { client, url, secret: secret.map(|(_, secret)| secret.clone()) })
    }

    /// One attempt. An error says, for the log, why nothing came back.
    pub(super) async fn send(self, body: Bytes, gzip: bool) -> Result<Answer, String> {
        let suppressed = opentelemetry::Context::current().with_telemetry_suppressed();
        let sent = self.attempt(body, gzip).with_context(suppressed).await;
        sent.map_err(|error| self.hide_in(&reason(error)))
    }

    /// What came from outside, without our credentials.
    pub(super) fn hide_in(&self, text: &str) -> String {
        match &self.secret {
            Some(secret) if !secret.reveal().is_empty() => text.replace(secret.reveal(), &secret.to_string()),
            _ => text.to_owned(),
        }
    }

    async fn attempt(&self, body: Bytes, gzip: bool) -> Result<Answer, reqwest::Error> {
        let mut request = self.client.post(self.url.clone()).body(body);
        if gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok(Answer { status, body: read(response).await })
    }
}

/// What is over the limit, or cut off, is missing; the status says enough.
async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() >= MAX_ANSWER {
            break;
        }
    }
    body
}

fn client_error(error: impl Error + Send + Sync + 'static) -> BuildError {
    BuildError::Client { source: Box::new(error) }
}

/// The error and its causes in one line, without the URL, which may hold credentials.
fn reason(error: reqwest::Error) -> String {
    let what = match () {
        () if error.is_connect() => "could not connect",
        () if error.is_timeout() => "no answer within server_timeout",
        () => "no answer",
    };
    let error = error.without_url();
    let mut reason = what.to_owned();
    let mut cause = error.source();
    let mut last = String::new();
    while let Some(error) = cause {
        let text = error.to_string();
        if text != last {
            reason.push_str(": ");
            reason.push_str(&text);
        }
        (last, cause) = (text, error.source());
    }
    reason
}

/// `apm-agent-rust/1.2.3 (service 1.0)`; what a comment of a header may not hold becomes `_`.
pub(super) fn user_agent(service_name: &str, service_version: Option<&str>) -> HeaderValue {
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
