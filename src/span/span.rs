//! One span between its start and its end.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    KeyValue,
    trace::{Span, SpanContext, Status},
};

use crate::{
    record::{Exception, MAX_ATTRIBUTES, Name, Outcome, SpanId, SpanRecord, micros, set_attribute},
    transaction::{Shared, answer_handle, link_to},
};

/// What the tracer hands out.
pub(crate) struct ApmSpan {
    context: SpanContext,
    shared: Option<Arc<Shared>>,
    role: Role,
}

enum Role {
    /// Ended, not sampled, or beyond `transaction_max_spans`: keeps the trace together, is sent by nobody.
    Silent {
        dropped: bool,
    },
    Child(Child),
    /// A transaction that no layer has begun; one may still take it over.
    Root {
        status: Status,
    },
}

/// A span that will be sent, already in the form in which it is.
pub(crate) struct Child {
    pub(super) start: SystemTime,
    pub(super) record: Box<SpanRecord>,
    /// One more than the transaction may have: a call is counted, and not sent.
    pub(super) beyond_limit: bool,
}

impl ApmSpan {
    /// Nothing is recorded; the context of the parent passes through.
    pub(super) fn off(context: SpanContext) -> Self {
        Self { context, shared: None, role: Role::Silent { dropped: false } }
    }

    /// As [`off`](Self::off), under a transaction; `dropped` where it counts as a span that should have been.
    pub(super) fn unrecorded(shared: Arc<Shared>, context: SpanContext, dropped: bool) -> Self {
        Self { context, shared: Some(shared), role: Role::Silent { dropped } }
    }

    pub(super) fn child(shared: Arc<Shared>, context: SpanContext, child: Child) -> Self {
        Self { context, shared: Some(shared), role: Role::Child(child) }
    }

    pub(super) fn root(shared: Arc<Shared>, context: SpanContext) -> Self {
        Self { context, shared: Some(shared), role: Role::Root { status: Status::Unset } }
    }
}

impl Child {
    fn finish(mut self, shared: &Shared, end: SystemTime) -> Box<SpanRecord> {
        // a layer may have taken the transaction over meanwhile, and moved it to the caller's trace
        let ids = shared.ids();
        self.record.trace_id = ids.trace_id;
        self.record.sample_rate = ids.sample_rate;
        // zero where the clock was set back meanwhile
        self.record.duration = end.duration_since(self.start).unwrap_or(Duration::ZERO);
        self.record
    }
}

/// OpenTelemetry's words for it, until the mapping knows better: unset stays unknown.
fn outcome(status: &Status) -> Outcome {
    match status {
        Status::Unset => Outcome::Unknown,
        Status::Ok => Outcome::Success,
        Status::Error { .. } => Outcome::Failure,
    }
}

impl Span for ApmSpan {
    fn add_event_with_timestamp<T>(&mut self, name: T, timestamp: SystemTime, attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        if let Some(shared) = &self.shared
            && name.into() == "exception"
        {
            let parent = match &self.role {
                Role::Child(_) => Some(SpanId(u64::from_be_bytes(self.context.span_id().to_bytes()))),
                _ => None,
            };
            shared.error(Exception::from_event(&attributes).into_record(timestamp), parent);
        }
    }

    fn span_context(&self) -> &SpanContext {
        &self.context
    }

    fn is_recording(&self) -> bool {
        !matches!(self.role, Role::Silent { .. })
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        match (&mut self.role, &self.shared) {
            (Role::Child(child), _) => set_attribute(&mut child.record.attributes, attribute),
            (Role::Root { .. }, Some(shared)) => shared.update(|record| {
                if let Some(otel) = &mut record.otel {
                    set_attribute(&mut otel.attributes, attribute);
                }
            }),
            _ => {}
        }
    }

    fn set_status(&mut self, status: Status) {
        if status == Status::Unset {
            if let Some(shared) = &self.shared {
                answer_handle(shared);
            }
            return;
        }
        match &mut self.role {
            // by OpenTelemetry's rule: Ok is final, Error beats Unset
            Role::Child(child) if child.record.status < status => child.record.status = status,
            Role::Root { status: known } if *known < status => *known = status,
            _ => {}
        }
    }

    fn update_name<T>(&mut self, name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        match (&mut self.role, &self.shared) {
            (Role::Child(child), _) => child.record.name = name.into(),
            (Role::Root { .. }, Some(shared)) => shared.propose_name(Name::Text(name.into())),
            _ => {}
        }
    }

    fn add_link(&mut self, context: SpanContext, _: Vec<KeyValue>) {
        let Some(link) = link_to(&context) else { return };
        match (&mut self.role, &self.shared) {
            (Role::Child(child), _) if child.record.links.len() < MAX_ATTRIBUTES => child.record.links.push(link),
            (Role::Root { .. }, Some(shared)) => shared.update(|record| {
                record.add_link(link);
            }),
            _ => {}
        }
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        let Some(shared) = &self.shared else { return };
        match std::mem::replace(&mut self.role, Role::Silent { dropped: false }) {
            Role::Child(child) if child.beyond_limit => shared.span_beyond_limit(&child.finish(shared, timestamp)),
            Role::Child(child) => shared.span(child.finish(shared, timestamp)),
            Role::Root { status } if shared.is_up_for_adoption() => shared.end(|_| outcome(&status)),
            Role::Silent { dropped: true } => {
                shared.span_dropped();
                shared.unsent_ends(SpanId(u64::from_be_bytes(self.context.span_id().to_bytes())), micros(timestamp));
            }
            Role::Root { .. } | Role::Silent { .. } => {}
        }
    }
}

impl Drop for ApmSpan {
    fn drop(&mut self) {
        if self.is_recording() {
            self.end_with_timestamp(SystemTime::now());
        }
    }
}

impl fmt::Debug for ApmSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApmSpan").field("context", &self.context).finish_non_exhaustive()
    }
}
