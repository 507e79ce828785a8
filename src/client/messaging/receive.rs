//! Transactions of received messages.

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::propagation::Extractor;

use super::{CallResult, destination, framework, is_ignored, name};
use crate::{
    background::StartedTransaction,
    config::{CaptureBody, Config},
    propagation::TraceContext,
    record::{
        Body, Link, MAX_TRANSACTION_LINKS, Message, MessageHeaders, Outcome, TransactionRecord, is_nested, micros,
        text_prefix, text_type,
    },
    transaction::{Recorder, Transaction, installed},
};

/// Describes a received message. [`Receive::run`] processes it in a transaction.
///
/// `system` is the broker's name in OpenTelemetry's `messaging.system`: `kafka`, `rabbitmq`, `nats`, `aws_sqs`, …
/// `source` is the topic or queue. It must not contain ids: it is part of the transaction's name. Leave it empty for a batch
/// from several topics.
///
/// A single message continues the trace of its sender: pass its [`headers`](Receive::headers). A batch starts a trace
/// of its own, which is linked to the traces of its messages: pass each [`message`](Receive::message).
///
/// ```
/// use std::collections::HashMap;
/// use tower_apm::messaging;
///
/// # async fn settle_all(_: &[HashMap<String, Vec<u8>>]) {}
/// # async fn consume(batch: &[HashMap<String, Vec<u8>>]) {
/// let mut received = messaging::receive("kafka", "sales");
/// for headers in batch {
///     received = received.message(headers);
/// }
/// received.run(settle_all(batch)).await;
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(consume(&[]));
/// ```
pub fn receive<'a>(system: impl Into<Cow<'static, str>>, source: impl AsRef<str>) -> Receive<'a> {
    let system = system.into();
    let queue = destination(&system, source.as_ref()).into_owned();
    Receive {
        recorder: None,
        system,
        queue,
        trace: TraceHeaders::default(),
        sender: None,
        headers: MessageHeaders::default(),
        content_type: None,
        routing_key: None,
        timestamp: None,
        body: None,
        links: HashSet::new(),
        excess_links: 0,
        linked: Vec::new(),
    }
}

/// A received message, or a batch of messages. Created by [`receive`].
///
/// If `capture_headers` is on, up to 256 headers are recorded, 4 KiB each. If `capture_body` is `transactions` or
/// `all`, the body is recorded, up to `long_field_max_length` characters. Both are redacted by `sanitize_field_names`.
/// Binary headers and bodies are not recorded. Headers and bodies are not sent over OTLP.
#[must_use = "no transaction starts before `run`"]
pub struct Receive<'a> {
    /// `None` means the recorder of the installed agent.
    recorder: Option<Arc<Recorder>>,
    system: Cow<'static, str>,
    queue: String,
    trace: TraceHeaders,
    /// The trace context that was read from a carrier of text. It replaces `trace`.
    sender: Option<TraceContext>,
    headers: MessageHeaders,
    content_type: Option<String>,
    routing_key: Option<String>,
    timestamp: Option<SystemTime>,
    body: Option<&'a [u8]>,
    /// The senders of a batch, without duplicates.
    links: HashSet<(u128, u64)>,
    linked: Vec<Link>,
    excess_links: u64,
}

/// The headers that a trace is read from. The last header of a name is used, because brokers append headers.
#[derive(Default)]
struct TraceHeaders([Option<Vec<u8>>; 4]);

impl TraceHeaders {
    const NAMES: [&'static str; 4] = ["traceparent", "tracestate", "baggage", "elasticapmtraceparent"];

    fn read(&mut self, name: &str, value: &[u8]) {
        if let Some(at) = Self::NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)) {
            self.0[at] = Some(value.to_owned());
        }
    }

    fn extract(&self) -> TraceContext {
        TraceContext::from_bytes(&|name| {
            let at = Self::NAMES.iter().position(|known| *known == name)?;
            self.0[at].as_deref()
        })
    }
}

impl<'a> Receive<'a> {
    /// Records into the given agent instead of the installed one.
    pub(crate) fn recorder(mut self, recorder: Arc<Recorder>) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Reads the headers of a single message, as pairs of a name and a value. Values are text or bytes.
    ///
    /// The transaction continues the trace in the headers, depending on `trace_continuation_strategy`. Without valid
    /// trace headers, it starts a new trace.
    ///
    /// ```
    /// use tower_apm::messaging;
    ///
    /// let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    /// let received = messaging::receive("rabbitmq", "orders").headers([("traceparent", traceparent)]);
    /// # drop(received);
    /// ```
    pub fn headers<K, V>(mut self, headers: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<str>,
        V: AsRef<[u8]>,
    {
        for (name, value) in headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            self.trace.read(name, value);
            self.add_header(name, value);
        }
        self
    }

