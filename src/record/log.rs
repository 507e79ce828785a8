//! A line of the service's log.

use std::borrow::Cow;

use super::{Exception, Label, LabelValue, SpanId, TraceId, context::boundary, cut};

/// One event of `tracing`, or of the crate `log` through it.
#[derive(Debug, Clone)]
pub(crate) struct LogRecord {
    /// Microseconds since the epoch.
    pub(crate) timestamp: u64,
    /// In lower case.
    pub(crate) level: &'static str,
    pub(crate) message: String,
    /// `tracing`'s target.
    pub(crate) logger: Cow<'static, str>,
    pub(crate) file: Option<Cow<'static, str>>,
    pub(crate) line: Option<u32>,
    pub(crate) thread: Option<Box<str>>,
    /// None outside of any trace.
    pub(crate) place: Option<LogPlace>,
    pub(crate) error: Option<Box<Exception>>,
    /// The document of the error, where the line was told as one too.
    pub(crate) error_id: Option<TraceId>,
    /// Its other fields, secrets redacted.
    pub(crate) labels: Vec<Label>,
    /// The agent itself speaks.
    pub(crate) is_own: bool,
}

/// Where in a trace a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPlace {
    pub(crate) trace_id: TraceId,
    pub(crate) transaction_id: Option<SpanId>,
    /// None where the transaction itself is what runs.
    pub(crate) span_id: Option<SpanId>,
}

impl LogRecord {
    /// `event.dataset`: the agent's own lines have one of their own.
    pub(crate) fn dataset<'a>(&self, service_name: &'a str) -> Cow<'a, str> {
        match self.is_own {
            true => format!("{service_name}.apm-agent").into(),
            false => service_name.into(),
        }
    }

    /// Leaves out what is not sent anyway, and what is seen by it to have been there.
    pub(crate) fn shorten(&mut self, max_characters: usize) {
        let most = max_characters.saturating_add(1).saturating_mul(4);
        if self.message.len() > most {
            self.message.truncate(boundary(&self.message, most));
        }
        for label in &mut self.labels {
            if let LabelValue::Text(text) = &mut label.value {
                *text = cut(std::mem::take(text));
            }
        }
        if let Some(error) = &mut self.error {
            error.message = cut(std::mem::take(&mut error.message).into()).into_owned();
            error.causes = Vec::new();
        }
    }

    pub(crate) fn heap_size(&self) -> usize {
        let texts = [Some(&self.message[..]), self.file.as_deref(), self.thread.as_deref(), Some(&self.logger)];
        let texts: usize = texts.into_iter().flatten().map(str::len).sum();
        texts
            + self.labels.iter().map(Label::size).sum::<usize>()
            + self.error.as_ref().map_or(0, |error| error.heap_size())
    }
}
