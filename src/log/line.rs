//! An event of `tracing` as a record.

use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Level, Metadata};

use crate::{
    capture::{EventFields, error_id},
    otel::{link_to, running},
    record::{LogPlace, LogRecord, Monotonic, is_nested, is_thread_ending, map_current_context},
    transaction::{Handle, Recorder, UserCode, run_user_code},
};

/// The record of a line, not yet redacted. A field whose `Debug` or `Display` panics is left out, and so are those behind
/// it.
pub(super) fn record_of(event: &Event<'_>, recorder: &Recorder) -> LogRecord {
    let metadata = event.metadata();
    let mut fields = EventFields::default();
    // before a field's `Display` tells an error of its own
    let error_id = error_id(event);
    // a panic is counted and named there
    if !is_nested() {
        let _ = run_user_code(recorder, UserCode::Display, || event.record(&mut fields));
    }
    let error = fields.exception.take();
    let told = fields.message.take().or_else(|| error.as_ref().map(|error| error.message.clone())).unwrap_or_default();
    LogRecord {
        timestamp: Monotonic::now().wall_micros(),
        level: level(metadata),
        message: told,
        logger: fields.logger(metadata),
        file: fields.file(metadata),
        line: fields.line(metadata),
        thread: std::thread::current().name().map(Box::from),
        place: place(),
        error_id,
        error: error.map(Box::new),
        labels: fields.raw_labels().collect(),
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

/// Where the code that runs is in a trace, sampled or not. Asks no span: a line may be written while its lock is held. So
/// the transaction is known where it runs; below a span that somebody else made current, its trace and that span are.
pub(super) fn place() -> Option<LogPlace> {
    if is_thread_ending() {
        return None;
    }
    // a remote span that was attached below a transaction is the caller's
    let (active, is_remote) = map_current_context(|context| {
        let span = context.span();
        Some((link_to(span.span_context())?, span.span_context().is_remote()))
    })?;
    let is_around = |running: &Handle| is_remote || running.is_in_trace(active.trace_id);
    let running = Some(running()).filter(is_around).unwrap_or_default();
    Some(match &running {
        Handle::Transaction(shared) => {
            let ids = shared.ids();
            let span_id = Some(active.span_id).filter(|span| *span != ids.id && !is_remote);
            LogPlace { trace_id: ids.trace_id, transaction_id: Some(ids.id), span_id }
        }
        // the span is the caller's
        Handle::Ignored(_) => LogPlace { trace_id: active.trace_id, transaction_id: None, span_id: None },
        Handle::None => LogPlace { trace_id: active.trace_id, transaction_id: None, span_id: Some(active.span_id) },
    })
}
