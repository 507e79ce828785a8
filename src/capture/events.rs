//! `tracing::error!` with an error in it becomes an error document.

use std::{cell::Cell, ptr, sync::Arc, time::SystemTime};

use opentelemetry::trace::{Status, TraceContextExt};
use tracing::{Event, Level, Metadata};

use super::{EventFields, active_span, stack_here};
use crate::{
    record::{LogMessage, Place, Stack, TraceId, current_context, is_nested, is_thread_ending, map_current_context},
    transaction::{Handle, Recorder, Transaction, UserCode, contain, installed},
};

thread_local! {
    /// Where the last error came from that was told on this thread, and its id.
    static LAST: Cell<Option<(&'static Metadata<'static>, TraceId)>> = const { Cell::new(None) };
}

/// The id of the error that this very event was told as: our layer has seen it before those that print.
pub(crate) fn error_id(event: &Event<'_>) -> Option<TraceId> {
    let (metadata, id) = LAST.get()?;
    ptr::eq(metadata, event.metadata()).then_some(id)
}

/// What is said now is of the agent's own connections, or of an exporter's; or the thread ends, and nobody can say.
pub(crate) fn is_suppressed() -> bool {
    is_thread_ending() || map_current_context(opentelemetry::Context::is_telemetry_suppressed)
}

/// The stack of the code that logged.
fn stack_of_event(recorder: &Recorder, fields: &mut EventFields, metadata: &'static Metadata<'static>) -> Stack {
    let place = fields.file(metadata).zip(fields.line(metadata));
    match (stack_here(recorder), place) {
        (Stack::Captured(stack), Some((file, line))) => {
            Stack::Event { stack, place: Place { file, line, column: 0 }, module: metadata.module_path() }
        }
        (stack, _) => stack,
    }
}

/// Sees events of level ERROR that have a field `error` or `err`, or any field that is an error value.
///
/// Further fields become labels of the error. The agent's own events are left out.
#[derive(Debug)]
pub(crate) struct ErrorEvents {
    /// For events outside of any transaction.
    recorder: Option<Arc<Recorder>>,
}

impl ErrorEvents {
    /// For an agent, or (without one) for whichever is installed.
    pub(crate) fn new(recorder: Option<Arc<Recorder>>) -> Self {
        Self { recorder }
    }

    fn recorder(&self, transaction: &Transaction) -> Option<Arc<Recorder>> {
        let recorder = transaction.handle().recorder().cloned();
        recorder.or_else(|| self.recorder.clone()).or_else(installed).filter(|recorder| recorder.is_recording())
    }

    /// A new event begins, before any layer sees it.
    pub(crate) fn begin(&self, metadata: &Metadata<'_>) {
        if *metadata.level() == Level::ERROR {
            LAST.set(None);
        }
    }

    pub(crate) fn on_event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        if *metadata.level() != Level::ERROR || metadata.target().starts_with("tower_apm") {
            return;
        }
        // what the agent's own HTTP client says is nothing that happened in the service
        if is_suppressed() {
            return;
        }
        let transaction = Transaction::current();
        let Some(recorder) = self.recorder(&transaction) else { return };
        if is_nested() {
            return recorder.suppressed_error();
        }
        let mut fields = EventFields::default();
        if contain(&recorder, UserCode::Display, || event.record(&mut fields)).is_none() {
            return;
        }
        let Some(mut exception) = fields.exception.take() else { return };
        exception.stack = stack_of_event(&recorder, &mut fields, metadata);
        let mut record = exception.into_record(SystemTime::now());
        LAST.set(Some((metadata, record.id)));
        if let Some(message) = fields.message.take() {
            let logger = Some(fields.logger(metadata));
            record.log = Some(LogMessage { message, level: "error", logger, template: None });
        }
        for label in fields.labels(&recorder.sanitizer()) {
            record.context.set_label(label.key, label.value);
        }
        let Some(shared) = transaction.shared() else {
            return match transaction.handle() {
                Handle::None => recorder.error(record),
                handle => handle.error(record, None),
            };
        };
        let parent = active_span(shared);
        if parent.is_some_and(|span| span != shared.ids().id) {
            // a span that met an error has failed; a request's outcome is its status
            current_context().span().set_status(Status::error(""));
        }
        shared.error(record, parent);
    }
}
