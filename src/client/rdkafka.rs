//! Kafka messages of the crate [`rdkafka`](https://docs.rs/rdkafka): exit spans and transactions with one line each.
//!
//! ```
//! use rdkafka::producer::FutureRecord;
//! use std::time::Duration;
//!
//! # use rdkafka::{client::DefaultClientContext, producer::FutureProducer, util::AsyncRuntime};
//! # async fn sell<R: AsyncRuntime>(producer: FutureProducer<DefaultClientContext, R>) {
//! let producer = tower_apm::rdkafka::instrument(producer); // once, where the producer is created
//!
//! // in a handler: an exit span, with the trace in the headers of the message
//! let record = FutureRecord::to("sales").key("42").payload("sold");
//! let sent = producer.send(record, Duration::from_secs(5)).await;
//! # drop(sent);
//! # }
//! ```
//!
//! ```
//! # use rdkafka::{consumer::{ConsumerContext, StreamConsumer}, message::BorrowedMessage, util::AsyncRuntime};
//! # async fn consume<C, R>(consumer: StreamConsumer<C, R>) -> Result<(), rdkafka::error::KafkaError>
//! # where
//! #     C: ConsumerContext + 'static,
//! #     R: AsyncRuntime,
//! # {
//! loop {
//!     let message = consumer.recv().await?;
//!     // a transaction in the trace of the sender; the result of `handle` sets its outcome
//!     let result = tower_apm::rdkafka::receive(&message).run(handle(&message)).await;
//! #   drop(result);
//! }
//! # }
//! # async fn handle(_: &BorrowedMessage<'_>) -> Result<(), std::io::Error> { Ok(()) }
//! ```
//!
//! [`BaseProducer`](::rdkafka::producer::BaseProducer) and [`ThreadedProducer`](::rdkafka::producer::ThreadedProducer)
//! have no wrapper. Use [`messaging::send`], which can inject the trace into [`OwnedHeaders`].
//!
//! Spans are named after the topic, as in `Kafka SEND to sales`. [`messaging`] describes the recorded data.

use std::{
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    task::{self, Poll},
    time::{Duration, UNIX_EPOCH},
};

use ::rdkafka::{
    ClientContext, Message,
    client::DefaultClientContext,
    error::KafkaError,
    message::{Header, Headers, OwnedHeaders, ToBytes},
    producer::{
        FutureProducer, FutureRecord,
        future_producer::{DeliveryFuture, OwnedDeliveryResult},
    },
    util::{AsyncRuntime, DefaultRuntime, Timeout},
};

use super::{
    ExitFuture, ExitSpan, InExitSpan,
    messaging::{self, Receive, SendSpan},
};
use crate::{record::catch, trace_context::BytesInjector};

const SYSTEM: &str = "kafka";

/// Wraps a producer. The wrapper records an exit span for each message and writes the trace into its headers.
///
/// Outside of a transaction, the wrapper only forwards to the producer. Clones of the wrapper share the producer.
pub fn instrument<C, R>(producer: FutureProducer<C, R>) -> InstrumentedProducer<C, R>
where
    C: ClientContext + 'static,
{
    InstrumentedProducer { producer }
}

/// A [`FutureProducer`] that records the messages that it sends. Created by [`instrument`].
///
/// It dereferences to the producer for everything that sends no message, such as `flush` and transactions.
#[must_use = "the polling thread of the producer stops when it is dropped"]
pub struct InstrumentedProducer<C = DefaultClientContext, R = DefaultRuntime>
where
    C: ClientContext + 'static,
{
    producer: FutureProducer<C, R>,
}

