//! One span between its start and its end.

use std::{borrow::Cow, fmt, sync::Arc, time::SystemTime};

use opentelemetry::{
    KeyValue,
    trace::{Event, Span, SpanContext, Status},
};

use super::{
    context::{answer_probe, link_to, while_locked},
    time::Start,
};
use crate::{
    record::{Exception, MAX_ATTRIBUTES, Name, SpanId, SpanRecord, cut, is_user_attribute, set_attribute},
    transaction::{Handle, Ignored, TransactionInner},
};

/// What the tracer hands out.
pub(crate) struct ApmSpan {
    context: SpanContext,
    handle: Handle,
    role: Role,
    /// The span has ended. Another span may replace it, and the transaction must keep that span as long as this span
    /// exists.
    is_replaceable: bool,
}

enum Role {
    /// Ended, not sampled, or beyond `transaction_max_spans`. The span is not sent, and passes the trace on.
    NotRecorded {
        dropped: bool,
    },
    /// Part of an exit span that is recorded already. Only errors are recorded, and belong to the exit span.
    InsideExitSpan,
    Child(Child),
    /// A transaction that no layer has begun; one may still take it over.
    Root(Root),
}

/// The data of a transaction that is a span, in addition to its record.
pub(super) struct Root {
    status: Status,
    start: Start,
}

/// A span that will be sent, already in the form in which it is.
pub(crate) struct Child {
    pub(super) start: Start,
    pub(super) record: Box<SpanRecord>,
    /// One more than the transaction may have: a call is counted, and not sent.
    pub(super) beyond_limit: bool,
}

impl ApmSpan {
    fn new(context: SpanContext, handle: Handle, role: Role) -> Self {
        Self { context, handle, role, is_replaceable: false }
    }

    /// Nothing is recorded; the context of the parent passes through.
    pub(super) fn off(context: SpanContext) -> Self {
        Self::new(context, Handle::None, Role::NotRecorded { dropped: false })
    }

    /// As [`off`](Self::off), within a transaction if there is one.
    pub(super) fn not_recorded(handle: Handle, context: SpanContext) -> Self {
        Self::new(context, handle, Role::NotRecorded { dropped: false })
    }

    /// As [`off`](Self::off), and so is all that is below it.
    pub(super) fn ignored(ignored: Arc<Ignored>, context: SpanContext) -> Self {
        Self::new(context, Handle::Ignored(ignored), Role::NotRecorded { dropped: false })
    }

    /// As [`off`](Self::off), under a transaction; `dropped` where it counts as a span that should have been.
    pub(super) fn unrecorded(shared: Arc<TransactionInner>, context: SpanContext, dropped: bool) -> Self {
        Self::new(context, Handle::Transaction(shared), Role::NotRecorded { dropped })
    }

    /// A part of the call whose context this is.
    pub(super) fn inside_exit_span(shared: Arc<TransactionInner>, context: SpanContext) -> Self {
        Self::new(context, Handle::Transaction(shared), Role::InsideExitSpan)
    }

    pub(super) fn child(shared: Arc<TransactionInner>, context: SpanContext, child: Child) -> Self {
        Self::new(context, Handle::Transaction(shared), Role::Child(child))
    }

    pub(super) fn root(shared: Arc<TransactionInner>, context: SpanContext, start: Start) -> Self {
        let role = Role::Root(Root { status: Status::Unset, start });
        Self::new(context, Handle::Transaction(shared), role)
    }

    /// An event that the span is built with. OpenTelemetry holds no lock of the span then, but may have borrowed the
    /// current context: nothing can be attached.
    pub(super) fn begin_with(&self, event: Event) {
        if !self.handle.is_none() && event.name == "exception" {
            let error = Exception::from_event(&event.attributes).into_record(event.timestamp);
            self.handle.error(error, Some(self.nearest()));
        }
    }

    fn shared(&self) -> Option<&Arc<TransactionInner>> {
        self.handle.transaction()
    }

    /// The nearest span that is sent: itself, or the one that it hangs below.
    fn nearest(&self) -> SpanId {
        SpanId(u64::from_be_bytes(self.context.span_id().to_bytes()))
    }

