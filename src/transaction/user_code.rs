//! Runs user code within the agent. Its panics are contained. Panics and slow runs are counted, and logged once.

use std::time::{Duration, Instant};

use super::inner::Recorder;
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

    /// Returns the bit of this kind in a set of kinds.
    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }

    pub(super) fn warn_panicked(self) {
        tracing::warn!(
            target: "tower_apm",
            "{} panicked: the agent went on without it; further panics are only counted",
            self.name()
        );
    }

    pub(super) fn warn_slow(self, took: Duration) {
        tracing::warn!(
            target: "tower_apm",
            ?took,
            "{} held up its caller for more than {SLOW:?}; further slow ones are only counted",
            self.name()
        );
    }
}

/// Runs a hook or a `Serialize` of the user's; a panic in it is counted and goes no further, and so is counted what
/// takes long. Panics and slow runs are logged once for each kind of code.
pub(crate) fn run_user_code<T>(recorder: &Recorder, code: UserCode, run: impl FnOnce() -> T) -> Option<T> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::LiveConfig, logged::Logged, pipeline::Queue};

    #[test]
    fn panic_and_slow_run_are_logged_once_for_each_kind_of_code() {
        let recorder = Recorder::new(LiveConfig::default(), Queue::new(1, 1));
        let logged = Logged::default();
        tracing::subscriber::with_default(logged.subscriber(), || {
            for _ in 0..2 {
                assert_eq!(run_user_code(&recorder, UserCode::Hook, || -> u8 { panic!("hunter2") }), None);
                assert_eq!(run_user_code(&recorder, UserCode::Serialize, || -> u8 { panic!("hunter2") }), None);
                run_user_code(&recorder, UserCode::Hook, || std::thread::sleep(SLOW * 2));
            }
        });
        let text = logged.text();
        for (code, happened) in [("hook", "panicked"), ("Serialize", "panicked"), ("hook", "held up")] {
            let lines = text.lines().filter(|line| line.contains(code) && line.contains(happened));
            assert_eq!(lines.count(), 1, "{code} {happened}: {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }
}
