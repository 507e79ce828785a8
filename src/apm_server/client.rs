//! Requests to the server, with the agent's credentials.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::Full;
use opentelemetry::context::FutureExt;
use tokio::sync::watch;

use super::ServerSettings;
use crate::{
    config::{Secret, ServerUrl},
    error::BuildError,
    transport::{Answer, HttpClient, HttpVersion, RequestLimits},
};

/// An error document may quote five events of 300 KiB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// A 2xx head means that the events were accepted. Its body can only add what was rejected of them.
const SUCCESS_BODY: Duration = Duration::from_secs(2);
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Calls the server with the agent's credentials. Cheap to clone. If there are several servers, all clones use the same one.
#[derive(Clone)]
pub(crate) struct ServerClient {
    servers: Arc<[Server]>,
    /// The index of the server that is called.
    in_use: watch::Sender<usize>,
    /// Of every request.
    headers: Arc<HeaderMap>,
    /// Credentials that are removed from all shown text.
    secrets: Arc<[Secret]>,
    timeout: Duration,
    gzip: bool,
}

struct Server {
    client: HttpClient,
    url: ServerUrl,
}

impl ServerClient {
    /// Makes a client, which sends nothing yet.
    ///
    /// # Errors
    /// Names the option that cannot be used. A server that cannot be reached is no error.
    pub(crate) fn new(settings: &ServerSettings) -> Result<Self, BuildError> {
        let (mut headers, secrets) = settings.secret_headers().map_err(client_error)?;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, settings.user_agent.clone());
        let tls = settings.tls(HttpVersion::Http1)?;
        let servers = settings.urls().map(|url| {
            let (connector, proxies) = settings.connector(url, tls.clone(), HttpVersion::Http1);
            Server { client: HttpClient::new(connector, proxies), url: url.clone() }
        });
        Ok(Self {
            servers: servers.collect(),
            in_use: watch::Sender::new(0),
            headers: Arc::new(headers),
            secrets,
            timeout: settings.server_timeout,
            gzip: settings.gzip.unwrap_or(!settings.is_loopback()),
        })
    }

    /// Returns whether bodies are compressed.
    pub(crate) fn gzip(&self) -> bool {
        self.gzip
    }

    /// Sends a body as it is; one attempt.
    ///
    /// # Errors
    /// Why there is no answer, for the log.
    pub(crate) async fn post(&self, path: &str, kind: &'static str, body: Bytes, gzip: bool) -> Result<Answer, String> {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        if gzip {
            headers.insert(CONTENT_ENCODING, GZIP);
        }
        self.post_with(path, headers, body).await
    }

    /// Sends a body with further headers; one attempt. After an answer that another server could improve, the next
    /// server is called from then on.
    ///
    /// # Errors
    /// Why there is no answer, for the log.
    pub(crate) async fn post_with(&self, path: &str, headers: HeaderMap, body: Bytes) -> Result<Answer, String> {
        let asked = *self.in_use.borrow();
        let sent = self.send(Method::POST, path, headers, body, SUCCESS_BODY).await;
        // 400 and 413 are about the events, and every server would give the same answer
        if !sent.as_ref().is_ok_and(|answer| matches!(answer.status, 200..300 | 400 | 413)) {
            self.go_on_from(asked);
        }
        sent
    }

    /// Reads a path of the server's API; one attempt.
    ///
    /// # Errors
    /// Why there is no answer, for the log.
    pub(super) async fn get(&self, path: &str, headers: HeaderMap) -> Result<Answer, String> {
        self.send(Method::GET, path, headers, Bytes::new(), self.timeout).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        success_body: Duration,
    ) -> Result<Answer, String> {
        let server = self.servers.get(*self.in_use.borrow()).ok_or("there is no server")?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = server.url.join(path).parse().map_err(|error| format!("{error}"))?;
        *request.headers_mut() = (*self.headers).clone();
        if let Some(basic) = server.url.basic_auth() {
            request.headers_mut().entry(AUTHORIZATION).or_insert_with(|| basic.clone());
        }
        request.headers_mut().extend(headers);
        let limits = RequestLimits { total: self.timeout, success_body, body_bytes: MAX_ANSWER };
        let suppressed = opentelemetry::Context::current().with_telemetry_suppressed();
        match server.client.send(request, limits).with_context(suppressed).await {
            Ok(answer) => Ok(Answer { redirect: answer.redirect.map(|target| self.hide_in(&target)), ..answer }),
            Err(reason) => Err(self.hide_in(&format!("{reason} ({})", server.url))),
        }
    }

    /// The server of this index accepted no events: the next one is called from now on (agent-spec 2.6). The worker backs
    /// off between its attempts, so the agent does not rush through servers that are all down. Other requests go to the
    /// same server as the events.
    pub(super) fn go_on_from(&self, failed: usize) {
        let next = (failed + 1) % self.servers.len().max(1);
        self.in_use.send_if_modified(|in_use| {
            let goes_on = *in_use == failed && next != failed;
            if goes_on {
                *in_use = next;
            }
            goes_on
        });
    }

    /// The index of the server that is called now.
    pub(super) fn in_use(&self) -> usize {
        *self.in_use.borrow()
    }

    /// Returns whether there is another server to call if this one fails.
    pub(crate) fn has_several(&self) -> bool {
        self.servers.len() > 1
    }

    /// Notifies each time another server is called.
    pub(super) fn changes(&self) -> watch::Receiver<usize> {
        self.in_use.subscribe()
    }

    /// Removes the agent's credentials from text that the server sent.
    pub(crate) fn hide_in(&self, text: &str) -> String {
        hide(&self.secrets, text)
    }
}

impl std::fmt::Debug for ServerClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.servers.iter().map(|server| &server.url)).finish()
    }
}

/// Removes secrets from text.
pub(crate) fn hide(secrets: &[Secret], text: &str) -> String {
    let secrets = secrets.iter().filter(|secret| !secret.reveal().is_empty());
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret.reveal(), &secret.to_string()))
}

fn client_error(error: impl Error + Send + Sync + 'static) -> BuildError {
    BuildError::Client { source: Box::new(error) }
}
