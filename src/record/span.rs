//! A span: a part of a transaction, as OpenTelemetry's API delivers it, plus what Elastic needs.

use std::{borrow::Cow, time::Duration};

use opentelemetry::{
    KeyValue, Value,
    trace::{SpanKind, Status},
};

use super::{Composite, ExitSpan, Outcome, SpanId, SpanType, Stack, StatementKey, TraceId};

/// One finished span.
#[derive(Debug, Clone)]
pub(crate) struct SpanRecord {
    pub(crate) trace_id: TraceId,
    pub(crate) id: SpanId,
    pub(crate) parent_id: SpanId,
    /// None where the span's transaction is not known (a remote parent that is not ours).
    pub(crate) transaction_id: Option<SpanId>,
    /// The transaction's, so that the server weighs both the same.
    pub(crate) sample_rate: Option<f64>,
    /// Start, microseconds since the epoch.
    pub(crate) timestamp: u64,
    pub(crate) duration: Duration,
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: SpanKind,
    /// In the words of OpenTelemetry's semantic conventions, old or new.
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) status: Status,
    /// Set where our own instrumentation knows it; otherwise it follows from `status` and the attributes.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) links: Vec<Link>,
    /// Set where the span stands for several.
    pub(crate) composite: Option<Composite>,
    /// Part of a call of the same kind that is told already: it has no destination of its own (agent-spec 6.3).
    pub(crate) within_call: bool,
    /// Some attribute has got another value since the start.
    pub(crate) is_retold: bool,
    /// The key of the database statement, if the statement was known at the start of the span.
    pub(crate) statement: Option<StatementKey>,
    /// Where it was found out for the transaction's self times, by all attributes.
    pub(crate) span_type: Option<SpanType<'static>>,
    /// Set if the transaction needed it, to compress or to drop the span. By all attributes.
    pub(crate) exit_span: Option<Box<ExitSpan>>,
    /// Where it ended, if it took long.
    pub(crate) stack: Stack,
}

/// A causal relation to a span of another trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
}

/// Kinds of spans that call another service: exit spans, in Elastic's words.
pub(crate) fn is_call(kind: &SpanKind) -> bool {
    matches!(kind, SpanKind::Client | SpanKind::Producer)
}

impl SpanRecord {
    /// It calls another service, or belongs to such a call.
    pub(crate) fn is_part_of_call(&self) -> bool {
        self.within_call || is_call(&self.kind)
    }

    pub(crate) fn heap_size(&self) -> usize {
        let links = self.links.len() * size_of::<Link>();
        let subtype = self.span_type.as_ref().and_then(|span_type| span_type.subtype.as_ref());
        let subtype = subtype.map_or(0, |subtype| subtype.len());
        let exit_span = self.exit_span.as_ref().map_or(0, |exit_span| exit_span.size());
        self.name.len() + attributes_size(&self.attributes) + links + subtype + exit_span + self.stack.heap_size()
    }
}

/// The attribute that holds the stack of a span which has got one from whoever made it.
pub(crate) const STACKTRACE: &str = "code.stacktrace";

/// The attribute that sets the outcome of a span: `success`, `failure` or `unknown`. The name is that of Elastic's field;
/// semantic conventions have no attribute for the outcome. It is not sent as a label.
pub(crate) const OUTCOME: &str = "event.outcome";

/// The attribute that holds the number of rows that a statement inserted, changed or deleted. Semantic conventions have no
/// attribute for it.
pub(crate) const ROWS_AFFECTED: &str = "db.rows_affected";

/// Attributes and links that one span or transaction keeps; the SDK's limit.
pub(crate) const MAX_ATTRIBUTES: usize = 128;

/// Sets or replaces an attribute, within the limit. True when it was replaced.
pub(crate) fn set_attribute(attributes: &mut Vec<KeyValue>, attribute: KeyValue) -> bool {
    if let Some(known) = attributes.iter_mut().find(|known| known.key == attribute.key) {
        *known = attribute;
        return true;
    }
    if attributes.len() < MAX_ATTRIBUTES {
        attributes.push(attribute);
    }
    false
}

pub(crate) fn attributes_size(attributes: &[KeyValue]) -> usize {
    let value = |value: &Value| match value {
        Value::String(text) => text.as_str().len(),
        Value::Array(array) => array_size(array),
        _ => 0,
    };
    attributes.iter().map(|attribute| size_of::<KeyValue>() + value(&attribute.value)).sum()
}

fn array_size(array: &opentelemetry::Array) -> usize {
    use opentelemetry::Array;
    match array {
        Array::Bool(values) => values.len(),
        Array::I64(values) => values.len() * 8,
        Array::F64(values) => values.len() * 8,
        Array::String(values) => values.iter().map(|text| 32 + text.as_str().len()).sum(),
        _ => 0,
    }
}
