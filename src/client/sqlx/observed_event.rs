//! Events of statements that run through the wrapper and therefore already have an exit span.
//!
//! On PostgreSQL and MySQL, sqlx logs on the thread that polls the statement. On SQLite, it logs on a separate thread,
//! possibly after the result has arrived. On SQLite, the event is therefore recognised by its transaction and its text.

use std::{
    cell::Cell,
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use opentelemetry::KeyValue;

use crate::{
    record::{SpanId, current_context},
    transaction::handle_in,
};

/// The most SQLite statements that wait for their events. At this limit, the oldest statement is dropped.
const MAX_EXPECTED: usize = 1024;

/// The transaction, and the hash of a statement.
type Expected = (SpanId, u64);

static EXPECTED: Mutex<VecDeque<Expected>> = Mutex::new(VecDeque::new());
static IS_ANY_EXPECTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static IS_OBSERVED: Cell<bool> = const { Cell::new(false) };
    static ROWS_AFFECTED: Cell<Option<KeyValue>> = const { Cell::new(None) };
}

/// Runs a part of a statement. Returns the affected rows that sqlx logs in this time.
pub(super) fn run<T>(part: impl FnOnce() -> T) -> (T, Option<KeyValue>) {
    struct Before(bool);

    impl Drop for Before {
        fn drop(&mut self) {
            IS_OBSERVED.set(self.0);
        }
    }

    let before = Before(IS_OBSERVED.replace(true));
    let result = part();
    drop(before);
    (result, ROWS_AFFECTED.take())
}

/// Returns true while the events of this thread belong to a statement that runs through the wrapper.
pub(super) fn is_observed() -> bool {
    IS_OBSERVED.get()
}

/// Keeps the affected rows for [`run`].
pub(super) fn set_rows_affected(rows: Option<KeyValue>) {
    ROWS_AFFECTED.set(rows);
}

fn hash(sql: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    sql.hash(&mut hasher);
    hasher.finish()
}

/// Notes that a statement on SQLite starts in the current transaction.
pub(super) fn expect_event(sql: &str) {
    let Some(shared) = handle_in(&current_context()) else { return };
    let mut expected = EXPECTED.lock().unwrap_or_else(PoisonError::into_inner);
    if expected.len() == MAX_EXPECTED {
        expected.pop_front();
    }
    expected.push_back((shared.ids().id, hash(sql)));
    IS_ANY_EXPECTED.store(true, Relaxed);
}

/// Returns true if the event belongs to an SQLite statement that runs through the wrapper.
pub(super) fn is_expected(transaction: SpanId, sql: &str) -> bool {
    if !IS_ANY_EXPECTED.load(Relaxed) {
        return false;
    }
    let found = (transaction, hash(sql));
    let mut expected = EXPECTED.lock().unwrap_or_else(PoisonError::into_inner);
    let at = expected.iter().position(|expected| *expected == found);
    at.and_then(|at| expected.remove(at)).is_some()
}
