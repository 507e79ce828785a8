//! `tracing::error!` with an error in it becomes an error document.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::SystemTime};

use opentelemetry::{
    Context,
    trace::{Status, TraceContextExt},
};
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use super::{active_span, stack_here};
use crate::{
    record::{Exception, LabelValue, LogMessage, bounded},
    sanitize::REDACTED,
    transaction::{Handle, Recorder, Transaction, UserCode, contain, installed},
};

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

    pub(crate) fn on_event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        if *metadata.level() != Level::ERROR || metadata.target().starts_with("tower_apm") {
            return;
        }
        // what the agent's own HTTP client says is nothing that happened in the service
        if Context::is_current_telemetry_suppressed() {
            return;
        }
        let transaction = Transaction::current();
        let Some(recorder) = self.recorder(&transaction) else { return };
        let mut fields = Fields::default();
        if contain(&recorder, UserCode::Display, || event.record(&mut fields)).is_none() {
            return;
        }
        let Some(mut exception) = fields.exception else { return };
        exception.stack = stack_here(&recorder);
        let mut record = exception.into_record(SystemTime::now());
        if let Some(message) = fields.message {
            record.log = Some(LogMessage {
                message,
                level: "error",
                logger: Some(Cow::Borrowed(metadata.target())),
                template: None,
            });
        }
        for (key, value) in fields.labels {
            // unlike a label that a developer sets, a field was not chosen to be found
            let value = match value {
                _ if recorder.sanitizer().is_secret(key) => LabelValue::Text(REDACTED.into()),
                LabelValue::Text(text) => LabelValue::Text(recorder.sanitizer().urls_in(&text).into_owned().into()),
                other => other,
            };
            record.context.set_label(Cow::Borrowed(key), value);
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
            Context::current().span().set_status(Status::error(""));
        }
        shared.error(record, parent);
    }
}

#[derive(Default)]
struct Fields {
    exception: Option<Exception>,
    message: Option<String>,
    labels: Vec<(&'static str, LabelValue)>,
}

impl Fields {
    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = Some(text),
            // the text of an error that came by value tells more than another's
            "error" | "err" if self.exception.is_none() => {
                self.exception = Some(Exception { message: text, erased: true, ..Exception::default() });
            }
            "error" | "err" => {}
            name if name.starts_with("log.") => {}
            name => self.labels.push((name, LabelValue::Text(text.into()))),
        }
    }
}

impl Visit for Fields {
    fn record_error(&mut self, _: &Field, error: &(dyn Error + 'static)) {
        self.exception = Some(Exception::from_error(error));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, bounded(&format_args!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, bounded(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.labels.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.labels.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.labels.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.labels.push((field.name(), value.into()));
    }
}
