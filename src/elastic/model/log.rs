//! `log`: a line of the service's log, in ECS with dotted names.

use std::borrow::Cow;

use super::{model, value::Tags};
use crate::record::{SpanId, TraceId};

model! {
    struct LogLine<'a> {
        /// Microseconds since the epoch.
        #[serde(rename = "@timestamp")]
        timestamp: u64,
        message: Cow<'a, str>,
        #[serde(rename = "log.level")]
        level: &'static str,
        #[serde(rename = "log.logger")]
        logger: Option<Cow<'a, str>>,
        #[serde(rename = "log.origin.file.name")]
        file: Option<&'a str>,
        #[serde(rename = "log.origin.file.line")]
        line: Option<u32>,
        #[serde(rename = "log.origin.function")]
        function: Option<&'a str>,
        #[serde(rename = "trace.id")]
        trace_id: Option<TraceId>,
        #[serde(rename = "transaction.id")]
        transaction_id: Option<SpanId>,
        #[serde(rename = "span.id")]
        span_id: Option<SpanId>,
        #[serde(rename = "error.type")]
        error_type: Option<Cow<'a, str>>,
        #[serde(rename = "error.message")]
        error_message: Option<Cow<'a, str>>,
        #[serde(rename = "error.stack_trace")]
        error_stack_trace: Option<Cow<'a, str>>,
        #[serde(rename = "process.thread.name")]
        thread: Option<Cow<'a, str>>,
        #[serde(rename = "event.dataset")]
        dataset: Option<Cow<'a, str>>,
        labels: Tags<'a>,
    }
}
