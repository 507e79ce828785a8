//! Ends a request's transaction, once, on whichever way it leaves.

use std::{any::Any, sync::Arc, time::SystemTime};

use http::{HeaderMap, StatusCode};

use super::{grpc, outcome};
use crate::{
    record::{ErrorOrigin, Exception, Headers, HttpResponse, LabelValue, Name, Outcome, TransactionRecord},
    transaction::{Handle, Transaction, TransactionInner},
};

/// Travels with the request, from the future to the body. Dropped before either has said how it ended, it was cut off:
/// by the client or by a timeout outside, which cannot be told apart from here.
#[derive(Debug)]
pub(super) struct Ending {
    transaction: Transaction,
    /// The whole response was handed out in one piece: whoever drops it unread has had his answer.
    handed_out: bool,
    call: Call,
}

/// What kind of answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Http,
    /// Of gRPC by the request's word alone.
    Asked,
    /// With the status, once it is known.
    Grpc(Option<grpc::Status>),
}

impl Ending {
    /// `is_call`: the request says that it is gRPC's.
    pub(super) fn new(transaction: Transaction, is_call: bool) -> Self {
        Self { transaction, handed_out: false, call: if is_call { Call::Asked } else { Call::Http } }
    }

    pub(super) fn set_handed_out(&mut self, handed_out: bool) {
        self.handed_out = handed_out;
    }

    pub(super) fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    fn shared(&self) -> Option<&Arc<TransactionInner>> {
        self.transaction.shared()
    }

    /// The head is there, and tells whether a call of gRPC was one. It has the status already where there is nothing
    /// else to come.
    pub(super) fn answered(&mut self, headers: &HeaderMap) {
        if self.call != Call::Asked {
            return;
        }
        if !grpc::is_grpc(headers) {
            self.call = Call::Http;
            return self.name_by_route();
        }
        let status = grpc::Status::in_headers(headers);
        self.call = Call::Grpc(status);
        match status {
            // nobody vouches for what the caller wrote: no such method, or a caller whom nobody let in
            Some(grpc::Status::UNIMPLEMENTED | grpc::Status::UNAUTHENTICATED) => self.name_by_route(),
            _ => self.name_by_method(),
        }
    }

    fn name_by_route(&self) {
        if let Some(shared) = self.shared() {
            shared.propose_name(Name::Route);
        }
    }

    fn name_by_method(&self) {
        let Some(shared) = self.shared() else { return };
        let path = |record: &TransactionRecord| Some(record.context.request.as_ref()?.text.path().to_owned());
        if let Some(path) = shared.read(path).flatten() {
            shared.propose_name(Name::Text(path.into()));
        }
    }

    /// What follows the body.
    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Call::Grpc(status) = &mut self.call {
            *status = grpc::Status::in_headers(trailers).or(*status);
        }
    }

    /// The head is there.
    pub(super) fn head(&self, status: StatusCode, headers: &HeaderMap) {
        let Some(shared) = self.shared() else { return };
        let keep = shared.config().capture_headers && shared.ids().sampled;
        let headers = keep.then(|| Headers::copy(headers));
        shared.update(|record| {
            record.context.response = Some(HttpResponse { status: status.as_u16(), headers, finished: false });
        });
    }

    /// A body follows: the time to here is told apart from the whole.
    pub(super) fn body_follows(&self) {
        if let Some(shared) = self.shared() {
            let elapsed = shared.began.elapsed();
            shared.update(|record| record.time_to_head = Some(elapsed));
            // the error behind the response is known by now, and a body can go on for hours
            shared.send_waiting_errors();
        }
    }

    /// Records the error that caused a response, or an error of a service or a body.
    pub(super) fn error(&self, exception: Exception) {
        if let Some(shared) = self.shared() {
            let mut record = exception.into_record(SystemTime::now());
            record.origin = ErrorOrigin::Response;
            shared.error(record, None);
        }
    }

    /// Ends the recording of the response. `finished` is true if the whole body was delivered.
    pub(super) fn complete(mut self, finished: bool) {
        let call = self.call;
        self.end(|record| completed(record, finished, call));
    }

    /// The service or the body failed.
    pub(super) fn failed(mut self) {
        let call = self.call;
        self.end(|record| {
            if call != Call::Http {
                record.result.get_or_insert(grpc::Status::UNKNOWN.name().into());
            }
            Outcome::Failure
        });
    }

    /// A panic went through: it is an error, and there is no status to tell of.
    pub(super) fn panicked(self, panic: &(dyn Any + Send)) {
        if let Some(shared) = self.shared() {
            Handle::Transaction(shared.clone()).panicked(panic);
            shared.update(|record| {
                record.result.get_or_insert("panic".into());
            });
        }
        self.failed();
    }

    fn end(&mut self, outcome: impl FnOnce(&mut TransactionRecord) -> Outcome) {
        if self.call == Call::Asked {
            // no answer has said that the path is a method
            self.name_by_route();
        }
        let transaction = std::mem::take(&mut self.transaction);
        if let Some(shared) = transaction.shared() {
            shared.end(outcome);
        }
    }
}

fn completed(record: &mut TransactionRecord, finished: bool, call: Call) -> Outcome {
    let Some(response) = record.context.response.as_mut() else { return Outcome::Unknown };
    response.finished = finished;
    match call {
        Call::Http | Call::Asked => outcome::of_response(response.status, finished),
        Call::Grpc(status) => {
            let status = status.unwrap_or(grpc::Status::UNKNOWN);
            record.result.get_or_insert(status.name().into());
            status.outcome()
        }
    }
}

impl Drop for Ending {
    /// After any other end there is no transaction any more, and nothing happens.
    fn drop(&mut self) {
        if self.handed_out {
            let call = self.call;
            return self.end(|record| completed(record, true, call));
        }
        let call = self.call;
        self.end(|record| {
            record.context.set_label("aborted".into(), LabelValue::Bool(true));
            let status = match call {
                Call::Http => return Outcome::Unknown,
                Call::Asked | Call::Grpc(None) => grpc::Status::CANCELLED,
                Call::Grpc(Some(status)) => status,
            };
            record.result.get_or_insert(status.name().into());
            status.outcome()
        });
    }
}
