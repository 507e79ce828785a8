//! The account: every event that was recorded is accepted, rejected, dropped or still waiting.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::record::EventKind;

/// A number for each kind of event, in the order of [`EventKind::ALL`].
pub(crate) type ByKind<T = u64> = [T; EventKind::ALL.len()];

/// The number of events by outcome. `recorded = accepted + rejected + dropped.total() + waiting` holds at any time.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let agent = tower_apm::Agent::builder().service_name("shop").build()?;
/// let stats = agent.stats();
/// assert_eq!(stats.recorded, stats.accepted + stats.rejected + stats.dropped.total() + stats.waiting);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Transactions, spans, errors, metric sets and log lines that were offered to the queue, and `dropped.late_spans`.
    pub recorded: u64,
    /// Events that the server accepted.
    pub accepted: u64,
    /// Events that the server rejected as invalid.
    pub rejected: u64,
    /// Events that the agent dropped, by reason.
    pub dropped: Dropped,
    /// Events in the queue, in an open batch, in the backlog, or sent and without a response.
    pub waiting: u64,
    /// The part of `waiting` that is in the backlog: encoded events whose batch waits for an earlier batch.
    pub backlog_events: u64,
    /// The memory of the backlog in bytes, limited by `max_backlog_bytes`.
    pub backlog_bytes: u64,
    /// The outcome of the copies that are sent over OTLP with `exporter=intake,otlp`.
    pub copies: SecondaryStats,
    /// Labels, names and other data that were set on a transaction after its end. They are dropped.
    pub late_writes: u64,
    /// Labels above the limit of 128 for one transaction, error or metric set.
    pub excess_labels: u64,
    /// Values of custom context above the limits of one transaction or error: 128 values, and 64 KiB with their keys.
    pub excess_custom: u64,
    /// Links above the limit of 1000 for one transaction, or 128 for one span.
    pub excess_links: u64,
    /// Panics in hooks, filters, `Serialize` and `Display` implementations that the agent caught.
    pub contained_panics: u64,
    /// Hooks, filters, `Serialize` and `Display` implementations that took longer than 10 ms.
    pub slow_hooks: u64,
    /// Events above the server's limit of 300 KiB that were sent without a part of their data. They also count as accepted
    /// or rejected.
    pub truncated: u64,
    /// Labels and values of custom context that were dropped or replaced because of their key: the key is blank, or is the
    /// same as another key after `.`, `*` and `"` became `_`.
    pub dropped_keys: u64,
    /// Data that was dropped because an event over OTLP cannot contain it: values of custom context above the limit of 64,
    /// and headers that are not well known. Each of them would be a label.
    pub dropped_values: u64,
    /// Errors that were never offered to the queue: errors beyond the rate limit, the same error twice in one request,
    /// errors from a nested call of a filter, hook or `Display`, and panics for which there is no room before the filters.
    pub suppressed_errors: u64,
    /// Transactions that a filter dropped, their spans, and errors that a filter or an `on_error` hook dropped. These events
    /// were never offered to the queue.
    pub filtered: u64,
    /// Transactions that were discarded with [`Transaction::discard`](crate::Transaction::discard), and spans that were
    /// recorded in a discarded or ignored transaction. These events were never offered to the queue.
    pub discarded: u64,
}

