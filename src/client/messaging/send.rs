//! Exit spans of sent messages.

use std::{borrow::Cow, error::Error, future::Future};

use opentelemetry::{KeyValue, propagation::Injector, trace::SpanKind};

use super::{CallResult, name};
use crate::{
    client::{ExitFuture, ExitSpan},
    otel,
    trace_context::{self, BytesInjector},
    transaction::Transaction,
};

/// Starts the exit span of a message that the current transaction sends.
///
/// `system` is the broker's name in OpenTelemetry's `messaging.system`: `kafka`, `rabbitmq`, `nats`, `aws_sqs`, … It
/// becomes the subtype of the span. `destination` is the topic or the queue. For RabbitMQ, it is the exchange. It must
/// not contain ids, because it is part of the span's name and of the service map.
///
/// The span starts now and ends with the future of [`run`](SendSpan::run). The result of the future sets the outcome.
/// Outside of a transaction, in an unsampled transaction, and for a destination that matches `ignore_message_queues`,
/// there is no span. [`inject`](SendSpan::inject) then writes the trace of the current context, if there is one.
///
/// ```
/// use std::collections::HashMap;
/// use tower_apm::messaging;
///
/// # async fn publish(_: HashMap<String, String>) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn sell() -> Result<(), std::io::Error> {
/// let mut headers = HashMap::new();
/// messaging::send("rabbitmq", "orders").inject(&mut headers).run(publish(headers)).await?;
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(sell()).unwrap();
/// ```
///
/// If one call sends several messages, inject the trace into each of them where the span is current:
///
/// ```
/// use std::collections::HashMap;
/// use tower_apm::{messaging, otel};
///
/// # async fn publish_all(_: Vec<HashMap<String, String>>) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn sell(mut messages: Vec<HashMap<String, String>>) -> Result<(), std::io::Error> {
/// let send = async {
///     messages.iter_mut().for_each(|headers| otel::inject_carrier(headers));
///     publish_all(messages).await
/// };
/// messaging::send("rabbitmq", "orders").run(send).await?;
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(sell(vec![HashMap::new()])).unwrap();
/// ```
pub fn send(system: impl Into<Cow<'static, str>>, destination: impl AsRef<str>) -> SendSpan {
    let describe = || {
        let system = system.into();
        let destination = super::destination(&system, destination.as_ref());
        let name = name(&system, "SEND", " to ", &destination);
        let mut attributes = Vec::with_capacity(6);
        attributes.push(KeyValue::new("messaging.operation.type", "send"));
        if !destination.is_empty() {
            attributes.push(KeyValue::new("messaging.destination.name", destination.into_owned()));
        }
        attributes.push(KeyValue::new("messaging.system", system));
        (name.into(), attributes)
    };
    SendSpan { span: ExitSpan::start(SpanKind::Producer, describe) }
}

/// The exit span of a message. Started by [`send`].
///
/// A span that is dropped without [`run`](Self::run), [`end`](Self::end) or [`fail`](Self::fail) was cancelled, and has the
/// outcome `unknown`.
#[derive(Debug)]
#[must_use = "a span that is dropped has the outcome `unknown`"]
pub struct SendSpan {
    span: Option<ExitSpan>,
}

impl From<Option<ExitSpan>> for SendSpan {
    fn from(span: Option<ExitSpan>) -> Self {
        Self { span }
    }
}

impl SendSpan {
    #[cfg(feature = "rdkafka")]
    pub(crate) fn into_exit_span(self) -> Option<ExitSpan> {
        self.span
    }

    /// Sets the routing key of the message. It is not part of the span's name.
    pub fn routing_key(self, key: impl AsRef<str>) -> Self {
        if let Some(span) = &self.span {
            span.set_attribute("messaging.rabbitmq.destination.routing_key", key.as_ref().to_owned());
        }
        self
    }

    /// Sets the host name or IP address and the port of the broker.
    pub fn address(self, host: impl AsRef<str>, port: u16) -> Self {
        if let Some(span) = &self.span {
            span.set_attribute("server.address", host.as_ref().to_owned());
            span.set_attribute("server.port", i64::from(port));
        }
        self
    }

    /// Writes the trace into headers whose values are text. See [`inject_carrier`](crate::otel::inject_carrier).
    pub fn inject(self, headers: &mut dyn Injector) -> Self {
        match &self.span {
            Some(span) => otel::inject_context(span.context(), headers),
            None => otel::inject_carrier(headers),
        }
        self
    }

    /// Writes the trace into headers whose values are bytes. An existing trace is replaced. See
    /// [`trace_context::inject_message`].
    pub fn inject_message(self, headers: &mut dyn BytesInjector) -> Self {
        match &self.span {
            Some(span) => trace_context::inject_message_from(span.context(), headers),
            None => trace_context::inject_message(headers),
        }
        self
    }

    /// Runs the future that sends the message.
    ///
    /// The span is current while the future is polled. `Ok` and `()` give the outcome `success`. `Err` gives `failure`, and
    /// the error is recorded with its causes.
    pub fn run<F, K>(self, send: F) -> impl Future<Output = F::Output> + use<F, K>
    where
        F: Future,
        F::Output: CallResult<K>,
    {
        ExitFuture::new(send, self.span, |span, output: F::Output| {
            let span = Self::from(span);
            match output.error() {
                Some(error) => span.fail(error),
                None => span.end(),
            }
            output
        })
    }

    /// Ends the span with the outcome `success`.
    pub fn end(self) {
        if let Some(span) = self.span {
            span.end();
        }
    }

    /// Ends the span with the outcome `failure`, and records the error with its causes.
    ///
    /// In an unsampled transaction and in an ignored request, which have no spans, the error is recorded too.
    pub fn fail<E: Error + 'static + ?Sized>(self, error: &E) {
        match self.span {
            Some(span) => {
                span.fail(error);
                span.end();
            }
            None => {
                let current = Transaction::current();
                if !current.handle().is_none() {
                    current.capture_error(error);
                }
            }
        }
    }
}