impl<C, R> InstrumentedProducer<C, R>
where
    C: ClientContext + 'static,
    R: AsyncRuntime,
{
    /// Sends a message like [`FutureProducer::send`] and records an exit span until Kafka has acknowledged the message.
    ///
    /// An error is recorded, and the outcome is `failure`.
    pub async fn send<K, P, T>(&self, record: FutureRecord<'_, K, P>, queue_timeout: T) -> OwnedDeliveryResult
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
        T: Into<Timeout>,
    {
        let (record, span) = start(record);
        let (span, result) = InExitSpan::new(self.producer.send(record, queue_timeout), span.into_exit_span()).await;
        finish(span, result.as_ref().err().map(|(error, _)| error));
        result
    }

    /// Puts a message into the queue like [`FutureProducer::send_result`], and records an exit span that ends with the
    /// returned future.
    ///
    /// If the future is dropped before the message is acknowledged, the outcome is `unknown`.
    ///
    /// # Errors
    ///
    /// Returns the error and the record if the queue is full or the record is not valid. The error is recorded too.
    #[expect(clippy::result_large_err, reason = "the signature of `FutureProducer`")]
    pub fn send_result<'a, K, P>(
        &self,
        record: FutureRecord<'a, K, P>,
    ) -> Result<InstrumentedDelivery, (KafkaError, FutureRecord<'a, K, P>)>
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
    {
        let (record, span) = start(record);
        match self.producer.send_result(record) {
            Ok(delivery) => {
                let delivered: Finish = |span, result| {
                    match &result {
                        Ok(delivered) => finish(span, delivered.as_ref().err().map(|(error, _)| error)),
                        Err(canceled) => finish(span, Some(canceled)),
                    }
                    result
                };
                Ok(InstrumentedDelivery { delivery: ExitFuture::new(delivery, span.into_exit_span(), delivered) })
            }
            Err((error, record)) => {
                span.fail(&error);
                Err((error, record))
            }
        }
    }
}

impl<C, R> Deref for InstrumentedProducer<C, R>
where
    C: ClientContext + 'static,
{
    type Target = FutureProducer<C, R>;

    fn deref(&self) -> &FutureProducer<C, R> {
        &self.producer
    }
}

impl<C, R> Clone for InstrumentedProducer<C, R>
where
    C: ClientContext + 'static,
{
    fn clone(&self) -> Self {
        Self { producer: self.producer.clone() }
    }
}

impl<C, R> fmt::Debug for InstrumentedProducer<C, R>
where
    C: ClientContext + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstrumentedProducer").finish_non_exhaustive()
    }
}

type Delivered = <DeliveryFuture as Future>::Output;
type Finish = fn(Option<ExitSpan>, Delivered) -> Delivered;

pin_project_lite::pin_project! {
    /// The future of [`InstrumentedProducer::send_result`]. It has the output of [`DeliveryFuture`].
    #[must_use = "a future that is dropped leaves the outcome of the message unknown"]
    pub struct InstrumentedDelivery {
        #[pin]
        delivery: ExitFuture<DeliveryFuture, Finish>,
    }
}

impl Future for InstrumentedDelivery {
    type Output = Delivered;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Delivered> {
        self.project().delivery.poll(cx)
    }
}

impl fmt::Debug for InstrumentedDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstrumentedDelivery").finish_non_exhaustive()
    }
}

/// Starts the span of a message and writes the trace into its headers.
fn start<'a, K, P>(mut record: FutureRecord<'a, K, P>) -> (FutureRecord<'a, K, P>, SendSpan)
where
    K: ToBytes + ?Sized,
    P: ToBytes + ?Sized,
{
    let span = messaging::send(SYSTEM, record.topic).inject_message(&mut HeadersOf(&mut record.headers));
    (record, span)
}

fn finish<E: std::error::Error + 'static>(span: Option<ExitSpan>, error: Option<&E>) {
    let span = SendSpan::from(span);
    match error {
        Some(error) => span.fail(error),
        None => span.end(),
    }
}

