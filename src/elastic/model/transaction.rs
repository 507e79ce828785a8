//! `transaction`

use std::borrow::Cow;

use super::{
    context::Context,
    faas::Faas,
    model,
    value::{Absent, Entries, Scalar},
};
use crate::{
    record::{SpanId, TraceId},
    semconv::Text,
};

model! {
    struct Transaction<'a> {
        id: SpanId,
        trace_id: TraceId,
        parent_id: Option<SpanId>,
        name: Text<'a>,
        r#type: Cow<'a, str>,
        result: Option<Cow<'a, str>>,
        outcome: &'static str,
        /// Microseconds since the epoch.
        timestamp: u64,
        /// Milliseconds.
        duration: f64,
        /// Written only where it is false.
        sampled: bool,
        sample_rate: Option<f64>,
        span_count: SpanCount,
        dropped_spans_stats: Vec<DroppedSpanStats<'a>>,
        links: Vec<Link>,
        session: Option<Session<'a>>,
        otel: Option<Otel<'a>>,
        faas: Option<Faas<'a>>,
        marks: Option<Marks>,
        context: Option<Box<Context<'a>>>,
    }

    struct SpanCount {
        started: u32,
        dropped: Option<u32>,
    }

    struct Link {
        trace_id: TraceId,
        span_id: SpanId,
    }

    #[derive(Default)]
    struct Otel<'a> {
        span_kind: Option<&'static str>,
        /// The server translates these over the native fields: only what no native field holds.
        attributes: Entries<'a, Scalar<'a>>,
    }

    struct Marks {
        agent: AgentMarks,
    }

    struct AgentMarks {
        /// Milliseconds from the start to the head of the response.
        #[serde(rename = "timeToFirstByte")]
        time_to_first_byte: f64,
    }

    struct Session<'a> {
        id: &'a str,
        sequence: Option<u32>,
    }

    struct DroppedSpanStats<'a> {
        destination_service_resource: Cow<'a, str>,
        service_target_type: Option<Cow<'a, str>>,
        service_target_name: Option<Cow<'a, str>>,
        outcome: &'static str,
        duration: DroppedDuration,
    }

    struct DroppedDuration {
        count: u64,
        sum: DroppedSum,
    }

    struct DroppedSum {
        us: u64,
    }
}

impl Absent for SpanCount {}
impl Absent for AgentMarks {}
impl Absent for DroppedDuration {}
impl Absent for DroppedSum {}

impl Marks {
    pub(crate) fn time_to_first_byte(milliseconds: f64) -> Self {
        Self { agent: AgentMarks { time_to_first_byte: milliseconds } }
    }
}
