//! An event of `tracing` as a record.

use std::borrow::Cow;

use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Level, Metadata};

use crate::{
    capture::{EventFields, error_id},
    record::{Exception, LogPlace, LogRecord, Monotonic, is_nested, is_thread_ending, map_current_context},
    sanitize::Sanitizer,
    transaction::{Handle, Recorder, UserCode, contain, link_to, running},
};

/// What a line says. Of a field whose `Debug` or `Display` panics it says nothing, nor of those behind it.
pub(super) fn record_of(event: &Event<'_>, recorder: &Recorder) -> LogRecord {
    let metadata = event.metadata();
    let mut fields = EventFields::default();
    // before a field's `Display` tells an error of its own
    let error_id = error_id(event);
    // a panic is counted and named there
    if !is_nested() {
        let _ = contain(recorder, UserCode::Display, || event.record(&mut fields));
    }
    let sanitizer = recorder.sanitizer();
    let error = fields.exception.take();
    let told = fields.message.take().or_else(|| error.as_ref().map(|error| error.message.clone())).unwrap_or_default();
    LogRecord {
        timestamp: Monotonic::now().wall_micros(),
        level: level(metadata),
        message: without_secrets(told, &sanitizer),
        logger: fields.logger(metadata),
        file: fields.file(metadata),
        line: fields.line(metadata),
        thread: std::thread::current().name().map(Box::from),
        place: place(),
        error_id,
        error: error.map(|error| Box::new(clean(error, &sanitizer))),
        labels: fields.labels(&sanitizer).collect(),
        is_own: metadata.target() == "tower_apm",
    }
}

fn level(metadata: &Metadata<'_>) -> &'static str {
    match *metadata.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn without_secrets(text: String, sanitizer: &Sanitizer) -> String {
    match sanitizer.urls_in(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(cleaned) => cleaned,
    }
}

fn clean(mut error: Exception, sanitizer: &Sanitizer) -> Exception {
    error.message = without_secrets(error.message, sanitizer);
    error.causes = error.causes.into_iter().map(|cause| clean(cause, sanitizer)).collect();
    error
}

/// Where the code that runs is in a trace, sampled or not. Asks no span: a line may be written while its lock is held. So
/// the transaction is known where it runs; below a span that somebody else made current, its trace and that span are.
pub(super) fn place() -> Option<LogPlace> {
    if is_thread_ending() {
        return None;
    }
    let active = map_current_context(|context| link_to(context.span().span_context()))?;
    let running = Some(running()).filter(|running| running.is_in_trace(active.trace_id)).unwrap_or_default();
    Some(match &running {
        Handle::Transaction(shared) => {
            let ids = shared.ids();
            let span_id = Some(active.span_id).filter(|span| *span != ids.id);
            LogPlace { trace_id: ids.trace_id, transaction_id: Some(ids.id), span_id }
        }
        // the span is the caller's
        Handle::Ignored(_) => LogPlace { trace_id: active.trace_id, transaction_id: None, span_id: None },
        Handle::None => LogPlace { trace_id: active.trace_id, transaction_id: None, span_id: Some(active.span_id) },
    })
}