/// Describes a received message. [`Receive::run`] processes it in a transaction that continues the sender's trace.
///
/// The message is a `BorrowedMessage` or an `OwnedMessage`. The topic, headers, timestamp and payload are read from it.
///
/// ```
/// use rdkafka::message::{OwnedMessage, Timestamp};
///
/// # async fn settle(_: &OwnedMessage) {}
/// # async fn consume(message: OwnedMessage) {
/// tower_apm::rdkafka::receive(&message).run(settle(&message)).await;
/// # }
/// # let message = OwnedMessage::new(None, None, "sales".to_owned(), Timestamp::NotAvailable, 0, 0, None);
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(consume(message));
/// ```
pub fn receive<M: Message>(message: &M) -> Receive<'_> {
    let mut received = messaging::receive(SYSTEM, message.topic());
    if let Some(headers) = message.headers() {
        received = received.headers(pairs(headers));
    }
    let sent = message.timestamp().to_millis().and_then(|millis| u64::try_from(millis).ok());
    if let Some(sent) = sent.and_then(|millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis))) {
        received = received.timestamp(sent);
    }
    match message.payload() {
        Some(payload) => received.body(payload),
        None => received,
    }
}

/// Describes a batch of received messages. [`Receive::run`] processes it in a transaction with links to the senders.
///
/// If the messages come from several topics, the name of the transaction contains no topic, and `ignore_message_queues`
/// does not apply.
///
/// ```
/// use rdkafka::message::OwnedMessage;
///
/// # async fn settle_all(_: &[OwnedMessage]) {}
/// # async fn consume(batch: Vec<OwnedMessage>) {
/// tower_apm::rdkafka::receive_batch(&batch).run(settle_all(&batch)).await;
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(consume(Vec::new()));
/// ```
pub fn receive_batch<'m, M: Message + 'm>(
    messages: impl IntoIterator<Item = &'m M, IntoIter: Clone>,
) -> Receive<'static> {
    let messages = messages.into_iter();
    let topic = messages.clone().next().map_or("", |first| first.topic());
    let is_one_topic = messages.clone().all(|message| message.topic() == topic);
    let received = messaging::receive(SYSTEM, if is_one_topic { topic } else { "" });
    messages
        .filter_map(|message| message.headers())
        .fold(received, |received, headers| received.message(pairs(headers)))
}

/// Returns the names and values of the headers that have a value.
///
/// `rdkafka` panics for a name that is not UTF-8, and any producer can send such a name.
fn pairs<H: Headers>(headers: &H) -> impl Iterator<Item = (&str, &[u8])> {
    all(headers).filter_map(|header| header.and_then(|header| Some((header.key, header.value?))))
}

/// Returns a header, or `None` if it cannot be read.
fn all<H: Headers>(headers: &H) -> impl Iterator<Item = Option<Header<'_, &[u8]>>> {
    (0..headers.count()).map(|at| catch(|| headers.try_get(at)).flatten())
}

impl BytesInjector for OwnedHeaders {
    fn set(&mut self, name: &'static str, value: Vec<u8>) {
        self.remove(name);
        *self = std::mem::take(self).insert(Header { key: name, value: Some(&value) });
    }

    /// Removes a header.
    ///
    /// Headers can only be appended, so all other headers are copied. A header whose name is not UTF-8 cannot be
    /// copied. If there is such a header, nothing is removed, and consumers use the last header of a name.
    fn remove(&mut self, name: &'static str) {
        if !all(self).any(|header| header.is_some_and(|header| header.key == name)) {
            return;
        }
        let copied = all(self).try_fold(Self::new_with_capacity(self.count()), |copied, header| {
            let header = header?;
            Some(if header.key == name { copied } else { copied.insert(header) })
        });
        if let Some(copied) = copied {
            *self = copied;
        }
    }
}

/// The headers of a record. They are created when the first header is set.
struct HeadersOf<'r>(&'r mut Option<OwnedHeaders>);

impl BytesInjector for HeadersOf<'_> {
    fn set(&mut self, name: &'static str, value: Vec<u8>) {
        self.0.get_or_insert_default().set(name, value);
    }

    fn remove(&mut self, name: &'static str) {
        if let Some(headers) = &mut self.0 {
            headers.remove(name);
        }
    }
}