    /// Ends the span now, or at the given time.
    fn finish(&mut self, end: Option<SystemTime>) {
        let role = std::mem::replace(&mut self.role, Role::NotRecorded { dropped: false });
        let Some(shared) = self.shared() else { return };
        match role {
            Role::Child(child) if child.beyond_limit => shared.span_beyond_limit(child.finish(shared, end)),
            Role::Child(child) => self.is_replaceable = shared.span(child.finish(shared, end)),
            // filters run there, and this span's lock may be held: they must find the transaction without asking it
            Role::Root(root) if shared.is_adoptable() => {
                while_locked(&self.handle, &self.context, || root.end(shared, end));
            }
            Role::NotRecorded { dropped: true } => shared.unsent_ends(self.nearest(), Start::of(end).micros(shared)),
            Role::Root(_) | Role::InsideExitSpan | Role::NotRecorded { .. } => {}
        }
    }
}

impl Child {
    fn finish(mut self, shared: &TransactionInner, end: Option<SystemTime>) -> Box<SpanRecord> {
        // a layer may have taken the transaction over meanwhile, and moved it to the caller's trace
        let ids = shared.ids();
        self.record.trace_id = ids.trace_id;
        self.record.sample_rate = ids.sample_rate;
        self.record.duration = self.start.until(end, self.record.timestamp);
        self.record
    }
}

impl Root {
    fn end(self, shared: &Arc<TransactionInner>, end: Option<SystemTime>) {
        // one of its own: contexts share this span, and with it its handle
        let shared = shared.clone();
        shared.end(|record| {
            record.duration = self.start.until(end, record.timestamp);
            record.bridged_end(&self.status)
        });
    }
}

impl Span for ApmSpan {
    fn add_event_with_timestamp<T>(&mut self, name: T, timestamp: SystemTime, attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        if !self.handle.is_none() && name.into() == "exception" {
            let error = Exception::from_event(&attributes).into_record(timestamp);
            while_locked(&self.handle, &self.context, || self.handle.error(error, Some(self.nearest())));
        }
    }

    fn span_context(&self) -> &SpanContext {
        &self.context
    }

    fn is_recording(&self) -> bool {
        !matches!(self.role, Role::NotRecorded { .. })
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        let is_user = is_user_attribute(attribute.key.as_str());
        match (&mut self.role, self.handle.transaction()) {
            (Role::Child(child), shared) => {
                child.record.is_retold |= set_attribute(&mut child.record.attributes, attribute);
                if let (true, Some(shared)) = (is_user, shared) {
                    shared.propose_user(&child.record.attributes);
                }
            }
            (role, Some(shared)) if is_user => {
                shared.propose_user(std::slice::from_ref(&attribute));
                if matches!(role, Role::Root(_)) {
                    shared.update(|record| record.bridged_attribute(attribute));
                }
            }
            (Role::Root(_), Some(shared)) => shared.update(|record| record.bridged_attribute(attribute)),
            _ => {}
        }
    }

    fn set_status(&mut self, status: Status) {
        if status == Status::Unset {
            if !self.handle.is_none() {
                answer_probe(|| self.handle.clone());
            }
            return;
        }
        match &mut self.role {
            // by OpenTelemetry's rule: Ok is final, Error beats Unset
            Role::Child(child) if child.record.status < status => child.record.status = status,
            Role::Root(root) if root.status < status => root.status = status,
            _ => {}
        }
    }

    fn update_name<T>(&mut self, name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        match (&mut self.role, self.handle.transaction()) {
            (Role::Child(child), _) => child.record.name = cut(name.into()),
            (Role::Root(_), Some(shared)) => shared.propose_name(Name::Text(cut(name.into()))),
            _ => {}
        }
    }

    fn add_link(&mut self, context: SpanContext, _: Vec<KeyValue>) {
        let Some(link) = link_to(&context) else { return };
        match (&mut self.role, self.handle.transaction()) {
            (Role::Child(child), _) if child.record.links.len() < MAX_ATTRIBUTES => child.record.links.push(link),
            (Role::Child(_), Some(shared)) => shared.recorder().excess_links(1),
            (Role::Root(_), Some(shared)) => shared.link(link),
            _ => {}
        }
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        self.finish(Some(timestamp));
    }
}

impl Drop for ApmSpan {
    fn drop(&mut self) {
        // most have ended before
        if !matches!(self.role, Role::NotRecorded { dropped: false }) {
            self.finish(None);
        }
        if self.is_replaceable
            && let Some(shared) = self.shared()
        {
            shared.release_span(self.nearest());
        }
    }
}

impl fmt::Debug for ApmSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApmSpan").field("context", &self.context).finish_non_exhaustive()
    }
}