/// The number of OTLP copies by outcome, with `exporter=intake,otlp`. The other fields of [`Stats`] do not include copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecondaryStats {
    /// Copies that the server accepted.
    pub accepted: u64,
    /// Copies that the server rejected as invalid.
    pub rejected: u64,
    /// Copies that were dropped. A copy is sent only once, and never delays the original event.
    pub dropped: u64,
}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $field:ident = $reason:ident),+ $(,)?) => {
        /// The number of dropped events by reason.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Dropped {
            $($(#[$doc])* pub $field: u64,)+
        }

        /// The reason why an event was dropped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DropReason {
            $($(#[$doc])* $reason,)+
        }

        impl Dropped {
            /// Returns the sum over all reasons.
            #[must_use]
            pub fn total(&self) -> u64 {
                0 $(+ self.$field)+
            }

            /// Returns every reason with its count.
            pub fn by_reason(&self) -> impl Iterator<Item = (DropReason, u64)> {
                [$((DropReason::$reason, self.$field)),+].into_iter()
            }
        }

        #[derive(Debug, Default)]
        struct DropCounters {
            $($field: AtomicU64,)+
        }

        impl DropCounters {
            fn of(&self, reason: DropReason) -> &AtomicU64 {
                match reason {
                    $(DropReason::$reason => &self.$field,)+
                }
            }

            fn read(&self) -> Dropped {
                Dropped { $($field: self.$field.load(Relaxed),)+ }
            }
        }
    };
}
drop_reasons! {
    /// The queue held `max_queue_size` events or, for a span or a log line, three quarters of that number.
    queue_full = QueueFull,
    /// The queue held `max_queue_bytes` bytes or, for a span or a log line, three quarters of that number.
    queue_bytes = QueueBytes,
    /// A single event was over the server's limit for a line even after it was truncated, or could not be encoded.
    unencodable = Unencodable,
    /// The server refused a request with this single event as too large (413).
    too_large = TooLarge,
    /// The server failed after it accepted an unknown part of a batch, or failed on the batch repeatedly.
    outcome_unknown = OutcomeUnknown,
    /// An unsampled transaction that was recorded before the version of the server was known. Servers of version 8.0 and
    /// later do not need unsampled transactions.
    unsampled = Unsampled,
    /// A log line for a server before 8.6, or metrics or log lines over OTLP for a server that accepts only spans.
    unsupported = Unsupported,
    /// The option `disable_send` is on.
    send_disabled = SendDisabled,
    /// The event was recorded after the shutdown, or was not delivered before its deadline.
    shutdown = Shutdown,
    /// Spans that `transaction_max_spans` or `exit_span_min_duration` dropped after the end of their transaction, for
    /// instance in the task of a WebSocket. Spans that are dropped earlier are in the transaction's `span_count.dropped`.
    late_spans = LateSpan,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recorded, accepted, rejected, waiting, .. } = self;
        write!(f, "recorded {recorded}, accepted {accepted}, rejected {rejected}, waiting {waiting}")?;
        write!(f, ", dropped {}", self.dropped.total())?;
        for (reason, count) in self.dropped.by_reason().filter(|(_, count)| *count > 0) {
            write!(f, " ({reason:?} {count})")?;
        }
        if self.backlog_events > 0 {
            write!(f, ", backlog {} ({} bytes)", self.backlog_events, self.backlog_bytes)?;
        }
        if self.copies != SecondaryStats::default() {
            let SecondaryStats { accepted, rejected, dropped } = self.copies;
            write!(f, ", copies: accepted {accepted}, rejected {rejected}, dropped {dropped}")?;
        }
        let beside = [
            ("late writes", self.late_writes),
            ("excess labels", self.excess_labels),
            ("excess custom context", self.excess_custom),
            ("excess links", self.excess_links),
            ("contained panics", self.contained_panics),
            ("slow hooks", self.slow_hooks),
            ("truncated", self.truncated),
            ("dropped keys", self.dropped_keys),
            ("dropped values", self.dropped_values),
            ("suppressed errors", self.suppressed_errors),
            ("filtered", self.filtered),
            ("discarded", self.discarded),
        ];
        beside.iter().filter(|(_, count)| *count > 0).try_for_each(|(name, count)| write!(f, ", {name} {count}"))
    }
}

/// The counters behind [`Stats`]. Waiting is not counted but follows from the others.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    recorded: ByKind<AtomicU64>,
    accepted: AtomicU64,
    rejected: AtomicU64,
    dropped: DropCounters,
    backlog_events: AtomicU64,
    backlog_bytes: AtomicU64,
    copies_accepted: AtomicU64,
    copies_rejected: AtomicU64,
    copies_dropped: AtomicU64,
    late_writes: AtomicU64,
    excess_labels: AtomicU64,
    excess_custom: AtomicU64,
    excess_links: AtomicU64,
    contained_panics: AtomicU64,
    slow_hooks: AtomicU64,
    truncated: AtomicU64,
    dropped_keys: AtomicU64,
    dropped_values: AtomicU64,
    suppressed_errors: AtomicU64,
    filtered: AtomicU64,
    discarded: AtomicU64,
}

