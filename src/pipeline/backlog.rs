//! Closed batches that wait behind the one that is being sent.

use std::collections::VecDeque;

use super::Batch;

/// A closed batch, and the number of events that the worker skipped after it began and before the next batch did.
#[derive(Debug, PartialEq)]
pub(super) struct Entry<B> {
    pub(super) batch: B,
    pub(super) skipped: u64,
}

/// A first-in, first-out list of batches in their smallest form, bounded by the memory that they hold.
///
/// The worker fills the backlog while the server does not accept events, so that the queue, whose records are about eight
/// times larger, stays empty. When the backlog is full, events stay in the queue.
#[derive(Debug)]
pub(super) struct Backlog<B> {
    batches: VecDeque<Entry<B>>,
    max_bytes: usize,
    bytes: usize,
    events: u64,
}

impl<B: Batch> Backlog<B> {
    /// Creates a backlog that accepts no further batch once its batches take `max_bytes` of memory. 0: no backlog.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { batches: VecDeque::new(), max_bytes, bytes: 0, events: 0 }
    }

    /// Returns true if another batch can be added at the end.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.max_bytes
    }

    pub(super) fn push_back(&mut self, entry: Entry<B>) {
        let entry = self.add(entry);
        self.batches.push_back(entry);
    }

    /// Puts back a part of the batch that was taken out last. The bound is not checked: the whole batch had its place.
    pub(super) fn push_front(&mut self, entry: Entry<B>) {
        let entry = self.add(entry);
        self.batches.push_front(entry);
    }

    pub(super) fn pop_front(&mut self) -> Option<Entry<B>> {
        let entry = self.batches.pop_front()?;
        self.bytes -= entry.batch.memory();
        self.events -= entry.batch.events();
        Some(entry)
    }

    /// Returns the last closed batch, if it is in the backlog.
    pub(super) fn last_mut(&mut self) -> Option<&mut Entry<B>> {
        self.batches.back_mut()
    }

    /// Events that the worker skipped after one of these batches.
    pub(super) fn skipped(&self) -> u64 {
        self.batches.iter().map(|entry| entry.skipped).sum()
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Bytes of memory that the batches hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How full it is, from 0 to 1.
    pub(super) fn fill(&self) -> f64 {
        if self.max_bytes == 0 { 0.0 } else { (self.bytes as f64 / self.max_bytes as f64).min(1.0) }
    }

    fn add(&mut self, Entry { batch, skipped }: Entry<B>) -> Entry<B> {
        let batch = batch.pack();
        self.bytes += batch.memory();
        self.events += batch.events();
        Entry { batch, skipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events, and whether the batch is packed.
    #[derive(Debug, PartialEq)]
    struct Sized(u64, bool);

    impl Batch for Sized {
        fn events(&self) -> u64 {
            self.0
        }

        fn bytes(&self) -> Option<u64> {
            None
        }

        fn memory(&self) -> usize {
            self.0 as usize * if self.1 { 1 } else { 10 }
        }

        fn without(self, taken: u64) -> Self {
            Self(self.0 - taken, self.1)
        }

        fn pack(self) -> Self {
            Self(self.0, true)
        }
    }

    fn entry(events: u64) -> Entry<Sized> {
        Entry { batch: Sized(events, false), skipped: events }
    }

    #[test]
    fn backlog_packs_batches_and_returns_them_in_order() {
        let mut backlog = Backlog::new(100);
        (1..=3).for_each(|events| backlog.push_back(entry(events)));
        assert_eq!((backlog.events(), backlog.bytes()), (6, 6));
        assert_eq!(backlog.pop_front(), Some(Entry { batch: Sized(1, true), skipped: 1 }));
        backlog.push_front(entry(1));
        backlog.last_mut().unwrap().skipped += 1;
        assert_eq!(backlog.skipped(), 7);
        assert_eq!([1, 2, 3].map(|_| backlog.pop_front().unwrap().batch.0), [1, 2, 3]);
        assert_eq!((backlog.pop_front(), backlog.events(), backlog.bytes()), (None, 0, 0));
    }

    #[test]
    fn full_backlog_accepts_no_batch() {
        let mut backlog = Backlog::new(10);
        backlog.push_back(entry(9));
        assert!(backlog.has_room());
        assert_eq!(backlog.fill(), 0.9);
        backlog.push_back(entry(9));
        assert!(!backlog.has_room());
        assert_eq!(backlog.fill(), 1.0);
        backlog.pop_front();
        assert!(backlog.has_room());
        let none = Backlog::<Sized>::new(0);
        assert_eq!((none.has_room(), none.fill()), (false, 0.0));
    }
}
