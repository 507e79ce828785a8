//! Calls of user code by the agent: panics are caught, and recursion into the agent is limited.
//!
//! Filters, hooks, `Serialize`, `Display` and `Error::source` may use the agent again: log an error, start a
//! transaction, enter a span. Without a limit, a filter that logs an error would be called for that error, and so on until
//! the stack overflows. Two rules prevent this recursion:
//!
//! 1. In user code ([`is_contained`]) no filter and no hook runs, and spans are not recorded.
//! 2. In user code that the agent calls from user code ([`is_nested`]) nothing is recorded.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

thread_local! {
    /// Calls of such code on this thread, each within the one before.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// True while the agent runs code of the user. The panic hook records nothing then: the panic is caught and counted.
#[inline]
pub(crate) fn is_contained() -> bool {
    DEPTH.get() > 0
}

/// True while the agent runs code of the user that was called from code of the user that the agent runs.
#[inline]
pub(crate) fn is_nested() -> bool {
    DEPTH.get() > 1
}

/// Runs code of the user. Returns `None` if it panicked.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Option<T> {
    let before = DEPTH.replace(DEPTH.get().saturating_add(1));
    let result = catch_unwind(AssertUnwindSafe(run)).map_err(|carried| {
        // what a panic carries is the user's too, and may panic when it is dropped
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(carried))) {
            std::mem::forget(again);
        }
    });
    DEPTH.set(before);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }

    #[test]
    fn panic_payload_that_panics_on_drop_is_contained() {
        assert_eq!(catch(|| 1), Some(1));
        assert_eq!(catch(|| std::panic::panic_any(Bomb)), None::<()>);
        assert!(!is_contained());
    }

    #[test]
    fn nesting_depth_is_restored_after_a_panic() {
        let inner = || catch(|| (is_contained(), is_nested()));
        assert_eq!(catch(|| (is_contained(), is_nested(), inner())), Some((true, false, Some((true, true)))));
        assert_eq!(catch(|| -> u8 { catch(|| -> u8 { panic!("inner") }).unwrap() }), None);
        assert!(!is_contained() && !is_nested());
    }
}