impl Counters {
    pub(crate) fn recorded(&self, kind: EventKind) {
        self.recorded[kind as usize].fetch_add(1, Relaxed);
    }

    /// How many of each kind were offered to the queue.
    pub(super) fn recorded_by_kind(&self) -> ByKind {
        self.recorded.each_ref().map(|count| count.load(Relaxed))
    }

    pub(crate) fn accepted(&self, events: u64) {
        self.accepted.fetch_add(events, Relaxed);
    }

    pub(crate) fn rejected(&self, events: u64) {
        self.rejected.fetch_add(events, Relaxed);
    }

    /// True for the first event that is dropped for this reason.
    pub(crate) fn dropped(&self, reason: DropReason, events: u64) -> bool {
        self.dropped.of(reason).fetch_add(events, Relaxed) == 0 && events > 0
    }

    /// Sets the events and bytes that are in the backlog.
    pub(super) fn set_backlog(&self, events: u64, bytes: usize) {
        self.backlog_events.store(events, Relaxed);
        self.backlog_bytes.store(bytes as u64, Relaxed);
    }

    #[cfg(any(feature = "otlp", test))]
    pub(crate) fn copied(&self, copies: SecondaryStats) {
        self.copies_accepted.fetch_add(copies.accepted, Relaxed);
        self.copies_rejected.fetch_add(copies.rejected, Relaxed);
        self.copies_dropped.fetch_add(copies.dropped, Relaxed);
    }

    pub(crate) fn late_write(&self) {
        self.late_writes.fetch_add(1, Relaxed);
    }

    pub(crate) fn excess_label(&self) {
        self.excess_labels.fetch_add(1, Relaxed);
    }

    pub(crate) fn excess_custom(&self, values: u64) {
        self.excess_custom.fetch_add(values, Relaxed);
    }

    pub(crate) fn excess_links(&self, links: u64) {
        self.excess_links.fetch_add(links, Relaxed);
    }

    pub(crate) fn contained_panic(&self) {
        self.contained_panics.fetch_add(1, Relaxed);
    }

    pub(crate) fn slow_hook(&self) {
        self.slow_hooks.fetch_add(1, Relaxed);
    }

    pub(crate) fn truncated(&self, events: u64) {
        self.truncated.fetch_add(events, Relaxed);
    }

    pub(crate) fn dropped_keys(&self, keys: u64) {
        self.dropped_keys.fetch_add(keys, Relaxed);
    }

    pub(crate) fn dropped_values(&self, values: u64) {
        self.dropped_values.fetch_add(values, Relaxed);
    }

