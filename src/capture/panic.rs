//! Panics: recorded by the hook, where location and stack are known, into the transaction that runs.

use std::{
    borrow::Cow,
    panic::{self, PanicHookInfo},
    sync::Once,
    time::SystemTime,
};

use super::{active_span, stack_here};
use crate::{
    record::{Exception, Stack, is_contained},
    transaction::{installed, running},
};

/// Sets a panic hook that records every panic, and then calls the hook that was there before.
///
/// [`install`](crate::AgentBuilder::install) calls it. Without it, a panic of a request is recorded with its message
/// alone. Further calls do nothing.
///
/// ```
/// tower_apm::panic_hook();
/// ```
pub fn panic_hook() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            record(info);
            before(info);
        }));
    });
}

/// A panic in here would abort the process: nothing of the user's runs, and no lock is taken under which user code runs.
fn record(info: &PanicHookInfo<'_>) {
    if is_contained() {
        return;
    }
    let shared = running();
    let recorder = shared.as_ref().map(|shared| shared.recorder().clone()).or_else(installed);
    let Some(recorder) = recorder.filter(|recorder| recorder.is_recording()) else { return };
    let mut exception = Exception::from_panic(info.payload());
    exception.stack = match (stack_here(&recorder), info.location()) {
        (Stack::None, Some(at)) => {
            Stack::Location { file: Cow::Owned(at.file().to_owned()), line: at.line(), column: at.column() }
        }
        (stack, _) => stack,
    };
    let record = exception.into_record(SystemTime::now());
    match shared {
        Some(shared) => shared.error(record, active_span(&shared)),
        None => recorder.error(record),
    }
}
