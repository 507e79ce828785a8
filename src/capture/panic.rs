//! Panics: recorded by the hook, where location and stack are known, into the transaction that runs.
//!
//! A panic inside the hook aborts the process. So the hook copies plain data only: it runs no filter, no hook of a layer
//! and no `Display` of a payload, it logs nothing, and it takes no lock under which user code runs.

use std::{
    borrow::Cow,
    panic::{self, PanicHookInfo},
    sync::{Arc, Once},
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context,
    baggage::{BaggageExt, KeyValueMetadata},
};

use super::{active_span, stack_here};
use crate::{
    otel::{hold, running, take_held},
    pipeline::is_worker_thread,
    record::{
        Exception, SourceLocation, Stack, is_contained, is_context_known, is_probing_context, map_current_context,
    },
    transaction::{Panic, Recorder, installed},
};

/// The longest time that a panic that ends the process waits for its delivery.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// Messages of panics with which the standard library aborts the process even if panics unwind.
const ABORTING: [&str; 2] = ["panic in a destructor during cleanup", "panic in a function that cannot unwind"];

/// Sets a panic hook that records every panic, and then calls the hook that was there before.
///
/// [`install`](crate::AgentBuilder::install) calls it. Without it, a panic of a request is recorded with its message
/// alone. Further calls do nothing.
///
/// No filter or hook of the service runs inside the panic hook. Panics outside a transaction are filtered and sent by the
/// agent's thread. At most 256 of them wait for that thread; further ones are counted in
/// [`Stats::suppressed_errors`](crate::Stats::suppressed_errors).
///
/// # Panics that end the process
///
/// With `panic = "abort"`, and when a destructor panics during unwinding, the hook calls the previous hook and then
/// blocks for at most one second until the error is delivered. In a debug build such an error has a location but no stack,
/// because resolving a stack takes too long there. Open transactions and spans are lost. The error is lost too if the previous hook ends the process, or if an `error_filter` panics under `panic = "abort"`. `std::process::abort`,
/// `std::process::exit`, signals and stack overflows call no panic hook: call [`Agent::shutdown`](crate::Agent::shutdown)
/// before you end the process.
///
/// ```
/// tower_apm::install_panic_hook();
/// ```
pub fn install_panic_hook() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if is_probing_context() {
                return;
            }
            let is_last = ends_process(info);
            let recorder = record(info, is_last);
            before(info);
            if let Some(recorder) = recorder.filter(|_| is_last) {
                recorder.panics().wait_for_delivery(LAST_FLUSH);
            }
        }));
    });
}

fn ends_process(info: &PanicHookInfo<'_>) -> bool {
    cfg!(panic = "abort") || info.payload().downcast_ref::<&str>().is_some_and(|message| ABORTING.contains(message))
}

/// Returns the agent that records the panic, if any.
fn record(info: &PanicHookInfo<'_>, is_last: bool) -> Option<Arc<Recorder>> {
    // the agent catches and counts panics in user code, but a panic that aborts the process cannot be caught
    if is_worker_thread() || is_contained() && !is_last {
        return None;
    }
    let running = running();
    let recorder = running.recorder().cloned().or_else(installed);
    let recorder = recorder.filter(|recorder| recorder.is_recording())?;
    let mut exception = Exception::from_panic(info.payload());
    exception.stack = match (stack_here(&recorder), info.location()) {
        (stack, Some(at)) => {
            let place = SourceLocation { file: Cow::Owned(at.file().to_owned()), line: at.line(), column: at.column() };
            match stack {
                Stack::Captured(stack) => Stack::Panic { stack, place },
                _ => Stack::Location(place),
            }
        }
        (stack, None) => stack,
    };
    let error = exception.into_record(SystemTime::now());
    let parent = running.transaction().filter(|_| is_context_known()).and_then(|shared| active_span(shared));
    let is_outside = running.is_none();
    let baggage = if is_context_known() { map_current_context(baggage_alone) } else { Context::new() };
    let panic = Panic { handle: running, error, parent, baggage };
    if is_last {
        // the process does not unwind, so nothing else releases the held panics
        take_held().into_iter().chain([panic]).for_each(|panic| postpone(without_slow_stack(panic), &recorder));
    } else if is_outside {
        recorder.postpone(panic);
    } else if let Err(panic) = hold(panic) {
        recorder.postpone(panic);
    }
    Some(recorder)
}

/// Copies plain data only, because other values of a context can have the user's types.
fn baggage_alone(context: &Context) -> Context {
    let baggage = context.baggage();
    if baggage.is_empty() {
        return Context::new();
    }
    let copied = baggage
        .iter()
        .map(|(key, (value, metadata))| KeyValueMetadata::new(key.clone(), value.clone(), metadata.clone()));
    Context::new().with_baggage(copied)
}

/// In a debug build, resolving the first stack of a process takes seconds, so only the location is recorded.
fn without_slow_stack(mut panic: Panic) -> Panic {
    if cfg!(debug_assertions)
        && let Some(exception) = &mut panic.error.exception
    {
        exception.stack = match std::mem::take(&mut exception.stack) {
            Stack::Panic { place, .. } => Stack::Location(place),
            Stack::Captured(_) => Stack::None,
            other => other,
        };
    }
    panic
}

/// Hands a panic over to its agent.
fn postpone(panic: Panic, otherwise: &Recorder) {
    let own = panic.handle.recorder().cloned();
    own.as_deref().unwrap_or(otherwise).postpone(panic);
}
