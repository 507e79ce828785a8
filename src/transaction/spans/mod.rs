//! The spans of a transaction: how many are sent, which become one, and which wait.

mod compression;
mod exit_spans;
mod recording;
mod replaced;
mod self_time;
mod span_counts;
mod statements;

use arrayvec::ArrayVec;

pub(crate) use self::exit_spans::SpanStart;
pub(super) use self::span_counts::SpanCounts;
use self::{
    compression::Waiting, exit_spans::ExitSpans, replaced::ReplacedSpans, self_time::Timers, statements::Statements,
};
use crate::{
    config::Config,
    record::{DroppedSpans, SpanId, SpanRecord},
};

/// Parents whose last call may wait for the next one at the same time.
const MAX_WAITING: usize = 4;
/// Spans that wait for the filters' word. A transaction that has more is kept unasked.
const MAX_HELD: usize = 1000;

/// What is not sent yet, and what never will be.
#[derive(Default)]
pub(in crate::transaction) struct Spans {
    /// The last call of a parent, which the next one may be like.
    waiting: ArrayVec<Waiting, MAX_WAITING>,
    calls: ExitSpans,
    statements: Statements,
    replaced: ReplacedSpans,
    pub(in crate::transaction) timers: Timers,
    dropped: Vec<DroppedSpans>,
    /// Spans that wait for what the filters say of the transaction, where there are filters.
    #[expect(clippy::vec_box, reason = "they come boxed, and go on so")]
    pub(in crate::transaction) held: Vec<Box<SpanRecord>>,
    /// What they have said: true keeps.
    verdict: Option<bool>,
}

impl Spans {
    fn child_of(&self, parent: SpanId) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.record.parent_id == parent)
    }

    fn take(&mut self, at: Option<usize>) -> Option<Waiting> {
        at.map(|at| self.waiting.remove(at))
    }

    fn waiting(&self, id: SpanId) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.record.id == id)
    }

    /// Something refers to a span: returns the id to refer to, and the span's record if it has waited until now.
    fn mark_referenced(&mut self, id: SpanId) -> (SpanId, Option<Box<SpanRecord>>) {
        let id = self.replaced.resolve(id);
        self.calls.mark_referenced(id);
        (id, self.take(self.waiting(id)).map(|waiting| waiting.record))
    }

    /// Takes a call into its sibling, where there is one that is like it.
    fn absorb(&mut self, call: &mut SpanRecord, config: &Config) -> bool {
        let Some(at) = self.child_of(call.parent_id) else { return false };
        let absorbed = self.waiting[at].absorb(call, config);
        if absorbed {
            self.replaced.insert(call.id, self.waiting[at].record.id, true);
        }
        absorbed
    }

    /// Keeps an exit span until its next sibling ends. Returns the one that it replaces: its former sibling, or the one
    /// that has waited longest.
    fn wait(&mut self, call: Waiting) -> Option<Waiting> {
        let at = self.child_of(call.record.parent_id).or_else(|| self.waiting.is_full().then_some(0));
        let before = self.take(at);
        self.waiting.push(call);
        before
    }
}
