//! Bytes to the server and bytes back.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use opentelemetry::context::FutureExt;
use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};

use super::ServerSettings;
use crate::{
    config::{Secret, ServerUrl},
    error::BuildError,
};

/// An error document may quote five events of 300 KiB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// The server closes what is idle for 45 s.
const IDLE: Duration = Duration::from_secs(40);
const CONNECT: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Possibly cut off.
    pub(crate) body: Vec<u8>,
}

/// Calls the server with our credentials. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ServerClient {
    client: Client,
    /// May hold a user and password.
    url: ServerUrl,
    /// What is never shown.
    secrets: Arc<[Secret]>,
    /// There is an `Authorization` header.
    authorized: bool,
    gzip: bool,
}

impl ServerClient {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// Names the option that cannot be used. That the server cannot be reached is none.
    pub(crate) fn new(settings: &ServerSettings) -> Result<Self, BuildError> {
        let server = &settings.server_url;
        let (mut headers, secrets) = settings.secret_headers().map_err(client_error)?;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut builder = Client::builder()
            .tls_backend_preconfigured(settings.tls()?)
            .default_headers(headers)
            .user_agent(settings.user_agent.clone())
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
        let gzip = settings.gzip.unwrap_or(!server.is_loopback());
        let authorized = settings.is_authorized();
        Ok(Self { client, url: server.clone(), secrets, authorized, gzip })
    }

    /// Whether bodies are compressed.
    pub(crate) fn gzip(&self) -> bool {
        self.gzip
    }

    /// Sends a body, as it is; one attempt. An error says, for the log, why nothing came back.
    pub(crate) async fn post(&self, path: &str, kind: &'static str, body: Bytes, gzip: bool) -> Result<Answer, String> {
        let mut request = self.request(Method::POST, path)?.header(CONTENT_TYPE, kind).body(body);
        if gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        self.send(request).await
    }

    /// Sends a body with headers of its own; one attempt.
    #[cfg(feature = "otlp")]
    pub(crate) async fn post_with(&self, path: &str, headers: HeaderMap, body: Bytes) -> Result<Answer, String> {
        self.send(self.request(Method::POST, path)?.headers(headers).body(body)).await
    }

    /// Begins a request for a path of the server's API, which begins with a slash.
    pub(super) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, String> {
        let mut url = Url::parse(&self.url.join(path)).map_err(|error| error.to_string())?;
        if self.authorized {
            // or those of the URL would take the header's place
            let _ = url.set_username("").and_then(|()| url.set_password(None));
        }
        Ok(self.client.request(method, url))
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, String> {
        let suppressed = opentelemetry::Context::current().with_telemetry_suppressed();
        let sent = async {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok(Answer { status, headers, body: read(response).await })
        };
        sent.with_context(suppressed).await.map_err(|error| self.hide_in(&reason(error)))
    }

    /// What came from outside, without our credentials.
    pub(crate) fn hide_in(&self, text: &str) -> String {
        hide(&self.secrets, text)
    }
}

impl std::fmt::Debug for ServerClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerClient").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What came from outside, without what is secret.
pub(crate) fn hide(secrets: &[Secret], text: &str) -> String {
    let secrets = secrets.iter().filter(|secret| !secret.reveal().is_empty());
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret.reveal(), &secret.to_string()))
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
