//! An error or panic, with its causes and where it happened.

use std::borrow::Cow;

use super::{Context, Name, SpanId, TraceId};

/// One captured error.
#[derive(Debug, Clone)]
pub(crate) struct ErrorRecord {
    pub(crate) id: TraceId,
    /// Microseconds since the epoch.
    pub(crate) timestamp: u64,
    /// None outside of any transaction.
    pub(crate) parent: Option<ErrorParent>,
    pub(crate) exception: Option<Exception>,
    pub(crate) log: Option<LogMessage>,
    /// A copy of the transaction's at the time of the capture, plus the error's own.
    pub(crate) context: Context,
}

/// Where in a trace the error belongs.
#[derive(Debug, Clone)]
pub(crate) struct ErrorParent {
    pub(crate) trace_id: TraceId,
    pub(crate) transaction_id: SpanId,
    /// The span (or the transaction) that was active at the capture.
    pub(crate) parent_id: SpanId,
    pub(crate) sampled: bool,
    pub(crate) kind: Cow<'static, str>,
    pub(crate) name: Name,
}

/// An error value.
#[derive(Debug, Clone)]
pub(crate) struct Exception {
    /// The type's name without its path; stable across builds.
    pub(crate) kind: Option<Cow<'static, str>>,
    /// `kind` is a guess: the value came as `dyn Error`.
    pub(crate) erased: bool,
    /// The path of the type, without the name.
    pub(crate) module: Option<Cow<'static, str>>,
    pub(crate) message: String,
    pub(crate) handled: bool,
    /// The error's `Debug`, where an error of the same transaction consists of that text.
    pub(crate) debug_text: Option<String>,
    /// Every `source()`, the nearest first; each without a stack of its own.
    pub(crate) causes: Vec<Exception>,
    pub(crate) stack: Stack,
}

/// A log line that reports an error.
#[derive(Debug, Clone)]
pub(crate) struct LogMessage {
    pub(crate) message: String,
    pub(crate) level: &'static str,
    /// `tracing`'s target; None for an error that is no line.
    pub(crate) logger: Option<Cow<'static, str>>,
    /// The message without its variable parts: what the server groups by.
    pub(crate) template: Option<Cow<'static, str>>,
}

/// A stack in the form in which it could be had cheaply; the worker turns it into frames.
#[derive(Debug, Clone, Default)]
pub(crate) enum Stack {
    #[default]
    None,
    /// Addresses only: resolving takes tens of milliseconds the first time.
    Captured(Box<backtrace::Backtrace>),
    /// A `std::backtrace::Backtrace`, as it displays itself.
    Text(Box<str>),
    /// A panic's, which knows its own place also where there is no debug information.
    Panic { stack: Box<backtrace::Backtrace>, place: Place },
    /// Where a panic happened, when nothing more is known.
    Location(Place),
    /// That of a `tracing` event. The event's metadata names the code that logged, also where that code was inlined.
    Event { stack: Box<backtrace::Backtrace>, place: Place, module: Option<&'static str> },
}

/// In the source, as the compiler knows it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) file: Cow<'static, str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Stack {
    /// That of the caller: addresses only, some 20 µs.
    pub(crate) fn here() -> Self {
        Self::Captured(Box::new(backtrace::Backtrace::new_unresolved()))
    }

    pub(super) fn heap_size(&self) -> usize {
        match self {
            Self::Captured(stack) => stack.frames().len() * 64,
            Self::Panic { stack, place } | Self::Event { stack, place, .. } => {
                stack.frames().len() * 64 + place.file.len()
            }
            Self::Text(text) => text.len(),
            Self::Location(place) => place.file.len(),
            Self::None => 0,
        }
    }
}

impl ErrorRecord {
    pub(crate) fn heap_size(&self) -> usize {
        let log = self.log.as_ref().map_or(0, |log| log.message.len() + log.template.as_ref().map_or(0, |t| t.len()));
        self.context.heap_size() + self.exception.as_ref().map_or(0, Exception::heap_size) + log
    }
}

impl Exception {
    pub(super) fn heap_size(&self) -> usize {
        let causes: usize = self.causes.iter().map(|cause| size_of::<Exception>() + cause.heap_size()).sum();
        self.message.len() + causes + self.stack.heap_size()
    }
}