    /// Reads the headers of a single message from a carrier that implements OpenTelemetry's [`Extractor`].
    pub fn carrier(mut self, carrier: &dyn Extractor) -> Self {
        for name in carrier.keys() {
            match carrier.get_all(name) {
                Some(values) => values.into_iter().for_each(|value| self.add_header(name, value.as_bytes())),
                None => self.add_header(name, carrier.get(name).unwrap_or_default().as_bytes()),
            }
        }
        self.sender = Some(TraceContext::from_text(carrier));
        self
    }

    fn sender(&self) -> TraceContext {
        self.sender.clone().unwrap_or_else(|| self.trace.extract())
    }

    fn add_header(&mut self, name: &str, value: &[u8]) {
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = str::from_utf8(value).ok().map(str::to_owned);
        }
        self.headers.push(name, value);
    }

    /// Adds the headers of a message in a batch. The transaction gets a link to the sender.
    ///
    /// A batch can consist of one message. Several messages that were sent by the same span give one link. A
    /// transaction keeps 1000 links. Further links are counted in [`Stats::excess_links`](crate::Stats::excess_links).
    pub fn message<K, V>(mut self, headers: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<str>,
        V: AsRef<[u8]>,
    {
        let mut trace = TraceHeaders::default();
        headers.into_iter().for_each(|(name, value)| trace.read(name.as_ref(), value.as_ref()));
        if let Some(link) = trace.extract().link() {
            if self.linked.len() >= MAX_TRANSACTION_LINKS {
                self.excess_links += u64::from(!self.links.contains(&(link.trace_id.0, link.span_id.0)));
            } else if self.links.insert((link.trace_id.0, link.span_id.0)) {
                self.linked.push(link);
            }
        }
        self
    }

    /// Sets the time at which the message was sent.
    ///
    /// The transaction records how long the message has waited since then (`transaction.message.age.ms`). The age is 0
    /// if the clock of the sender is ahead.
    pub fn timestamp(mut self, sent: SystemTime) -> Self {
        self.timestamp = Some(sent);
        self
    }

    /// Sets the body of the message. It is recorded if it is text and no header `content-type` declares another type.
    pub fn body(mut self, body: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.body = Some(body.as_ref());
        self
    }

    /// Sets the routing key of the message. It is not part of the transaction's name.
    pub fn routing_key(mut self, key: impl Into<String>) -> Self {
        self.routing_key = Some(key.into());
        self
    }

    /// Processes the message as a transaction that ends with the future.
    ///
    /// `Ok` and `()` give the outcome `success`, unless an error was captured in the transaction. `Err` gives
    /// `failure`, and the error is recorded with its causes, as an unhandled error. A panic is recorded and resumes. If
    /// the future is dropped before it is ready, the outcome is `unknown`.
    ///
    /// The transaction starts now, not when the future is polled for the first time.
    pub fn run<F, K>(self, work: F) -> impl Future<Output = F::Output> + use<F, K>
    where
        F: Future,
        F::Output: CallResult<K>,
    {
        let started = self.start();
        let transaction = Transaction::clone(&started);
        started.run(async move {
            let output = work.await;
            settle(&transaction, &output);
            output
        })
    }

    /// Processes the message with blocking code. Otherwise the same as [`run`](Self::run).
    pub fn in_scope<T, K>(self, work: impl FnOnce() -> T) -> T
    where
        T: CallResult<K>,
    {
        let started = self.start();
        let transaction = Transaction::clone(&started);
        started.in_scope(|| {
            let output = work();
            settle(&transaction, &output);
            output
        })
    }

    /// Starts the transaction. Use this for work that does not return a [`CallResult`], or to set labels before the
    /// work.
    pub fn start(self) -> StartedTransaction {
        let recorder = self.recorder.clone().or_else(installed);
        let Some(recorder) = recorder.filter(|recorder| recorder.is_recording() && !is_nested()) else {
            return StartedTransaction::off();
        };
        let config = recorder.snapshot();
        let name = name(&self.system, "RECEIVE", " from ", &self.queue);
        if is_ignored(&self.queue, &config) {
            #[cfg(feature = "testkit")]
            if let Some(watch) = recorder.watch() {
                watch.ignored(|| name);
            }
            return StartedTransaction::ignored(recorder, &self.sender());
        }
        if self.excess_links > 0 {
            recorder.excess_links(self.excess_links);
        }
        let sender = self.sender();
        let complete = |record: &mut TransactionRecord, config: &Config| self.complete(record, config);
        StartedTransaction::begin(recorder, config, Some(&sender), name.into(), "messaging".into(), complete)
    }

    /// Adds the data of the message to the record of its transaction.
    fn complete(self, record: &mut TransactionRecord, config: &Config) {
        record.context.framework = framework(&self.system);
        record.links.extend(self.linked);
        if !record.sampled {
            return;
        }
        let captures_body = matches!(config.capture_body, CaptureBody::Transactions | CaptureBody::All);
        let body = self.body.filter(|_| captures_body);
        let age = |sent: SystemTime| Duration::from_micros(record.timestamp.saturating_sub(micros(sent)));
        record.message = Some(Box::new(Message {
            age: self.timestamp.map(age),
            body: body.and_then(|body| text(body, self.content_type.as_deref(), config.long_field_max_length)),
            headers: config.capture_headers.then_some(self.headers),
            queue: self.queue,
            routing_key: self.routing_key,
        }));
    }
}

