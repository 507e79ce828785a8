//! What came so far, in numbers.

use serde::Serialize;

use super::event::Kind;

/// The counts of a [`Store`](super::Store). They go on when it is [cleared](super::Store::clear), but for what is
/// held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Goes up with every change.
    pub version: u64,
    /// Requests of intake and OTLP, whatever became of them.
    pub requests: u64,
    /// Lines that were taken, by type, and what OTLP told.
    pub accepted: ByKind,
    /// Lines that were refused, by the type that they named.
    pub rejected: ByKind,
    /// Lines that were refused and named no type that the server knows, or were too long to tell; messages of OTLP that
    /// could not be read.
    pub unrecognized: u64,
    /// Why the last one was refused.
    pub last_rejection: Option<String>,
    /// Events that made room for newer ones.
    pub evicted: u64,
    /// Events that are in memory now.
    pub held: usize,
    /// The same by type.
    pub held_by_type: ByKind,
    /// Roughly the bytes that they hold.
    pub bytes: usize,
}

/// A count for each kind of event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each field is the kind of its name")]
#[non_exhaustive]
pub struct ByKind {
    pub transaction: u64,
    pub span: u64,
    pub error: u64,
    pub metricset: u64,
    pub log: u64,
    pub metadata: u64,
}

impl ByKind {
    pub(super) fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Transaction => &mut self.transaction,
            Kind::Span => &mut self.span,
            Kind::Error => &mut self.error,
            Kind::Metricset => &mut self.metricset,
            Kind::Log => &mut self.log,
            Kind::Metadata => &mut self.metadata,
        }
    }

    /// All events; metadata is none.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.transaction + self.span + self.error + self.metricset + self.log
    }
}
