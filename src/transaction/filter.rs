//! Filters, which are called for finished transactions and for errors.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use crate::{
    record::{ErrorRecord, Exception, Outcome, TransactionRecord},
    sanitize::Sanitizer,
};

/// A transaction that has ended: the argument of
/// [`AgentBuilder::transaction_filter`](crate::AgentBuilder::transaction_filter).
pub struct FinishedTransaction<'a> {
    record: &'a TransactionRecord,
    has_errors: bool,
}

impl<'a> FinishedTransaction<'a> {
    pub(super) fn new(record: &'a TransactionRecord, has_errors: bool) -> Self {
        Self { record, has_errors }
    }

    /// Returns the name by which Kibana groups transactions, such as `GET /listings/{id}`.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        self.record.display_name()
    }

    /// Returns the type: `request`, `messaging`, or the type that was passed to
    /// [`Transaction::start`](crate::Transaction::start).
    #[must_use]
    pub fn transaction_type(&self) -> &str {
        &self.record.kind
    }

    /// Returns the outcome.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.record.outcome
    }

    /// Returns the duration, which ends with the body of the response.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.record.duration
    }

    /// Returns the status of the response, or `None` if there is no response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let told = self.record.context.response.as_ref().map(|response| response.status);
        told.or_else(|| self.record.otel.as_ref()?.http_status())
    }

    /// Returns the path of the request without its query, or `None` if there is no request.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.record.context.request.as_ref().map(|request| request.text.path())
    }

    /// Returns whether an error was captured on the transaction. Its errors are sent in any case, with the id of the
    /// transaction, even if the filter drops the transaction.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.has_errors
    }
}

impl fmt::Debug for FinishedTransaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FinishedTransaction")
            .field("name", &Sanitizer::default().name(&self.name()))
            .field("outcome", &self.outcome())
            .field("duration", &self.duration())
            .finish_non_exhaustive()
    }
}

/// An error before it is queued: the argument of [`AgentBuilder::error_filter`](crate::AgentBuilder::error_filter).
pub struct ReportedError<'a> {
    record: &'a ErrorRecord,
}

impl<'a> ReportedError<'a> {
    pub(super) fn new(record: &'a ErrorRecord) -> Self {
        Self { record }
    }

    /// Returns the type without its path, or `None` if the type is not known.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        self.record.exception.as_ref()?.kind.as_deref()
    }

    /// Returns the variant, if the type is an enum. The variant is read from the error's `Debug` output.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.record.exception.as_ref()?.variant.as_deref()
    }

    /// Returns the types of the error and of its causes, with their path if it is known.
    pub fn types(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.record.exception.iter().flat_map(Exception::types)
    }

    /// Returns the error's `Display` output. For an error that is only a log line, this is the text of the line.
    #[must_use]
    pub fn message(&self) -> &str {
        let exception = self.record.exception.as_ref().map(|exception| &*exception.message);
        exception.or(self.record.log.as_ref().map(|log| &*log.message)).unwrap_or_default()
    }

    /// Returns `false` for panics, and for errors that the code did not handle.
    #[must_use]
    pub fn handled(&self) -> bool {
        self.record.exception.as_ref().is_none_or(|exception| exception.handled)
    }

    /// Returns the name of the error's transaction, or `None` outside of transactions.
    #[must_use]
    pub fn transaction_name(&self) -> Option<Cow<'_, str>> {
        self.record.parent.as_ref().map(|parent| parent.name.resolve(self.record.context.request.as_ref()))
    }
}

impl fmt::Debug for ReportedError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportedError")
            .field("error_type", &self.error_type())
            .field("handled", &self.handled())
            .finish_non_exhaustive()
    }
}

pub(super) type KeepsTransaction = dyn Fn(&FinishedTransaction<'_>) -> bool + Send + Sync;
pub(super) type KeepsError = dyn Fn(&ReportedError<'_>) -> bool + Send + Sync;

/// The filters. A transaction is kept if every filter returns true.
#[derive(Clone, Default)]
pub(crate) struct TransactionFilters(Vec<Arc<KeepsTransaction>>);

impl TransactionFilters {
    pub(crate) fn add(&mut self, keeps: impl Fn(&FinishedTransaction<'_>) -> bool + Send + Sync + 'static) {
        self.0.push(Arc::new(keeps));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &KeepsTransaction> {
        self.0.iter().map(|keeps| &**keeps)
    }
}

/// All of them must keep an error.
#[derive(Clone, Default)]
pub(crate) struct ErrorFilters(Vec<Arc<KeepsError>>);

impl ErrorFilters {
    pub(crate) fn add(&mut self, keeps: impl Fn(&ReportedError<'_>) -> bool + Send + Sync + 'static) {
        self.0.push(Arc::new(keeps));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &KeepsError> {
        self.0.iter().map(|keeps| &**keeps)
    }
}

impl fmt::Debug for TransactionFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionFilters({})", self.0.len())
    }
}

impl fmt::Debug for ErrorFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorFilters({})", self.0.len())
    }
}
