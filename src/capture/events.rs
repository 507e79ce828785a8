//! Events of `tracing` that become error documents.

use std::{cell::Cell, ptr, sync::Arc, time::SystemTime};

use opentelemetry::trace::{Status, TraceContextExt};
use tracing::{Event, Level, Metadata};

use super::{EventFields, active_span, stack_here};
use crate::{
    config::CaptureLogErrors,
    record::{
        ErrorRecord, Exception, LogMessage, SourceLocation, Stack, TraceId, current_context, is_nested,
        is_thread_ending, map_current_context,
    },
    transaction::{Handle, Recorder, Transaction, UserCode, installed, run_user_code},
};

thread_local! {
    /// The call site of the last event that was recorded as an error on this thread, and the id of the error.
    static LAST: Cell<Option<(&'static Metadata<'static>, TraceId)>> = const { Cell::new(None) };
}

/// Returns the id of the error that this event was recorded as.
///
/// The agent's layer receives an event before the layers that print it.
pub(crate) fn error_id(event: &Event<'_>) -> Option<TraceId> {
    let (metadata, id) = LAST.get()?;
    ptr::eq(metadata, event.metadata()).then_some(id)
}

/// Returns true while code of the agent's own connections or of an exporter runs, and while the thread ends.
pub(crate) fn is_suppressed() -> bool {
    is_thread_ending() || map_current_context(opentelemetry::Context::is_telemetry_suppressed)
}

/// Returns true if an event can become an error. Only the metadata is used, so all other events cost nothing.
fn can_be_error(metadata: &Metadata<'_>) -> bool {
    let has = |name| metadata.fields().field(name).is_some();
    match *metadata.level() {
        Level::ERROR => metadata.target() != "tower_http::trace::on_failure",
        Level::WARN => has("error") || has("err"),
        // `#[instrument(err(level = "info"))]`: an event with no other field
        Level::INFO => metadata.fields().len() == 1 && has("error"),
        _ => false,
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        _ => "info",
    }
}

/// Returns the stack of the code that logged the event.
fn stack_of_event(
    recorder: &Recorder,
    fields: &mut EventFields,
    metadata: &'static Metadata<'static>,
    found: Stack,
) -> Stack {
    let created = match found {
        // a stack in the logged text is closer to the origin of the error
        Stack::Text(text) => return Stack::Text(text),
        Stack::Location(place) => Some(place),
        _ => None,
    };
    let place = fields.file(metadata).zip(fields.line(metadata));
    match (stack_here(recorder), place) {
        (Stack::Captured(stack), Some((file, line))) => Stack::Event {
            stack,
            place: SourceLocation { file, line, column: 0 },
            module: metadata.module_path(),
            created,
        },
        (stack, _) => stack,
    }
}

/// Records events that report an error: events of level ERROR, and events of lower levels with an error in a field.
///
/// An event of level ERROR with an error value, or with a field `error` or `err`, is an error. All other events are log lines,
/// which become errors as `capture_log_errors` says. Further fields become labels of the error. The agent's own events
/// are left out.
#[derive(Debug)]
pub(crate) struct ErrorEvents {
    /// For events outside of any transaction.
    recorder: Option<Arc<Recorder>>,
}

impl ErrorEvents {
    /// Records into the agent of `recorder`, or into the installed agent if it is `None`.
    pub(crate) fn new(recorder: Option<Arc<Recorder>>) -> Self {
        Self { recorder }
    }

    fn recorder(&self, transaction: &Transaction) -> Option<Arc<Recorder>> {
        let recorder = transaction.handle().recorder().cloned();
        recorder.or_else(|| self.recorder.clone()).or_else(installed).filter(|recorder| recorder.is_recording())
    }

    /// Handles the start of a new event, before any layer receives the event.
    pub(crate) fn begin(&self, metadata: &Metadata<'_>) {
        if *metadata.level() == Level::ERROR {
            LAST.set(None);
        }
    }

