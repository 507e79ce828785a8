//! One request and its answer, within a time limit.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Uri, header::PROXY_AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};

use super::{Connector, Proxies};

/// An APM Server closes a connection that has been idle for 45 s.
const IDLE: Duration = Duration::from_secs(40);

/// A server's answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Incomplete where the answer was too long, late or cut off.
    pub(crate) body: Vec<u8>,
    /// Where a redirect leads: a URL without credentials, query and fragment. Redirects are not followed.
    pub(crate) redirect: Option<String>,
}

impl Answer {
    /// Names the target of a redirect, for a sentence that ends with the status.
    pub(crate) fn redirection(&self) -> String {
        self.redirect.as_ref().map(|target| format!(", a redirect to {target}")).unwrap_or_default()
    }
}

/// The limits of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    /// From the connection to the last byte of the answer.
    pub(crate) total: Duration,
    /// How long the body of a 2xx answer may take after its head.
    pub(crate) success_body: Duration,
    /// Bytes of the answer's body that are read.
    pub(crate) body_bytes: usize,
}

/// An HTTP/1 client that keeps one idle connection per server and follows no redirects. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    proxies: Proxies,
}

impl HttpClient {
    pub(crate) fn new(connector: Connector, proxies: Proxies) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector);
        Self { client, proxies }
    }

    /// Sends a request to its absolute URL; one attempt.
    ///
    /// # Errors
    /// Why there is no answer, for the log. The text contains neither the URL nor credentials.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        limits: RequestLimits,
    ) -> Result<Answer, String> {
        if let Some(authorization) = self.proxies.authorization(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
        }
        let url = request.uri().clone();
        let deadline = Instant::now() + limits.total;
        let response = match timeout_at(deadline, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Err(with_causes("could not connect", &error)),
            Ok(Err(error)) => return Err(with_causes("no answer", &error)),
            Err(_) => return Err(format!("no answer within server_timeout ({:?})", limits.total)),
        };
        let (head, body) = response.into_parts();
        let deadline = match head.status.is_success() {
            true => deadline.min(Instant::now() + limits.success_body),
            false => deadline,
        };
        let mut read = Vec::new();
        // the status is sufficient if the body is late or incomplete
        let _ = timeout_at(deadline, read_body(body, limits.body_bytes, &mut read)).await;
        let redirect = head.status.is_redirection().then(|| redirect_target(&head.headers, &url)).flatten();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: read, redirect })
    }
}

async fn read_body(mut body: Incoming, limit: usize, read: &mut Vec<u8>) {
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(chunk) = frame.into_data() else { continue };
        let room = limit - read.len();
        read.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if read.len() >= limit {
            return;
        }
    }
}

/// Adds an error's causes to a sentence, each once.
pub(crate) fn with_causes(what: &str, error: &dyn Error) -> String {
    let mut reason = what.to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !reason.ends_with(&text) {
            reason.push_str(": ");
            reason.push_str(&text);
        }
        cause = error.source();
    }
    reason
}

/// Longer targets are cut.
const MAX_TARGET: usize = 200;

fn redirect_target(headers: &HeaderMap, url: &Uri) -> Option<String> {
    let location = headers.get(http::header::LOCATION)?.to_str().ok()?.trim();
    let location = location.split(['?', '#']).next().filter(|location| !location.is_empty())?;
    let (scheme, authority) = (url.scheme_str()?, url.authority()?.as_str());
    let target = match location.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", without_user(rest)),
        None if location.starts_with("//") => format!("{scheme}://{}", without_user(&location[2..])),
        None if location.starts_with('/') => format!("{scheme}://{}{location}", without_user(authority)),
        None => format!("{scheme}://{}/{location}", without_user(authority)),
    };
    Some(target.chars().filter(|c| !c.is_control()).take(MAX_TARGET).collect())
}

/// Removes user and password from what follows the scheme of a URL.
fn without_user(rest: &str) -> String {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{}{path}", authority.rsplit('@').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn redirect_target_is_absolute_without_credentials_query_and_fragment() {
        let url = Uri::from_static("http://apm.example:8200/intake/v2/events");
        let cases = [
            ("https://apm.example/intake/v2/events", Some("https://apm.example/intake/v2/events")),
            ("https://ada:pw@login.example/?token=hunter2#part", Some("https://login.example/")),
            ("https://ada:p@w@login.example", Some("https://login.example")),
            ("//other.example/x", Some("http://other.example/x")),
            ("/apm/", Some("http://apm.example:8200/apm/")),
            ("login?next=/", Some("http://apm.example:8200/login")),
            ("?a=b", None),
            ("", None),
        ];
        for (location, target) in cases {
            let headers = HeaderMap::from_iter([(http::header::LOCATION, HeaderValue::from_static(location))]);
            assert_eq!(redirect_target(&headers, &url).as_deref(), target, "{location}");
        }
        assert_eq!(redirect_target(&HeaderMap::new(), &url), None);
    }
}
