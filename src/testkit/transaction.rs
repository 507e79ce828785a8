//! Checks on a transaction that has arrived.

use std::sync::Arc;

use serde_json::Value;

use super::{
    ExpectedError, ExpectedSpan, by_otlp,
    checks::{context_checks, event_checks},
    nearest::nearest,
    received::{Arrived, Received, error_name, is_error_called, is_named, text},
    scene::Scene,
    snapshot,
    subject::{Subject, compare},
};

/// A transaction that has arrived. Each check selects the transactions that pass, and panics if none passes. See the
/// [module](super).
///
/// ```
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use tower::ServiceExt;
/// use tower_apm::{Transaction, testkit::TestAgent};
///
/// #[tracing::instrument]
/// async fn load() {}
///
/// async fn listing(tx: Transaction) {
///     tx.set_label("token_id", "42");
///     load().await;
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let apm = TestAgent::start().await;
/// let app = Router::new().route("/listings/{id}", get(listing)).layer(apm.layer());
/// app.oneshot(Request::get("/listings/7").body(Body::empty()).unwrap()).await.unwrap();
///
/// let listing = apm
///     .expect_transaction("GET /listings/{id}")
///     .await
///     .kind("request")
///     .result("HTTP 2xx")
///     .outcome("success")
///     .status(200)
///     .label("token_id", "42")
///     .no_label("aborted")
///     .span("load", |span| span.kind("app", "internal"))
///     .span_count(1)
///     .field("/context/request/url/pathname", "/listings/7");
/// assert_eq!(listing.trace_id().len(), 32);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ExpectedTransaction {
    pub(super) subject: Subject,
}

event_checks!(ExpectedTransaction);
context_checks!(ExpectedTransaction);

impl ExpectedTransaction {
    #[track_caller]
    fn value(self, what: &str, pointer: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let subject = self.subject.check(&format!("with {what} {value}"), |transaction| {
            compare(transaction, pointer, &format!("the {what}"), &value)
        });
        Self { subject }
    }

    /// Checks the outcome: `success`, `failure` or `unknown`.
    #[track_caller]
    pub fn outcome(self, outcome: &str) -> Self {
        let subject = self.subject.check(&format!("with outcome {outcome:?}"), |event| event.outcome(outcome));
        Self { subject }
    }

    /// Checks the result, such as `HTTP 2xx`, or the text that the code has set.
    #[track_caller]
    pub fn result(self, result: &str) -> Self {
        let subject = self.subject.check(&format!("with result {result:?}"), |transaction| {
            let found = text(transaction, "/result");
            if transaction.by_otlp && by_otlp::is_result(found, result) {
                return Ok(());
            }
            compare(transaction, "/result", "the result", &result.into())
        });
        Self { subject }
    }

    /// Checks the type, such as `request`, `scheduled` or `messaging`.
    #[track_caller]
    pub fn kind(self, kind: &str) -> Self {
        self.value("type", "/type", kind)
    }

    /// Checks the status of the response.
    #[track_caller]
    pub fn status(self, status: u16) -> Self {
        self.value("status", "/context/response/status_code", status)
    }

    /// Checks a header of the response. The name is in lower case.
    #[track_caller]
    pub fn response_header(self, name: &str, value: &str) -> Self {
        let label = format!("response header {name}");
        let subject = self.subject.check(&format!("with {label} {value:?}"), |transaction| {
            if transaction.by_otlp {
                return by_otlp::header(transaction, "response", name, &label, &value.into());
            }
            compare(transaction, &format!("/context/response/headers/{name}"), &label, &value.into())
        });
        Self { subject }
    }

    /// Checks that the transaction was aborted before its end: it has the label `aborted` and an unknown outcome.
    #[track_caller]
    pub fn aborted(self) -> Self {
        self.label("aborted", true).outcome("unknown")
    }

    /// Checks that the transaction has a span of this name, at any depth, for which the checks hold.
    ///
    /// This check does not wait. To wait for a span that ends after its transaction, such as one of a spawned task, put
    /// [`span`](super::PendingTransaction::span) before the `.await`.
    #[track_caller]
    pub fn span(self, name: &str, checks: impl Fn(ExpectedSpan) -> ExpectedSpan) -> Self {
        let (scene, received) = (self.subject.scene.clone(), self.subject.scene.received());
        let subject = self
            .subject
            .check(&with_span(name), |transaction| find_span(&scene, &received, transaction, name, &checks));
        Self { subject }
    }

