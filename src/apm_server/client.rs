//! Bytes to the server and bytes back.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use opentelemetry::context::FutureExt;
use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};

use tokio::sync::watch;

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

/// Calls the server with our credentials. Cheap to clone; every clone calls the same one of several servers.
#[derive(Clone)]
pub(crate) struct ServerClient {
    servers: Arc<[Server]>,
    /// The index of the one that is called.
    in_use: watch::Sender<usize>,
    /// What is never shown.
    secrets: Arc<[Secret]>,
    /// There is an `Authorization` header.
    authorized: bool,
    gzip: bool,
}

struct Server {
    client: Client,
    /// May hold a user and password.
    url: ServerUrl,
}

impl ServerClient {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// Names the option that cannot be used. That the server cannot be reached is none.
    pub(crate) fn new(settings: &ServerSettings) -> Result<Self, BuildError> {
        let (mut headers, secrets) = settings.secret_headers().map_err(client_error)?;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let tls = settings.tls()?;
        let server = |url: &ServerUrl| {
            let mut builder = Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .default_headers(headers.clone())
                .user_agent(settings.user_agent.clone())
                .redirect(redirect::Policy::none())
                .timeout(settings.server_timeout)
                .connect_timeout(settings.server_timeout.min(CONNECT))
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(1)
                .http1_only();
            if url.is_loopback() {
                builder = builder.no_proxy();
            }
            Ok(Server { client: builder.build().map_err(client_error)?, url: url.clone() })
        };
        let servers = settings.urls().map(server).collect::<Result<_, BuildError>>()?;
        let gzip = settings.gzip.unwrap_or(!settings.is_loopback());
        let (authorized, in_use) = (settings.is_authorized(), watch::Sender::new(0));
        Ok(Self { servers, in_use, secrets, authorized, gzip })
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
        self.deliver(request).await
    }

    /// Sends a body with headers of its own; one attempt.
    #[cfg(feature = "otlp")]
    pub(crate) async fn post_with(&self, path: &str, headers: HeaderMap, body: Bytes) -> Result<Answer, String> {
        self.deliver(self.request(Method::POST, path)?.headers(headers).body(body)).await
    }

    async fn deliver(&self, request: RequestBuilder) -> Result<Answer, String> {
        let asked = *self.in_use.borrow();
        let sent = self.send(request).await;
        // 400 and 413 are about what was sent, and no other server would say otherwise
        if !sent.as_ref().is_ok_and(|answer| matches!(answer.status, 200..300 | 400 | 413)) {
            self.go_on_from(asked);
        }
        sent
    }

    /// Begins a request for a path of the server's API, which begins with a slash.
    pub(super) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, String> {
        let server = self.servers.get(*self.in_use.borrow()).ok_or("there is no server")?;
        let mut url = Url::parse(&server.url.join(path)).map_err(|error| error.to_string())?;
        if self.authorized {
            // or those of the URL would take the header's place
            let _ = url.set_username("").and_then(|()| url.set_password(None));
        }
        Ok(server.client.request(method, url))
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, String> {
        let suppressed = opentelemetry::Context::current().with_telemetry_suppressed();
        let sent = async {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok(Answer { status, headers, body: read(response).await })
        };
        let server = self.servers.get(*self.in_use.borrow()).map_or_else(String::new, |server| server.url.to_string());
        sent.with_context(suppressed).await.map_err(|error| self.hide_in(&format!("{} ({server})", reason(error))))
    }

    /// The server of this index took no events: the next one is called from now on (agent-spec 2.6). The worker backs
    /// off between its attempts, so that they do not chase each other when all are down; what is asked beside goes to
    /// whichever server the events go to.
    fn go_on_from(&self, failed: usize) {
        let next = (failed + 1) % self.servers.len().max(1);
        self.in_use.send_if_modified(|in_use| {
            let goes_on = *in_use == failed && next != failed;
            if goes_on {
                *in_use = next;
            }
            goes_on
        });
    }

    /// Tells each time another server is called.
    pub(super) fn changes(&self) -> watch::Receiver<usize> {
        self.in_use.subscribe()
    }

    /// What came from outside, without our credentials.
    pub(crate) fn hide_in(&self, text: &str) -> String {
        hide(&self.secrets, text)
    }
}

impl std::fmt::Debug for ServerClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.servers.iter().map(|server| &server.url)).finish()
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
