//! Code of the user's that runs within the agent's: what it does wrong is counted, told once, and goes no further.

use std::time::{Duration, Instant};

use super::Recorder;
use crate::record::catch;

/// Code of the user's that took longer than this is counted as slow: nothing that it is for takes so long.
const SLOW: Duration = Duration::from_millis(10);

/// What of the user's runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserCode {
    /// `on_request`, `on_response` or `on_error` of a layer.
    Hook,
    /// `transaction_filter` or `error_filter`.
    Filter,
    /// The `Serialize` of a value of custom context.
    Serialize,
    /// The `Display` or `Debug` of an error or a user's id.
    Display,
}

impl UserCode {
    fn name(self) -> &'static str {
        match self {
            Self::Hook => "a hook of a layer",
            Self::Filter => "a filter",
            Self::Serialize => "the Serialize of custom context",
            Self::Display => "the Display or Debug of an error or an id",
        }
    }

    /// For a set of those that were told.
    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }

    pub(super) fn tell_panic(self) {
        tracing::warn!(
            target: "tower_apm",
            "{} panicked: the agent went on without it; further panics are only counted",
            self.name()
        );
    }

    pub(super) fn tell_slow(self, took: Duration) {
        tracing::warn!(
            target: "tower_apm",
            ?took,
            "{} held up its caller for more than {SLOW:?}; further slow ones are only counted",
            self.name()
        );
    }
}

/// Runs a hook or a `Serialize` of the user's; a panic in it is counted and goes no further, and so is counted what
/// takes long. A panic and a slow run are each told once for each kind of code.
pub(crate) fn contain<T>(recorder: &Recorder, code: UserCode, run: impl FnOnce() -> T) -> Option<T> {
    let began = Instant::now();
    let result = catch(run);
    if result.is_none() {
        recorder.contained_panic(code);
    }
    let took = began.elapsed();
    if took > SLOW {
        recorder.slow_hook(code, took);
    }
    result
}
