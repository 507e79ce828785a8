//! An error or panic, with its causes and where it happened.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::SystemTime};

use super::{Context, Name, SpanId, TraceId, micros};

/// The assumed size of an error's data on the heap, which cannot be measured.
const REPORT_SIZE: usize = 1024;

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
    pub(crate) origin: ErrorOrigin,
    /// A copy of the transaction's at the time of the capture, plus the error's own.
    pub(crate) context: Context,
}

/// The origin of an error, which determines its culprit and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorOrigin {
    /// A place in the code. The culprit is a function, and the group depends on functions.
    Code,
    /// The call of an exit span. The service may handle it, or return an error value that has it as its cause.
    ExitSpan,
    /// A log line that explains why a transaction failed: as [`Code`](Self::Code), one group for each transaction name.
    FailureLog,
    /// The end of the transaction. The culprit is the transaction's name, and there is one group for each name.
    Response,
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
    /// The variant, if the type is an enum.
    pub(crate) variant: Option<Cow<'static, str>>,
    /// `kind` is a guess: the value came as `dyn Error`.
    pub(crate) erased: bool,
    /// The path of the type, without the name.
    pub(crate) module: Option<Cow<'static, str>>,
    pub(crate) message: String,
    pub(crate) handled: bool,
    /// The error's `Debug`, where an error of the same transaction consists of that text.
    pub(crate) debug_text: Option<String>,
    /// The text that was logged, if only the text of the error is known. The message can be a part of this text.
    pub(crate) logged_text: Option<Box<str>>,
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
    /// The stack of the log line. If there is an exception, the exception has the stack.
    pub(crate) stack: Stack,
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
    Panic { stack: Box<backtrace::Backtrace>, place: SourceLocation },
    /// Where a panic happened, when nothing more is known.
    Location(SourceLocation),
    /// That of a `tracing` event. The event's metadata names the code that logged, also where that code was inlined.
    /// `created` is the place at which the logged error was created, if its text contains it.
    Event {
        stack: Box<backtrace::Backtrace>,
        place: SourceLocation,
        module: Option<&'static str>,
        created: Option<SourceLocation>,
    },
    /// The stack of the code that attached an error to a response. `report` is the error, if its `Debug` output can
    /// contain a stack.
    Attached { stack: Box<backtrace::Backtrace>, report: Option<UnformattedError> },
}

/// An error that is formatted on the agent's thread, because resolving a stack is slow.
#[derive(Clone)]
pub(crate) struct UnformattedError(pub(crate) Arc<dyn Error + Send + Sync>);

// The error is omitted, because it can contain any data.
impl fmt::Debug for UnformattedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnformattedError")
    }
}

/// In the source, as the compiler knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceLocation {
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
            Self::Attached { stack, report } => {
                stack.frames().len() * 64 + report.as_ref().map_or(0, |report| size_of_val(&*report.0) + REPORT_SIZE)
            }
            Self::Text(text) => text.len(),
            Self::Location(place) => place.file.len(),
            Self::None => 0,
        }
    }
}

impl ErrorRecord {
    /// Creates the record of a log line, with the error that its text contains.
    pub(crate) fn of_line(log: LogMessage, exception: Option<Exception>, stack: Stack, at: SystemTime) -> Box<Self> {
        let (exception, log) = match exception {
            Some(exception) => (Some(Exception { stack, ..exception }), log),
            None => (None, LogMessage { stack, ..log }),
        };
        Box::new(Self {
            id: TraceId::random(),
            timestamp: micros(at),
            parent: None,
            exception,
            log: Some(log),
            origin: ErrorOrigin::Code,
            context: Context::default(),
        })
    }

    /// Returns true for an error that an error value may replace later: a text, or the error of an exit span.
    pub(crate) fn is_provisional(&self) -> bool {
        self.origin == ErrorOrigin::ExitSpan || self.exception.as_ref().is_some_and(Exception::is_text)
    }

    /// Takes the stack, which belongs to the exception if there is one, and else to the log line.
    pub(crate) fn take_stack(&mut self) -> Stack {
        let stack = match (&mut self.exception, &mut self.log) {
            (Some(exception), _) => &mut exception.stack,
            (None, Some(log)) => &mut log.stack,
            (None, None) => return Stack::None,
        };
        std::mem::take(stack)
    }

    pub(crate) fn heap_size(&self) -> usize {
        let log = self
            .log
            .as_ref()
            .map_or(0, |log| log.message.len() + log.template.as_ref().map_or(0, |t| t.len()) + log.stack.heap_size());
        self.context.heap_size() + self.exception.as_ref().map_or(0, Exception::heap_size) + log
    }
}

impl Exception {
    pub(super) fn heap_size(&self) -> usize {
        let causes: usize = self.causes.iter().map(|cause| size_of::<Exception>() + cause.heap_size()).sum();
        let text = self.logged_text.as_ref().map_or(0, |text| text.len());
        self.message.len() + text + causes + self.stack.heap_size()
    }
}
