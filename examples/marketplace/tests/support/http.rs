//! A client of the API.

use std::{net::SocketAddr, time::Duration};

use reqwest::Method;
use serde_json::Value;

/// How long a request can take. The service itself ends requests earlier.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A client for all instances of the API.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    pub(crate) apis: Vec<SocketAddr>,
}

/// A request that can be sent to any instance.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) key: Option<String>,
    pub(crate) body: Option<Value>,
    pub(crate) timeout: Duration,
}

/// The result of a request, as far as the client knows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// The request was executed or refused.
    Definite(u16, Value),
    /// The request may have been executed. Contains the reason.
    Unknown(String),
}

impl Client {
    pub(crate) fn new(apis: Vec<SocketAddr>) -> Self {
        // The client requires a TLS provider even for plain HTTP. Installing it fails if there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without certificates");
        Self { http, apis }
    }

    /// Sends a request to one instance.
    pub(crate) async fn send(&self, api: usize, request: &Request) -> Answer {
        let url = format!("http://{}{}", self.apis[api], request.path);
        let mut http = self.http.request(request.method.clone(), url).timeout(request.timeout);
        http = http.header("x-user-id", "client");
        if let Some(key) = &request.key {
            http = http.header("idempotency-key", key);
        }
        if let Some(body) = &request.body {
            http = http.json(body);
        }
        let response = match http.send().await {
            Ok(response) => response,
            Err(error) => return Answer::Unknown(describe(&error)),
        };
        let status = response.status().as_u16();
        let body = match response.json::<Value>().await {
            Ok(body) => body,
            Err(error) => return Answer::Unknown(format!("{status}, {}", describe(&error))),
        };
        match status {
            // 408: the service did not answer in time, and may still execute the request
            408 | 429 | 500.. => Answer::Unknown(format!("{status} {}", body["error"])),
            _ => Answer::Definite(status, body),
        }
    }
}

impl Request {
    pub(crate) fn get(path: String) -> Self {
        Self { method: Method::GET, path, key: None, body: None, timeout: REQUEST_TIMEOUT }
    }

    pub(crate) fn post(path: String, body: Value) -> Self {
        Self { method: Method::POST, path, key: None, body: Some(body), timeout: REQUEST_TIMEOUT }
    }
}

fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "timed out".to_owned()
    } else if error.is_connect() {
        "not connected".to_owned()
    } else {
        "connection lost".to_owned()
    }
}

/// Converts an amount in an answer to millionths.
pub(crate) fn millionths(amount: &Value) -> Option<i64> {
    let text = amount.as_str()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<6}").parse().ok()
}
