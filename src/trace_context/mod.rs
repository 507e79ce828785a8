//! Writes the trace context into the headers of outgoing calls and messages, and reads it from incoming ones.
//!
//! Most services do not need this module: the layer reads the headers of requests, and [`messaging`](crate::messaging)
//! and the client integrations of this crate handle the headers of messages and calls. Use [`inject`] for calls of
//! another client, and [`extract_message`] with [`Transaction::start_from`](crate::Transaction::start_from) for work
//! that comes from elsewhere:
//!
//! ```
//! use std::collections::HashMap;
//! use tower_apm::{Transaction, trace_context};
//!
//! struct Job {
//!     headers: HashMap<String, Vec<u8>>,
//! }
//!
//! fn enqueue(job: &mut Job) {
//!     trace_context::inject_message(&mut job.headers);
//! }
//!
//! async fn work(job: Job) {
//!     let sender = trace_context::extract_message(|name| job.headers.get(name).map(Vec::as_slice));
//!     Transaction::start_from(&sender, "settle auctions", "scheduled").run(settle()).await;
//! }
//! # async fn settle() {}
//! # let mut job = Job { headers: HashMap::new() };
//! # enqueue(&mut job);
//! # assert!(job.headers.is_empty());
//! # drop(work(job));
//! ```
//!
//! Baggage ([W3C](https://www.w3.org/TR/baggage/)) is passed on with the trace. It is set with
//! [`opentelemetry::baggage`](https://docs.rs/opentelemetry/latest/opentelemetry/baggage/) in the current context, and the
//! option `baggage_to_attach` names the entries that are recorded with events.

mod bytes_injector;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;

pub use self::bytes_injector::BytesInjector;
pub use crate::propagation::TraceContext;
use crate::{otel::outgoing, record::current_context};

/// Writes `traceparent`, `tracestate` and `baggage` of the current span, or else of the current transaction, into the
/// headers of a call.
///
/// Existing trace headers are replaced. Without a current span or transaction, the headers are not changed.
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// tower_apm::trace_context::inject(&mut headers);
/// assert!(headers.is_empty(), "there is no transaction here");
/// ```
pub fn inject(headers: &mut HeaderMap) {
    inject_from(&current_context(), headers);
}

/// Writes the trace headers of the given context. Otherwise the same as [`inject`].
pub(crate) fn inject_from(context: &Context, headers: &mut HeaderMap) {
    let Some(outgoing) = outgoing(context) else { return };
    for (name, value) in outgoing.headers() {
        let name = HeaderName::from_static(name);
        match value.map(HeaderValue::try_from) {
            Some(Ok(value)) => drop(headers.insert(name, value)),
            _ => drop(headers.remove(name)),
        }
    }
}

/// Writes the trace headers into the headers of a message whose values are bytes.
///
/// The trace headers are those of the current span, otherwise of the current transaction: `traceparent`, `tracestate`
/// and `baggage` as text, and `elasticapmtraceparent` for consumers that use Elastic agents from before 2023. Existing
/// trace headers are replaced. Without a current span or transaction, the headers are not changed.
///
/// ```
/// use std::collections::HashMap;
///
/// let mut headers = HashMap::<String, Vec<u8>>::new();
/// tower_apm::trace_context::inject_message(&mut headers);
/// assert!(headers.is_empty(), "there is no transaction here");
/// ```
pub fn inject_message(carrier: &mut dyn BytesInjector) {
    inject_message_from(&current_context(), carrier);
}

/// Writes the trace headers of the given context. Otherwise the same as [`inject_message`].
pub(crate) fn inject_message_from(context: &Context, carrier: &mut dyn BytesInjector) {
    let headers = outgoing(context).into_iter().flat_map(|outgoing| outgoing.message_headers().collect::<Vec<_>>());
    for (name, value) in headers {
        match value {
            Some(value) => carrier.set(name, value),
            None => carrier.remove(name),
        }
    }
}

/// Reads the trace context from the headers of an HTTP request or response.
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
/// let caller = tower_apm::trace_context::extract(&headers);
/// assert_eq!(caller.trace_id().unwrap().to_string(), "0af7651916cd43dd8448eb211c80319c");
/// ```
#[must_use]
pub fn extract(headers: &HeaderMap) -> TraceContext {
    TraceContext::from_headers(headers)
}

/// Reads the trace context from the headers of a message whose values are bytes.
///
/// The text header `traceparent` takes precedence over the binary header `elasticapmtraceparent`. See [`extract`].
#[must_use]
pub fn extract_message<'a>(get: impl Fn(&str) -> Option<&'a [u8]>) -> TraceContext {
    TraceContext::from_bytes(&get)
}