    /// Checks that no span of this name has arrived so far.
    #[track_caller]
    pub fn no_span(self, name: &str) -> Self {
        let received = self.subject.scene.received();
        let subject = self.subject.check(&format!("without a span {name:?}"), |transaction| {
            let found = received.within(&received.spans, transaction).any(|span| is_named(span, name));
            if found { Err("there is one".to_owned()) } else { Ok(()) }
        });
        Self { subject }
    }

    /// Checks the number of spans at the end of the transaction. Spans that `transaction_max_spans` dropped do not count.
    #[track_caller]
    pub fn span_count(self, spans: u64) -> Self {
        let received = self.subject.scene.received();
        let subject = self.subject.check(&format!("with span count {spans}"), |transaction| {
            if !transaction.by_otlp {
                return compare(transaction, "/span_count/started", "the span count", &spans.into());
            }
            match received.within(&received.spans, transaction).count() as u64 {
                found if found == spans => Ok(()),
                found => Err(format!("{found} spans have arrived")),
            }
        });
        Self { subject }
    }

    /// Checks that the transaction has an error of this type or message, at any depth, for which the checks hold.
    ///
    /// This check does not wait. To wait for an error that is captured after the end of its transaction, put
    /// [`error`](super::PendingTransaction::error) before the `.await`.
    #[track_caller]
    pub fn error(self, type_or_message: &str, checks: impl Fn(ExpectedError) -> ExpectedError) -> Self {
        let (scene, received) = (self.subject.scene.clone(), self.subject.scene.received());
        let subject = self.subject.check(&with_error(type_or_message), |transaction| {
            find_error(&scene, &received, transaction, type_or_message, &checks)
        });
        Self { subject }
    }

    /// Checks that no error of the transaction has arrived so far.
    #[track_caller]
    pub fn no_error(self) -> Self {
        let received = self.subject.scene.received();
        let subject = self.subject.check("without an error", |transaction| {
            match received.within(&received.errors, transaction).next() {
                Some(error) => Err(format!("there is {:?}", error_name(error))),
                None => Ok(()),
            }
        });
        Self { subject }
    }

    /// Returns the transaction with its spans and errors, without values that differ from run to run; see
    /// [`TestAgent::snapshot`](super::TestAgent::snapshot).
    ///
    /// # Panics
    /// Panics if several transactions pass the checks so far.
    #[track_caller]
    #[must_use]
    pub fn redacted(&self) -> Value {
        snapshot::of_transaction(self.subject.only(), &self.subject.scene.received())
    }
}

/// Describes the check of a span in a failure message.
pub(super) fn with_span(name: &str) -> String {
    format!("with a span {name:?} as described")
}

/// Describes the check of an error in a failure message.
pub(super) fn with_error(type_or_message: &str) -> String {
    format!("with an error {type_or_message:?} as described")
}

/// Looks for a span of a transaction that passes the checks. Returns a description of the nearest span otherwise.
pub(super) fn find_span(
    scene: &Scene,
    received: &Received,
    transaction: &Arrived,
    name: &str,
    checks: &dyn Fn(ExpectedSpan) -> ExpectedSpan,
) -> Result<(), String> {
    let all: Vec<_> = received.within(&received.spans, transaction).collect();
    let named: Vec<_> = all.iter().filter(|span| is_named(span, name)).map(|span| Arc::clone(span)).collect();
    if named.is_empty() {
        return Err(none_such("span", nearest(name, all.iter().map(|span| text(span, "/name")))));
    }
    let checked = checks(ExpectedSpan { subject: Subject::inner(scene.clone(), named) });
    checked.subject.result().map_err(|miss| format!("its span {name:?} is {miss}"))
}

/// Looks for an error of a transaction that passes the checks. Returns a description of the nearest error otherwise.
pub(super) fn find_error(
    scene: &Scene,
    received: &Received,
    transaction: &Arrived,
    type_or_message: &str,
    checks: &dyn Fn(ExpectedError) -> ExpectedError,
) -> Result<(), String> {
    let all: Vec<_> = received.within(&received.errors, transaction).collect();
    let named = all.iter().filter(|error| is_error_called(error, type_or_message));
    let named: Vec<_> = named.map(|error| Arc::clone(error)).collect();
    if named.is_empty() {
        let names = all.iter().map(|error| error_name(error));
        return Err(none_such("error", nearest(type_or_message, names)));
    }
    let checked = checks(ExpectedError { subject: Subject::inner(scene.clone(), named) });
    checked.subject.result().map_err(|miss| format!("its error {type_or_message:?} is {miss}"))
}

fn none_such(what: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("it has no such {what}; the nearest is {nearest:?}"),
        None => format!("it has no {what} at all"),
    }
}