    pub(crate) fn on_event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        if !can_be_error(metadata) || metadata.target().starts_with("tower_apm") {
            return;
        }
        // events of the agent's own HTTP client are not errors of the service
        if is_suppressed() {
            return;
        }
        let transaction = Transaction::current();
        let Some(recorder) = self.recorder(&transaction) else { return };
        let is_error_level = *metadata.level() == Level::ERROR;
        if is_nested() {
            if is_error_level {
                recorder.suppressed_error();
            }
            return;
        }
        let mut fields = EventFields::default();
        if run_user_code(&recorder, UserCode::Display, || event.record(&mut fields)).is_none() {
            return;
        }
        match fields.exception.take() {
            Some(exception) if is_error_level => record_error(&recorder, &transaction, metadata, fields, exception),
            exception => record_line(&recorder, &transaction, metadata, fields, exception),
        }
    }
}

fn record_error(
    recorder: &Arc<Recorder>,
    transaction: &Transaction,
    metadata: &'static Metadata<'static>,
    mut fields: EventFields,
    mut exception: Exception,
) {
    let found = std::mem::take(&mut exception.stack);
    exception.stack = stack_of_event(recorder, &mut fields, metadata, found);
    let mut record = exception.into_record(SystemTime::now());
    LAST.set(Some((metadata, record.id)));
    if let Some(message) = fields.message.take() {
        let logger = Some(fields.logger(metadata));
        record.log = Some(LogMessage { message, level: "error", logger, template: None, stack: Stack::None });
    }
    add_labels(&mut record, fields, recorder);
    let Some(shared) = transaction.shared() else {
        return match transaction.handle() {
            Handle::None => recorder.error(record),
            handle => handle.error(record, None),
        };
    };
    let parent = active_span(shared);
    if parent.is_some_and(|span| span != shared.ids().id) {
        // a span with an error has failed; the outcome of a request depends on its status
        current_context().span().set_status(Status::error(""));
    }
    shared.error(record, parent);
}

fn record_line(
    recorder: &Arc<Recorder>,
    transaction: &Transaction,
    metadata: &'static Metadata<'static>,
    mut fields: EventFields,
    exception: Option<Exception>,
) {
    let level = *metadata.level();
    let capture = recorder.config().capture_log_errors;
    let is_always_sent = capture == CaptureLogErrors::All && level == Level::ERROR;
    if capture == CaptureLogErrors::Off || !is_always_sent && !transaction.handle().wants_line(level) {
        return;
    }
    let sanitizer = recorder.sanitizer();
    let logged = if exception.is_some() { fields.message.take() } else { fields.take_line(&sanitizer) };
    let exception = exception.or_else(|| {
        let of_line = logged.clone().map(Exception::from_text).filter(Exception::is_report);
        of_line.or_else(|| fields.take_report(&sanitizer))
    });
    let found = exception.as_ref().map_or(Stack::None, |exception| exception.stack.clone());
    let stack = stack_of_event(recorder, &mut fields, metadata, found);
    // the first line of a report, which is the message of the exception
    let message = match (&exception, logged) {
        (Some(exception), Some(logged)) if exception.logged_text.as_deref() == Some(&*logged) => {
            exception.message.clone()
        }
        (Some(exception), None) => exception.message.clone(),
        (_, logged) => logged.unwrap_or_else(|| metadata.name().to_owned()),
    };
    let logger = Some(fields.logger(metadata));
    let log = LogMessage { message, level: level_name(level), logger, template: None, stack: Stack::None };
    let mut record = ErrorRecord::of_line(log, exception, stack, SystemTime::now());
    add_labels(&mut record, fields, recorder);
    if is_always_sent {
        LAST.set(Some((metadata, record.id)));
    }
    let parent = transaction.shared().and_then(|shared| active_span(shared));
    match (is_always_sent, transaction.handle()) {
        (true, Handle::None) => recorder.error(record),
        (true, handle) => handle.error(record, parent),
        (false, handle) => handle.offer_line(record, parent, level),
    }
}

fn add_labels(record: &mut ErrorRecord, fields: EventFields, recorder: &Recorder) {
    for label in fields.labels(&recorder.sanitizer()) {
        record.context.set_label(label.key, label.value);
    }
}
