//! Records the errors of a transaction. Each error is sent once, with the context of the transaction.

use std::{borrow::Cow, time::SystemTime};

use http::StatusCode;

use super::{
    captured_body::CapturedBody,
    custom::set_custom,
    error_history::{Verdict, add_labels, replace},
    failures::{BoxedError, FailureLine},
    inner::{Recorder, TransactionInner},
    naming::renamed,
};
use crate::{
    config::CaptureBody,
    record::{ErrorOrigin, ErrorParent, ErrorRecord, LogMessage, Name, SpanId, Stack, TransactionRecord, is_contained},
};

impl Verdict {
    /// Returns true if the error is recorded. Counts the error otherwise.
    pub(super) fn settle(self, recorder: &Recorder) -> bool {
        match self {
            Verdict::Recorded => {}
            Verdict::Suppressed => recorder.suppressed_error(),
            Verdict::Vetoed => recorder.filtered(1),
        }
        self == Verdict::Recorded
    }
}

impl TransactionInner {
    /// An error was recorded on this transaction that is not the error of an exit span.
    pub(crate) fn has_own_errors(&self) -> bool {
        self.lock().has_own_errors()
    }

    /// Where an error under this transaction belongs; `parent` is the active span.
    fn error_parent(&self, parent: Option<SpanId>, kind: Cow<'static, str>, name: Name) -> ErrorParent {
        let ids = self.ids();
        ErrorParent {
            trace_id: ids.trace_id,
            transaction_id: ids.id,
            parent_id: parent.unwrap_or(ids.id),
            sampled: ids.sampled && !self.is_discarded(),
            kind,
            name,
        }
    }

    /// Completes an error with the data of the transaction and sends it. The error's own labels and custom context take
    /// precedence. A repeated error and errors beyond the limit are only counted.
    pub(crate) fn error(&self, mut error: Box<ErrorRecord>, parent: Option<SpanId>) {
        if self.recorder().ignores(&error) {
            if error.origin != ErrorOrigin::ExitSpan {
                self.lock().rare().errors.failure.set_reason();
            }
            return self.recorder().filtered(1);
        }
        let mut parent = parent.map(|span| self.pin(span));
        {
            let mut state = self.lock();
            let (record, rare) = state.record_and_rare();
            if !rare.errors.judge(&error).settle(&self.recorder) {
                return;
            }
            let replacing = error.exception.as_ref().filter(|_| error.origin != ErrorOrigin::ExitSpan);
            let mut replaced = replacing.map_or_else(Vec::new, |exception| rare.errors.take_replaced(exception));
            replaced.iter().for_each(|_| self.recorder.suppressed_error());
            replace(&mut error, &mut parent, &mut replaced);
            let awaits_response = record.as_ref().is_some_and(|record| record.context.request.is_some());
            match record {
                Some(record) => self.complete_error(&mut error, record, rare.body.as_ref(), parent),
                // the transaction has ended, and only its name and type are kept
                None => {
                    let (kind, name) = rare.ended.as_ref().map_or_else(
                        || (Cow::Borrowed("request"), Cow::Borrowed("")),
                        |ended| (ended.kind.clone(), ended.name()),
                    );
                    error.parent = Some(self.error_parent(parent, kind, Name::Text(name)));
                }
            }
            add_labels(&mut error, replaced);
            // Only a response brings an error value later. What a filter or a hook records is sent while the filter runs:
            // later it would be filtered again.
            if awaits_response && !is_contained() && error.is_provisional() {
                match rare.errors.wait(error) {
                    Some(first) => error = first,
                    None => return,
                }
            }
        }
        self.send_error(error);
    }

    /// Adds the data of the transaction to an error.
    pub(super) fn complete_error(
        &self,
        error: &mut ErrorRecord,
        record: &TransactionRecord,
        body: Option<&CapturedBody>,
        parent: Option<SpanId>,
    ) {
        let as_shown = || Name::Text(record.display_name().into_owned().into());
        let name = renamed(record, &self.config).unwrap_or_else(as_shown);
        error.parent = Some(self.error_parent(parent, record.kind.clone(), name));
        let own = std::mem::replace(&mut error.context, record.context.clone());
        if let Some(request) = &mut error.context.request {
            let is_captured = matches!(self.config.capture_body, CaptureBody::Errors | CaptureBody::All);
            request.body = body.filter(|_| is_captured).and_then(CapturedBody::get);
        }
        own.labels.into_iter().for_each(|label| {
            if !error.context.set_label(label.key, label.value) {
                self.recorder.excess_label();
            }
        });
        own.custom.into_iter().for_each(|custom| {
            set_custom(&mut error.context, custom.key, custom.json, &self.recorder);
        });
    }

    pub(super) fn send_error(&self, error: Box<ErrorRecord>) {
        if !self.config.context_propagation_only {
            self.recorder.error(error);
        }
    }

    /// Sends the errors that no error value has replaced.
    pub(crate) fn send_waiting_errors(&self) {
        let waiting = self.lock().take_waiting_errors();
        if let Some(waiting) = waiting {
            self.send_errors(waiting);
        }
    }

    /// As [`send_waiting_errors`](Self::send_waiting_errors), with errors that were taken under the lock.
    pub(super) fn send_errors(&self, waiting: Vec<BoxedError>) {
        waiting.into_iter().for_each(|error| self.send_error(error));
    }

    /// Sends an error for a transaction that has failed without an error. Returns whether an error was sent.
    pub(super) fn explain_failure(
        &self,
        record: &TransactionRecord,
        line: Option<Box<FailureLine>>,
        body: Option<&CapturedBody>,
    ) -> bool {
        let (mut error, parent) = match line {
            Some(line) => (line.error, line.parent),
            None => match of_response(record) {
                Some(error) => (error, None),
                None => return false,
            },
        };
        if self.recorder().ignores(&error) {
            self.recorder().filtered(1);
            return false;
        }
        let parent = parent.map(|span| self.pin(span));
        self.complete_error(&mut error, record, body, parent);
        self.send_error(error);
        true
    }
}

/// Creates the error of a request from its status.
fn of_response(record: &TransactionRecord) -> Option<BoxedError> {
    record.context.request.as_ref()?;
    let status = record.context.response.as_ref()?.status;
    let answer: Cow<'_, str> = match StatusCode::from_u16(status) {
        // a gRPC call that has failed with HTTP status 200
        Ok(status) if !status.is_server_error() => record.result.as_deref()?.to_owned().into(),
        Ok(status) => status.to_string().into(),
        Err(_) => return None,
    };
    let message = format!("{} returned {answer}", record.display_name());
    let log = LogMessage { message, level: "error", logger: None, template: None, stack: Stack::None };
    let mut error = ErrorRecord::of_line(log, None, Stack::None, SystemTime::now());
    error.origin = ErrorOrigin::Response;
    Some(error)
}