    pub(crate) fn suppressed_error(&self) {
        self.suppressed_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn filtered(&self, events: u64) {
        self.filtered.fetch_add(events, Relaxed);
    }

    pub(crate) fn discarded(&self, events: u64) {
        self.discarded.fetch_add(events, Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        // the ends before the beginning: what is decided meanwhile must not make `waiting` negative
        let (accepted, rejected, dropped) =
            (self.accepted.load(Relaxed), self.rejected.load(Relaxed), self.dropped.read());
        // late spans are not offered to the queue
        let recorded = self.recorded_by_kind().iter().sum::<u64>() + dropped.late_spans;
        let waiting = recorded.saturating_sub(accepted + rejected + dropped.total());
        Stats {
            recorded,
            accepted,
            rejected,
            dropped,
            waiting,
            // it may have grown meanwhile
            backlog_events: self.backlog_events.load(Relaxed).min(waiting),
            backlog_bytes: self.backlog_bytes.load(Relaxed),
            copies: SecondaryStats {
                accepted: self.copies_accepted.load(Relaxed),
                rejected: self.copies_rejected.load(Relaxed),
                dropped: self.copies_dropped.load(Relaxed),
            },
            late_writes: self.late_writes.load(Relaxed),
            excess_labels: self.excess_labels.load(Relaxed),
            excess_custom: self.excess_custom.load(Relaxed),
            excess_links: self.excess_links.load(Relaxed),
            contained_panics: self.contained_panics.load(Relaxed),
            slow_hooks: self.slow_hooks.load(Relaxed),
            truncated: self.truncated.load(Relaxed),
            dropped_keys: self.dropped_keys.load(Relaxed),
            dropped_values: self.dropped_values.load(Relaxed),
            suppressed_errors: self.suppressed_errors.load(Relaxed),
            filtered: self.filtered.load(Relaxed),
            discarded: self.discarded.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_account_for_every_event() {
        let counters = Counters::default();
        (0..3).for_each(|_| counters.recorded(EventKind::Span));
        (0..7).for_each(|_| counters.recorded(EventKind::Error));
        counters.accepted(4);
        counters.rejected(1);
        assert!(counters.dropped(DropReason::QueueFull, 2));
        assert!(!counters.dropped(DropReason::QueueFull, 1));
        let stats = counters.read();
        assert_eq!((stats.recorded, counters.recorded_by_kind()), (10, [0, 3, 7, 0, 0]));
        assert_eq!(stats.waiting, 2);
        assert_eq!(stats.dropped.total(), 3);
        counters.set_backlog(2, 150);
        assert_eq!((counters.read().backlog_events, counters.read().backlog_bytes), (2, 150));
        counters.set_backlog(3, 150);
        assert_eq!(counters.read().backlog_events, 2, "at most the events that wait");
        counters.dropped(DropReason::LateSpan, 2);
        let late = counters.read();
        assert_eq!((late.recorded, late.waiting, late.dropped.late_spans), (12, 2, 2), "the account still adds up");
        let copies = SecondaryStats { accepted: 6, rejected: 2, dropped: 1 };
        counters.copied(copies);
        counters.copied(copies);
        assert_eq!(counters.read().copies, SecondaryStats { accepted: 12, rejected: 4, dropped: 2 });
    }

    #[test]
    fn each_counter_has_its_own_field_and_is_printed_unless_it_is_zero() {
        let counters = Counters::default();
        let zero = counters.read().to_string();
        counters.late_write();
        (0..2).for_each(|_| counters.excess_label());
        counters.excess_custom(3);
        counters.excess_links(4);
        (0..5).for_each(|_| counters.contained_panic());
        (0..6).for_each(|_| counters.slow_hook());
        counters.truncated(7);
        counters.dropped_keys(8);
        counters.dropped_values(9);
        (0..10).for_each(|_| counters.suppressed_error());
        counters.filtered(11);
        counters.discarded(12);
        let stats = counters.read();
        let Stats { late_writes, excess_labels, excess_custom, excess_links, contained_panics, slow_hooks, .. } = stats;
        let Stats { truncated, dropped_keys, dropped_values, suppressed_errors, filtered, discarded, .. } = stats;
        assert_eq!(
            [late_writes, excess_labels, excess_custom, excess_links, contained_panics, slow_hooks],
            [1, 2, 3, 4, 5, 6]
        );
        assert_eq!(
            [truncated, dropped_keys, dropped_values, suppressed_errors, filtered, discarded],
            [7, 8, 9, 10, 11, 12]
        );
        let counts = |text: &str| -> Vec<u64> {
            text.split([',', '(', ')', ' ']).filter_map(|word| word.parse().ok()).collect()
        };
        assert_eq!(counts(&zero), [0; 5]);
        assert_eq!(counts(&stats.to_string()), [0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        counters.recorded(EventKind::Span);
        counters.recorded(EventKind::Span);
        counters.dropped(DropReason::QueueFull, 1);
        counters.set_backlog(1, 150);
        counters.copied(SecondaryStats { accepted: 6, rejected: 0, dropped: 1 });
        let text = counters.read().to_string();
        assert_eq!(counts(&text)[..11], [2, 0, 0, 1, 1, 1, 1, 150, 6, 0, 1], "{text}");
        assert!(text.contains(&format!("{:?} 1", DropReason::QueueFull)), "{text}");
    }
}
