//! Code of the user's whose panics the agent catches.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// True while code of the user's runs whose panic the agent catches: the panic hook has nothing to record then.
pub(crate) fn is_contained() -> bool {
    CONTAINED.get()
}

/// Runs code of the user's. None where it panicked.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Option<T> {
    let before = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run)).map_err(|carried| {
        // what a panic carries is the user's too, and may panic when it is dropped
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(carried))) {
            std::mem::forget(again);
        }
    });
    CONTAINED.set(before);
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
    fn what_a_panic_carries_harms_nobody() {
        assert_eq!(catch(|| 1), Some(1));
        assert_eq!(catch(|| std::panic::panic_any(Bomb)), None::<()>);
        assert!(!is_contained());
    }
}
