//! Panics: recorded by the hook, where location and stack are known, into the transaction that runs.

use std::{
    borrow::Cow,
    panic::{self, PanicHookInfo},
    sync::Once,
    time::SystemTime,
};

use super::{active_span, stack_here};
use crate::{
    record::{Exception, Place, Stack, is_contained},
    transaction::{hold, installed, running},
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
    let running = running();
    let recorder = running.recorder().cloned().or_else(installed);
    let Some(recorder) = recorder.filter(|recorder| recorder.is_recording()) else { return };
    let mut exception = Exception::from_panic(info.payload());
    exception.stack = match (stack_here(&recorder), info.location()) {
        (stack, Some(at)) => {
            let place = Place { file: Cow::Owned(at.file().to_owned()), line: at.line(), column: at.column() };
            match stack {
                Stack::Captured(stack) => Stack::Panic { stack, place },
                _ => Stack::Location(place),
            }
        }
        (stack, None) => stack,
    };
    let record = exception.into_record(SystemTime::now());
    if running.is_none() {
        return recorder.error(record);
    }
    // `on_error` may have a word when the panic gets there
    let parent = running.transaction().and_then(|shared| active_span(shared));
    hold(running, record, parent);
}
