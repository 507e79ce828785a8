//! Sends the demo's requests and counts their responses.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, Response, Url};
use serde_json::Value;

use super::{DemoError, Report, Settings};
use crate::{customer::USER_ID, http_client, wallet::change::IDEMPOTENCY_KEY};

/// How long a client waits that disconnects before the response.
const DISCONNECT_AFTER: Duration = Duration::from_millis(250);
/// How long a result can take that does not come with a response.
pub(super) const RESULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The delay between two requests for such a result.
const POLL_DELAY: Duration = Duration::from_millis(250);

/// The clients of a demo.
pub(super) struct Visitors {
    http: Client,
    base: Url,
    pub(super) quick: bool,
    report: Report,
}

/// One request, and the expected status.
pub(super) struct Visit<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// The header `Idempotency-Key`.
    pub(super) key: Option<&'a str>,
    pub(super) expected: u16,
    /// The text that is printed next to the request.
    pub(super) story: &'a str,
}

impl<'a> Visit<'a> {
    pub(super) fn get(user: &'a str, path: impl Into<String>) -> Self {
        Self {
            user: Some(user),
            method: Method::GET,
            path: path.into(),
            body: None,
            key: None,
            expected: 200,
            story: "",
        }
    }

    pub(super) fn post(user: &'a str, path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, body: Some(body), ..Self::get(user, path) }
    }

    pub(super) fn with_key(self, key: &'a str) -> Self {
        Self { key: Some(key), ..self }
    }

    pub(super) fn without_user(self) -> Self {
        Self { user: None, ..self }
    }

    pub(super) fn expect(self, expected: u16, story: &'a str) -> Self {
        Self { expected, story, ..self }
    }
}

impl Visitors {
    pub(super) fn new(settings: &Settings) -> Result<Self, DemoError> {
        let http = http_client::builder(&settings.base)
            .user_agent(concat!("marketplace-demo/", env!("CARGO_PKG_VERSION")))
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(DemoError::Client)?;
        Ok(Self { http, base: settings.base.clone(), quick: settings.quick, report: Report::default() })
    }

    /// Fails if no service answers.
    pub(super) async fn check_service(&self) -> Result<(), DemoError> {
        let answer = self.http.get(self.base.clone()).send().await;
        answer.map(|_| ()).map_err(|source| DemoError::NoMarketplace { base: self.base.clone(), source })
    }

    /// Sends one request and returns the JSON of the response.
    pub(super) async fn send(&mut self, visit: Visit<'_>) -> Result<Value, DemoError> {
        let response = self.open(&visit).await?;
        Ok(response.json().await.unwrap_or_default())
    }

    /// Sends several requests at once.
    pub(super) async fn send_together(&mut self, visits: &[Visit<'_>]) -> Result<(), DemoError> {
        let responses = futures_util::future::join_all(visits.iter().map(|visit| self.request(visit).send())).await;
        for (response, visit) in responses.into_iter().zip(visits) {
            self.count(visit, response?.status().as_u16());
        }
        self.pause().await;
        Ok(())
    }

    /// Sends one request and returns the response as soon as its head arrives.
    pub(super) async fn open(&mut self, visit: &Visit<'_>) -> Result<Response, DemoError> {
        let response = self.request(visit).send().await?;
        self.count(visit, response.status().as_u16());
        self.pause().await;
        Ok(response)
    }

    /// Repeats a request until its status and body fulfil a condition. Returns the body, or `None` after 30 seconds.
    pub(super) async fn wait_for(
        &mut self,
        visit: Visit<'_>,
        condition: impl Fn(u16, &Value) -> bool,
    ) -> Result<Option<Value>, DemoError> {
        let deadline = Instant::now() + RESULT_TIMEOUT;
        loop {
            let response = self.request(&visit).send().await?;
            let status = response.status().as_u16();
            let body = response.json().await.unwrap_or_default();
            let fulfilled = condition(status, &body);
            if fulfilled || Instant::now() > deadline {
                self.count(&visit, status);
                return Ok(fulfilled.then_some(body));
            }
            tokio::time::sleep(POLL_DELAY).await;
        }
    }

    /// Prints whether a result is as expected: `text` if it is, else `problem`.
    pub(super) fn check(&mut self, is_expected: bool, text: &str, problem: &str) {
        if is_expected {
            println!("  -> {text}");
        } else {
            self.report.surprises += 1;
            println!("  -> unexpected: {problem}");
        }
    }

    /// Sends one request and closes the connection before the response.
    pub(super) async fn leave(&mut self, visit: &Visit<'_>) -> Result<(), DemoError> {
        match self.request(visit).timeout(DISCONNECT_AFTER).send().await {
            Err(error) if error.is_timeout() => {
                self.report.requests += 1;
                print(visit, "left");
            }
            Err(error) => return Err(error.into()),
            Ok(response) => self.count(visit, response.status().as_u16()),
        }
        self.pause().await;
        Ok(())
    }

    pub(super) fn into_report(self) -> Report {
        self.report
    }

    pub(super) fn url(&self, visit: &Visit<'_>) -> Url {
        let mut url = self.base.clone();
        let (path, query) = visit.path.split_once('?').unwrap_or((&visit.path, ""));
        url.set_path(path);
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        url
    }

    fn request(&self, visit: &Visit<'_>) -> reqwest::RequestBuilder {
        let mut request = self.http.request(visit.method.clone(), self.url(visit));
        if let Some(user) = visit.user {
            request = request.header(USER_ID, user);
        }
        if let Some(key) = visit.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        match &visit.body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    pub(super) fn count(&mut self, visit: &Visit<'_>, status: u16) {
        self.report.requests += 1;
        if status == visit.expected {
            print(visit, &status.to_string());
        } else {
            self.report.surprises += 1;
            print(visit, &format!("{status}, {} was expected", visit.expected));
        }
    }

    /// Pauses like a person between two requests.
    pub(super) async fn pause(&self) {
        if !self.quick {
            let millis = 100 + self.report.requests as u64 * 37 % 400;
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }
}

fn print(visit: &Visit<'_>, outcome: &str) {
    let who = visit.user.unwrap_or("someone");
    println!("  {who:<7} {:<4} {:<38} {outcome:<4} {}", visit.method.as_str(), visit.path, visit.story);
}
