//! Where the time of a transaction goes, by kind of span (agent-spec 10.4).
//!
//! The self time of a span is its duration without the time in which at least one child of its ran. So each parent has
//! a timer that knows how many children run; those that are still running when it ends are cut there.

use super::{Shared, state::State};
use crate::record::{SelfTime, SpanId, SpanRecord, SpanType};

/// Parents whose children are timed at once. With more, what the others' children take counts as theirs.
const MAX_TIMERS: usize = 1024;
/// Kinds of span that one transaction tells apart.
const MAX_TYPES: usize = 64;

#[derive(Default)]
pub(super) struct SelfTimes {
    timers: Vec<Timer>,
    sums: Vec<SelfTime>,
}

/// The children of one span. Times are microseconds since the epoch.
struct Timer {
    parent: SpanId,
    /// The sums are complete up to here.
    until: u64,
    running: u32,
    /// Spans beyond `transaction_max_spans` that call nobody. Theirs are the ids of the nearest parent that is sent, so
    /// it cannot be told which of them is below which: together they have the time in which no other child ran.
    unsent_running: u32,
    unsent: u32,
    /// Time with a child.
    taken: u64,
    unsent_alone: u64,
}

/// What kind of child it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimedChild {
    Span,
    /// Beyond the limit, without a record.
    Unsent,
}

impl Timer {
    fn advance(&mut self, now: u64) {
        let passed = now.saturating_sub(self.until);
        self.until = self.until.max(now);
        if self.running > 0 || self.unsent_running > 0 {
            self.taken += passed;
        }
        if self.running == 0 && self.unsent_running > 0 {
            self.unsent_alone += passed;
        }
    }

    fn count(&mut self, child: TimedChild) -> &mut u32 {
        match child {
            TimedChild::Span => &mut self.running,
            TimedChild::Unsent => &mut self.unsent_running,
        }
    }
}

impl SelfTimes {
    fn timer(&mut self, parent: SpanId) -> Option<usize> {
        // the newest parent is the likeliest
        self.timers.iter().rposition(|timer| timer.parent == parent)
    }

    pub(super) fn begin(&mut self, parent: SpanId, now: u64, child: TimedChild) {
        let at = match self.timer(parent) {
            Some(at) => at,
            None if self.timers.len() == MAX_TIMERS => return,
            None => {
                let timer =
                    Timer { parent, until: now, running: 0, unsent_running: 0, unsent: 0, taken: 0, unsent_alone: 0 };
                self.timers.push(timer);
                self.timers.len() - 1
            }
        };
        let timer = &mut self.timers[at];
        timer.advance(now);
        *timer.count(child) += 1;
        timer.unsent += u32::from(child == TimedChild::Unsent);
    }

    fn end(&mut self, parent: SpanId, now: u64, child: TimedChild) {
        if let Some(at) = self.timer(parent) {
            let timer = &mut self.timers[at];
            timer.advance(now);
            let count = timer.count(child);
            *count = count.saturating_sub(1);
        }
    }

    /// The self time of a parent that ends.
    fn close(&mut self, id: SpanId, began: u64, now: u64) -> u64 {
        let whole = now.saturating_sub(began);
        let Some(at) = self.timer(id) else { return whole };
        let mut timer = self.timers.swap_remove(at);
        timer.advance(now);
        if timer.unsent > 0 {
            self.add(SpanType::INTERNAL, timer.unsent, timer.unsent_alone);
        }
        whole.saturating_sub(timer.taken)
    }

    fn add(&mut self, SpanType { kind, subtype }: SpanType<'static>, count: u32, micros: u64) {
        if let Some(sum) = self.sums.iter_mut().find(|sum| sum.kind == kind && sum.subtype == subtype) {
            sum.count = sum.count.saturating_add(count);
            sum.micros = sum.micros.saturating_add(micros);
        } else if self.sums.len() < MAX_TYPES {
            self.sums.push(SelfTime { kind, subtype, count, micros });
        }
    }

    /// All sums, the transaction's own among them: none where it had no spans, for then it is its duration.
    pub(super) fn finish(mut self, id: SpanId, began: u64, now: u64) -> Vec<SelfTime> {
        if self.timers.is_empty() && self.sums.is_empty() {
            return Vec::new();
        }
        let own = self.close(id, began, now);
        self.sums.push(SelfTime { kind: "app", subtype: None, count: 1, micros: own });
        self.sums
    }
}

impl Shared {
    pub(super) fn is_timed(&self) -> bool {
        self.config.breakdown_metrics && !self.config.metrics_interval.is_zero()
    }

