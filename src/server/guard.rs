//! Ends a request's transaction, once, on whichever way it leaves.

use std::{any::Any, sync::Arc, time::SystemTime};

use http::{HeaderMap, StatusCode};

use super::{grpc, outcome};
use crate::{
    record::{Exception, Headers, HttpResponse, LabelValue, Name, Outcome, TransactionRecord},
    transaction::{Shared, Transaction},
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
    /// With the status, once it is known.
    Grpc(Option<grpc::Status>),
}

impl Ending {
    pub(super) fn new(transaction: Transaction) -> Self {
        Self { transaction, handed_out: false, call: Call::Http }
    }

    pub(super) fn set_handed_out(&mut self, handed_out: bool) {
        self.handed_out = handed_out;
    }

    pub(super) fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    fn shared(&self) -> Option<&Arc<Shared>> {
        self.transaction.shared()
    }

    /// The answer is gRPC's; its head has the status already where there is nothing else to come.
    pub(super) fn grpc(&mut self, headers: &HeaderMap) {
        let status = grpc::Status::of(headers);
        self.call = Call::Grpc(status);
        if let Some(shared) = self.shared().filter(|_| status == Some(grpc::Status::UNIMPLEMENTED)) {
            // the name is whatever the caller wrote
            shared.propose_name(Name::Route);
        }
    }

    /// What follows the body.
    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Call::Grpc(status) = &mut self.call {
            *status = grpc::Status::of(trailers).or(*status);
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
        }
    }

    /// Records the error behind a response, a service's or a body's.
    pub(super) fn error(&self, exception: Exception) {
        if let Some(shared) = self.shared() {
            shared.error(exception.into_record(SystemTime::now()), None);
        }
    }

    /// All that was to come has come; `finished` where that is the end of the body.
    pub(super) fn complete(mut self, finished: bool) {
        let call = self.call;
        self.end(|record| completed(record, finished, call));
    }

    /// The service or the body failed.
    pub(super) fn failed(mut self) {
        self.end(|_| Outcome::Failure);
    }

    /// A panic went through: it is an error, and there is no status to tell of.
    pub(super) fn panicked(self, panic: &(dyn Any + Send)) {
        if let Some(shared) = self.shared() {
            shared.panicked(panic);
            shared.update(|record| {
                record.result.get_or_insert("panic".into());
            });
        }
        self.failed();
    }

    fn end(&mut self, outcome: impl FnOnce(&mut TransactionRecord) -> Outcome) {
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
        Call::Http => outcome::of_status(response.status),
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
            if call == Call::Grpc(None) {
                record.result.get_or_insert(grpc::Status::CANCELLED.name().into());
            }
            record.context.set_label("aborted".into(), LabelValue::Bool(true));
            Outcome::Unknown
        });
    }
}
