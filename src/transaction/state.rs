//! The part of a transaction that changes while it runs.

use tracing::Level;

use super::{
    captured_body::CapturedBody, ended::EndedTransaction, error_history::ErrorHistory, failures::BoxedError,
    spans::Spans,
};
use crate::record::{SpanId, TransactionRecord};

#[derive(Default)]
pub(crate) struct State {
    /// None: the transaction has ended.
    pub(super) record: Option<Box<TransactionRecord>>,
    pub(super) named_by_user: bool,
    pub(super) outcome_by_user: bool,
    /// Begun by a span of `tracing` or OpenTelemetry: a layer that meets it may take it over.
    pub(super) is_adoptable: bool,
    /// Made with the first span.
    pub(super) spans: Option<Box<Spans>>,
    pub(super) rare: Option<Box<RareState>>,
}

/// The part of the state that few transactions need.
#[derive(Default)]
pub(super) struct RareState {
    pub(super) errors: ErrorHistory,
    /// Set at the end of the transaction if a remaining handle could capture an error.
    pub(super) ended: Option<EndedTransaction>,
    /// The body of the request, if `capture_body` is on for it.
    pub(super) body: Option<CapturedBody>,
}

impl State {
    pub(super) fn spans(&mut self) -> &mut Spans {
        self.spans.get_or_insert_default()
    }

    pub(super) fn rare(&mut self) -> &mut RareState {
        self.rare.get_or_insert_default()
    }

    pub(super) fn record_and_rare(&mut self) -> (Option<&TransactionRecord>, &mut RareState) {
        (self.record.as_deref(), self.rare.get_or_insert_default())
    }

    pub(super) fn waiting_texts(&self) -> Vec<String> {
        self.rare.as_ref().map(|rare| rare.errors.waiting_texts()).unwrap_or_default()
    }

    /// Returns `None` for a transaction without an error.
    pub(super) fn take_waiting_errors(&mut self) -> Option<Vec<BoxedError>> {
        self.rare.as_mut().map(|rare| rare.errors.take_waiting())
    }

    pub(super) fn wants_line(&self, level: Level) -> bool {
        self.record.is_some() && self.rare.as_ref().is_none_or(|rare| rare.errors.failure.wants_line(level))
    }

    pub(super) fn offer_line(&mut self, error: BoxedError, parent: Option<SpanId>, level: Level) {
        if self.record.is_some() {
            self.rare().errors.failure.offer(error, parent, level);
        }
    }

    pub(super) fn has_own_errors(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.errors.has_own())
    }
}