    /// A span that is beyond the limit and calls nobody ends, `now` in microseconds since the epoch.
    pub(crate) fn unsent_ends(&self, parent: SpanId, now: u64) {
        self.span_dropped();
        if self.is_timed() {
            self.lock().spans().self_times.end(parent, now, TimedChild::Unsent);
        }
    }

    /// What a span that ends adds to the self times: sent, merged or dropped, it took its time.
    pub(super) fn timing(&self, record: &mut SpanRecord) -> Option<Timing> {
        let SpanRecord { began_as, kind, attributes, timestamp, duration, .. } = record;
        // what it was at its start it still is, where it was told nothing more
        let began_as = began_as.take().filter(|(_, told)| *told == attributes.len());
        self.is_timed().then(|| Timing {
            span_type: match began_as {
                Some((span_type, _)) => span_type,
                None => (self.recorder.span_type())(kind, attributes).into_owned(),
            },
            end: timestamp.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        })
    }
}

pub(super) struct Timing {
    span_type: SpanType<'static>,
    /// Microseconds since the epoch.
    end: u64,
}

impl State {
    /// Nothing where the transaction is over.
    pub(super) fn time(&mut self, record: &SpanRecord, timing: Option<Timing>) {
        if let (Some(Timing { span_type, end }), true) = (timing, self.record.is_some()) {
            let times = &mut self.spans().self_times;
            let own = times.close(record.id, record.timestamp, end);
            times.end(record.parent_id, end, TimedChild::Span);
            times.add(span_type, 1, own);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const ROOT: SpanId = SpanId(1);
    const CALL: SpanType<'static> = SpanType { kind: "db", subtype: Some(Cow::Borrowed("sqlite")) };

    /// A transaction of 100 µs, and what its spans did.
    fn sums(spans: impl FnOnce(&mut SelfTimes)) -> Vec<(&'static str, u32, u64)> {
        let mut times = SelfTimes::default();
        spans(&mut times);
        let sums = times.finish(ROOT, 1000, 1100);
        sums.into_iter().map(|sum| (sum.kind, sum.count, sum.micros)).collect()
    }

    fn ends(times: &mut SelfTimes, id: SpanId, parent: SpanId, [began, now]: [u64; 2]) {
        let own = times.close(id, began, now);
        times.end(parent, now, TimedChild::Span);
        times.add(CALL, 1, own);
    }

    #[test]
    fn section_10_4_trap_32_children_that_run_at_once_are_subtracted_once() {
        let told = sums(|times| {
            times.begin(ROOT, 1010, TimedChild::Span);
            times.begin(ROOT, 1020, TimedChild::Span);
            ends(times, SpanId(2), ROOT, [1010, 1030]);
            ends(times, SpanId(3), ROOT, [1020, 1050]);
            times.begin(ROOT, 1080, TimedChild::Span);
            ends(times, SpanId(4), ROOT, [1080, 1090]);
        });
        assert_eq!(told, [("db", 3, 60), ("app", 1, 50)]);
    }

    #[test]
    fn section_10_4_a_child_that_outlives_its_parent_is_cut_there() {
        let told = sums(|times| {
            times.begin(ROOT, 1010, TimedChild::Span);
            times.begin(SpanId(2), 1020, TimedChild::Span);
            ends(times, SpanId(2), ROOT, [1010, 1030]);
            times.begin(ROOT, 1090, TimedChild::Span);
        });
        assert_eq!(told, [("db", 1, 10), ("app", 1, 70)]);
    }

    #[test]
    fn section_10_4_spans_beyond_the_limit_have_the_time_that_no_other_has() {
        let told = sums(|times| {
            times.begin(ROOT, 1010, TimedChild::Unsent);
            times.begin(ROOT, 1020, TimedChild::Unsent);
            times.begin(ROOT, 1030, TimedChild::Span);
            ends(times, SpanId(2), ROOT, [1030, 1040]);
            times.end(ROOT, 1050, TimedChild::Unsent);
            times.end(ROOT, 1060, TimedChild::Unsent);
        });
        assert_eq!(told, [("db", 1, 10), ("app", 2, 40), ("app", 1, 50)]);
    }

    #[test]
    fn a_transaction_without_spans_has_nothing_to_say() {
        assert_eq!(sums(|_| {}), []);
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_away() {
        let told = sums(|times| {
            times.begin(ROOT, 1050, TimedChild::Span);
            times.begin(ROOT, 1010, TimedChild::Span);
            ends(times, SpanId(2), ROOT, [1050, 1020]);
            ends(times, SpanId(3), ROOT, [1010, 1060]);
            times.end(ROOT, 1070, TimedChild::Span);
        });
        assert_eq!(told, [("db", 2, 50), ("app", 1, 90)]);
    }
}