/// Records the error that the work has returned, and sets the outcome.
fn settle<K>(transaction: &Transaction, output: &impl CallResult<K>) {
    let Some(error) = output.error().filter(|_| !transaction.handle().is_none()) else { return };
    transaction.error(error).handled(false).capture();
    if let Some(shared) = transaction.shared() {
        shared.propose_outcome(Outcome::Failure);
    }
}

/// Returns the beginning of a message's content, or `None` if the content is not text.
///
/// Content is not text if it is empty, not UTF-8, declared as another type, or if it contains control characters, as
/// Protobuf does.
fn text(body: &[u8], content_type: Option<&str>, characters: usize) -> Option<Body> {
    let content_type = content_type.map(|declared| text_type(declared).ok_or(()));
    let kept = text_prefix(body, 4 * characters).filter(|text| !text.is_empty() && !text.contains(is_control))?;
    let content_type = match content_type {
        Some(declared) => declared.ok()?,
        // most messages declare no type; other types are redacted by their look
        None if kept.trim_ascii_start().starts_with('<') => "application/xml".to_owned(),
        None => String::new(),
    };
    Some(Body { bytes: kept.as_bytes().to_owned(), content_type, truncated: kept.len() < body.len() })
}

fn is_control(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r')
}

// omits headers and content, which can be secret
impl fmt::Debug for Receive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receive")
            .field("system", &self.system)
            .field("queue", &self.queue)
            .field("sender", &self.sender())
            .field("headers", &self.headers)
            .field("links", &self.linked.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(body: &[u8], content_type: Option<&str>) -> Option<String> {
        text(body, content_type, 2)
            .map(|body| format!("{}{}", body.content_type, String::from_utf8(body.bytes).unwrap()))
    }

    #[test]
    fn content_that_is_not_text_is_left_out() {
        assert_eq!(kept(b"", None), None);
        assert_eq!(kept(&[0xff, 0xfe], None), None);
        assert_eq!(kept(b"\x0a\x07sale", None), None, "Protobuf");
        assert_eq!(kept(b"sale", Some("application/octet-stream")), None);
        assert_eq!(kept(b"sale\r\n", None).as_deref(), Some("sale\r\n"));
        assert_eq!(kept(b"{}", Some("Application/JSON; charset=utf-8")).as_deref(), Some("application/json{}"));
        assert_eq!(kept(b"<a/>", None).as_deref(), Some("application/xml<a/>"));
    }

    #[test]
    fn content_is_cut_between_characters() {
        let body = text("aaaaaaa\u{e4}b".as_bytes(), None, 2).unwrap();
        assert_eq!((&body.bytes[..], body.truncated), (&b"aaaaaaa"[..], true));
    }

    #[test]
    fn debug_shows_neither_headers_nor_content() {
        let received = receive("kafka", "sales").headers([("session", "hunter2")]).body("hunter2");
        let debug = format!("{received:?}");
        assert!(debug.contains("session") && !debug.contains("hunter2"), "{debug}");
    }
}
