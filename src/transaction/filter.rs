//! The last word on a transaction, when all of it is known.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use super::{Recorder, contain};
use crate::record::{Outcome, TransactionRecord};

/// A transaction that has ended, for
/// [`AgentBuilder::transaction_filter`](crate::AgentBuilder::transaction_filter) to judge.
pub struct FinishedTransaction<'a> {
    record: &'a TransactionRecord,
    has_errors: bool,
}

impl FinishedTransaction<'_> {
    /// As Kibana groups by it: `GET /listings/{id}`.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        self.record.display_name()
    }

    /// The type: `request`, `messaging`, `scheduled` or what was given to
    /// [`Transaction::start`](crate::Transaction::start).
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.record.kind
    }

    /// Success, failure or unknown.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.record.outcome
    }

    /// From the start to the end of the response's body.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.record.duration
    }

    /// The status of the response; None where there was none.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.record.context.response.as_ref().map(|response| response.status)
    }

    /// The path of the request, without its query; None where there was no request.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.record.context.request.as_ref().map(|request| request.text.path())
    }

    /// Whether an error was captured on it. Its errors are sent in any case.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.has_errors
    }
}

impl fmt::Debug for FinishedTransaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FinishedTransaction")
            .field("name", &self.name())
            .field("outcome", &self.outcome())
            .field("duration", &self.duration())
            .finish_non_exhaustive()
    }
}

type Keeps = dyn Fn(&FinishedTransaction<'_>) -> bool + Send + Sync;

/// All of them must keep a transaction.
#[derive(Clone, Default)]
pub(crate) struct TransactionFilters(Vec<Arc<Keeps>>);

impl TransactionFilters {
    pub(crate) fn add(&mut self, keeps: impl Fn(&FinishedTransaction<'_>) -> bool + Send + Sync + 'static) {
        self.0.push(Arc::new(keeps));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A filter that panics has no say.
    pub(super) fn keep(&self, record: &TransactionRecord, has_errors: bool, recorder: &Recorder) -> bool {
        let finished = FinishedTransaction { record, has_errors };
        self.0.iter().all(|keeps| contain(recorder, || keeps(&finished)).unwrap_or(true))
    }
}

impl fmt::Debug for TransactionFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionFilters({})", self.0.len())
    }
}
