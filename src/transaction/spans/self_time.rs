//! The time that a transaction spends in each type of span.
//!
//! spec: metrics.md
//!
//! The self time of a span is its duration without the time in which at least one child of its ran. So each parent has
//! a timer that knows how many children run; those that are still running when it ends are cut there.

use smallvec::SmallVec;

use crate::record::{SelfTime, SelfTimes, SpanId, SpanRecord, SpanType};

/// Parents whose children are timed at once. With more, what the others' children take counts as theirs.
const MAX_TIMERS: usize = 1024;
/// The most types of spans that are counted separately for one transaction.
const MAX_TYPES: usize = 64;

/// Of the spans that have children now.
#[derive(Default)]
pub(in crate::transaction) struct Timers(SmallVec<[Timer; 2]>);

/// The children of one span. Times are microseconds since the epoch.
struct Timer {
    parent: SpanId,
    /// The sums are complete up to here.
    until: u64,
    running: u32,
    /// Spans beyond `transaction_max_spans` that are no exit spans. They have the id of the nearest parent that is sent, so
    /// it is not known which of them is the parent of which. Together they get the time in which no other child ran.
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

impl Timers {
    fn of(&mut self, parent: SpanId) -> Option<usize> {
        // the newest parent is the likeliest
        self.0.iter().rposition(|timer| timer.parent == parent)
    }

    pub(super) fn child_begins(&mut self, parent: SpanId, now: u64, child: TimedChild) {
        let at = match self.of(parent) {
            Some(at) => at,
            None if self.0.len() == MAX_TIMERS => return,
            None => {
                let timer =
                    Timer { parent, until: now, running: 0, unsent_running: 0, unsent: 0, taken: 0, unsent_alone: 0 };
                self.0.push(timer);
                self.0.len() - 1
            }
        };
        let timer = &mut self.0[at];
        timer.advance(now);
        *timer.count(child) += 1;
        timer.unsent += u32::from(child == TimedChild::Unsent);
    }

    pub(super) fn child_ends(&mut self, parent: SpanId, now: u64, child: TimedChild) {
        if let Some(at) = self.of(parent) {
            let timer = &mut self.0[at];
            timer.advance(now);
            let count = timer.count(child);
            *count = count.saturating_sub(1);
        }
    }

    /// The self time of a parent that ends.
    fn close(&mut self, id: SpanId, [began, now]: [u64; 2], sums: &mut SelfTimes) -> u64 {
        let whole = now.saturating_sub(began);
        let Some(at) = self.of(id) else { return whole };
        let mut timer = self.0.swap_remove(at);
        timer.advance(now);
        if timer.unsent > 0 {
            add(sums, &SpanType::INTERNAL, timer.unsent, timer.unsent_alone);
        }
        whole.saturating_sub(timer.taken)
    }

    /// A span ends: sent, merged or dropped, it took its time.
    pub(super) fn span_ends(&mut self, span: &SpanRecord, span_type: &SpanType<'static>, sums: &mut SelfTimes) {
        let took = u64::try_from(span.duration.as_micros()).unwrap_or(u64::MAX);
        let end = span.timestamp.saturating_add(took);
        let own = self.close(span.id, [span.timestamp, end], sums);
        self.child_ends(span.parent_id, end, TimedChild::Span);
        add(sums, span_type, 1, own);
    }

    /// All sums, the transaction's own among them: none where it had no spans, for then it is its duration.
    pub(super) fn finish(mut self, id: SpanId, times: [u64; 2], sums: &mut SelfTimes) {
        if self.0.is_empty() && sums.is_empty() {
            return;
        }
        let own = self.close(id, times, sums);
        sums.push(SelfTime { kind: "app", subtype: None, count: 1, micros: own });
    }
}

fn add(sums: &mut SelfTimes, SpanType { kind, subtype }: &SpanType<'static>, count: u32, micros: u64) {
    if let Some(sum) = sums.iter_mut().find(|sum| sum.kind == *kind && sum.subtype == *subtype) {
        sum.count = sum.count.saturating_add(count);
        sum.micros = sum.micros.saturating_add(micros);
    } else if sums.len() < MAX_TYPES {
        sums.push(SelfTime { kind, subtype: subtype.clone(), count, micros });
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const ROOT: SpanId = SpanId(1);
    const CALL: SpanType<'static> = SpanType { kind: "db", subtype: Some(Cow::Borrowed("sqlite")) };

    #[derive(Default)]
    struct Times {
        timers: Timers,
        sums: SelfTimes,
    }

    impl Times {
        fn begin(&mut self, parent: SpanId, now: u64, child: TimedChild) {
            self.timers.child_begins(parent, now, child);
        }
    }

    /// A transaction of 100 µs, and what its spans did.
    fn sums(spans: impl FnOnce(&mut Times)) -> Vec<(&'static str, u32, u64)> {
        let mut times = Times::default();
        spans(&mut times);
        let Times { timers, mut sums } = times;
        timers.finish(ROOT, [1000, 1100], &mut sums);
        sums.into_iter().map(|sum| (sum.kind, sum.count, sum.micros)).collect()
    }

    fn ends(times: &mut Times, id: SpanId, parent: SpanId, [began, now]: [u64; 2]) {
        let own = times.timers.close(id, [began, now], &mut times.sums);
        times.timers.child_ends(parent, now, TimedChild::Span);
        add(&mut times.sums, &CALL, 1, own);
    }

    // spec: metrics.md
    #[test]
    fn self_time_subtracts_concurrent_children_once() {
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

    // spec: metrics.md
    #[test]
    fn self_time_of_the_parent_ignores_a_child_after_its_end() {
        let told = sums(|times| {
            times.begin(ROOT, 1010, TimedChild::Span);
            times.begin(SpanId(2), 1020, TimedChild::Span);
            ends(times, SpanId(2), ROOT, [1010, 1030]);
            times.begin(ROOT, 1090, TimedChild::Span);
        });
        assert_eq!(told, [("db", 1, 10), ("app", 1, 70)]);
    }

    // spec: metrics.md
    #[test]
    fn self_time_of_unsent_spans_is_the_remaining_time() {
        let told = sums(|times| {
            times.begin(ROOT, 1010, TimedChild::Unsent);
            times.begin(ROOT, 1020, TimedChild::Unsent);
            times.begin(ROOT, 1030, TimedChild::Span);
            ends(times, SpanId(2), ROOT, [1030, 1040]);
            times.timers.child_ends(ROOT, 1050, TimedChild::Unsent);
            times.timers.child_ends(ROOT, 1060, TimedChild::Unsent);
        });
        assert_eq!(told, [("db", 1, 10), ("app", 2, 40), ("app", 1, 50)]);
    }

    #[test]
    fn transaction_without_spans_has_no_self_times() {
        assert_eq!(sums(|_| {}), []);
    }

    #[test]
    fn self_time_ignores_a_clock_that_goes_back() {
        let told = sums(|times| {
            times.begin(ROOT, 1050, TimedChild::Span);
            times.begin(ROOT, 1010, TimedChild::Span);
            ends(times, SpanId(2), ROOT, [1050, 1020]);
            ends(times, SpanId(3), ROOT, [1010, 1060]);
            times.timers.child_ends(ROOT, 1070, TimedChild::Span);
        });
        assert_eq!(told, [("db", 2, 50), ("app", 1, 90)]);
    }
}
