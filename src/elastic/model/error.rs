//! `error`

use std::borrow::Cow;

use super::{
    context::Context,
    model,
    stacktrace::Frame,
    value::{Entries, Scalar},
};
use crate::{
    record::{SpanId, TraceId},
    semconv::Text,
};

model! {
    /// At least one of exception and log. The ids of trace, transaction and parent come together or not at all.
    struct Error<'a> {
        id: TraceId,
        /// Microseconds since the epoch.
        timestamp: u64,
        trace_id: Option<TraceId>,
        transaction_id: Option<SpanId>,
        parent_id: Option<SpanId>,
        transaction: Option<ErrorTransaction<'a>>,
        culprit: Option<Cow<'a, str>>,
        exception: Option<Exception<'a>>,
        log: Option<Log<'a>>,
        context: Option<Box<Context<'a>>>,
    }

    struct ErrorTransaction<'a> {
        name: Text<'a>,
        r#type: Cow<'a, str>,
        sampled: bool,
    }

    /// At least one of message and type.
    #[derive(Default)]
    struct Exception<'a> {
        message: Option<Cow<'a, str>>,
        r#type: Option<Cow<'a, str>>,
        module: Option<Cow<'a, str>>,
        code: Option<Cow<'a, str>>,
        handled: Option<bool>,
        attributes: Entries<'a, Scalar<'a>>,
        stacktrace: Vec<Frame<'a>>,
        cause: Vec<Exception<'a>>,
    }

    struct Log<'a> {
        message: Cow<'a, str>,
        level: Option<&'static str>,
        logger_name: Option<Cow<'a, str>>,
        /// The message without its variable parts.
        param_message: Option<Cow<'a, str>>,
        stacktrace: Vec<Frame<'a>>,
    }
}
