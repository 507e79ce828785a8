//! Bytes to the server and bytes back. Knows HTTP, and nothing of events.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use opentelemetry::context::FutureExt;
use reqwest::{
    Client, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};

use super::{
    IntakeError, IntakeSettings,
    answer::Answer,
    endpoint::Endpoint,
    settings::Auth,
    tls::{Trust, client_config},
};

/// An error document may quote five events of 300 KiB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// The server closes what is idle for 45 s.
const IDLE: Duration = Duration::from_secs(40);
const CONNECT: Duration = Duration::from_secs(10);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    client: Client,
    endpoint: Endpoint,
    auth: Option<Auth>,
}

impl Transport {
    pub(super) fn new(settings: &IntakeSettings, user_agent: HeaderValue) -> Result<Self, IntakeError> {
        let endpoint = Endpoint::of(&settings.server_url, settings.auth.is_some())?;
        let trust = match (&settings.ca_certificates, endpoint.is_tls()) {
            (_, false) => Trust::Nobody,
            _ if !settings.verify_server_cert => Trust::Everybody,
            (Some(pem), true) => Trust::Only(pem),
            (None, true) => Trust::System,
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.extend(settings.auth.as_ref().map(|auth| (AUTHORIZATION, auth.header())));
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
        if endpoint.is_local() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| IntakeError::Client(reason(error)))?;
        Ok(Self { client, endpoint, auth: settings.auth.clone() })
    }

    pub(super) fn wants_gzip(&self) -> bool {
        self.endpoint.wants_gzip()
    }

    /// One attempt. An error says, for the log, why nothing came back.
    pub(super) async fn send(self, body: Bytes, gzip: bool) -> Result<Answer, String> {
        let suppressed = opentelemetry::Context::current().with_telemetry_suppressed();
        let sent = self.attempt(body, gzip).with_context(suppressed).await;
        sent.map_err(|error| self.hide_in(&reason(error)))
    }

    /// What came from outside, without our credentials.
    pub(super) fn hide_in(&self, text: &str) -> String {
        self.auth.as_ref().map_or_else(|| text.to_owned(), |auth| auth.hide_in(text))
    }

    async fn attempt(&self, body: Bytes, gzip: bool) -> Result<Answer, reqwest::Error> {
        let mut request = self.client.post(self.endpoint.url().clone()).body(body);
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

/// The error and its causes in one line, without the URL, which may hold credentials.
fn reason(error: reqwest::Error) -> String {
    let what = match () {
        () if error.is_connect() => "could not connect",
        () if error.is_timeout() => "no answer within server_timeout",
        () if error.is_builder() => "could not be built",
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
