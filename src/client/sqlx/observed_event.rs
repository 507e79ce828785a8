//! Events of statements that run through the wrapper and therefore already have an exit span.
//!
//! On PostgreSQL and MySQL, sqlx logs on the thread that polls the statement. On SQLite, it logs on a separate thread,
//! and the transaction recognises the event by its text.

use std::cell::Cell;

use opentelemetry::KeyValue;

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
