//! Another layer of `tracing-opentelemetry` in the service's own subscriber.
//!
//! Each such layer keeps its state in the extensions of a span, under one private type, and asserts that the place is free:
//! the second layer in a subscriber panics with the first span. So the agent's layer becomes inactive for spans and logs
//! one warning. The other layer then records the `tracing` spans.
//!
//! The other layer is found in two ways:
//! - Where it comes first for a span, its state is in the span's extensions. Before the agent's layer puts its own there, it
//!   takes out what is there.
//! - Where it comes later, it is found before the first span: a span that only the registry knows is given state in the
//!   same form, and the subscriber is asked for its context. The layer that answers builds the span with its tracer.
//!
//! Neither finds a layer that comes later and is hidden from the subscriber's `downcast_ref`: in a `reload::Layer`, or in
//! a `Vec` of layers behind the agent's.

use std::{
    any::TypeId,
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
};

use opentelemetry::{
    Context,
    trace::{SpanBuilder, Tracer, noop::NoopSpan},
};
use tracing::{
    Dispatch, Event, Metadata, Subscriber, callsite,
    dispatcher::WeakDispatch,
    span::{Attributes, Id, Record},
};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::{
    Layer, Registry,
    layer::{self, SubscriberExt},
    registry::{Data, LookupSpan},
};

thread_local! {
    static ANSWERED: Cell<bool> = const { Cell::new(false) };
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// A layer has decided, and `tracing` has cached the interests that held before.
static STALE: AtomicBool = AtomicBool::new(false);
/// True if a layer has become inactive and no warning was logged yet.
static UNANNOUNCED: AtomicBool = AtomicBool::new(false);

const UNKNOWN: u8 = 0;
const ACTIVE: u8 = 1;
const INACTIVE: u8 = 2;

/// What one layer of the agent knows about others in its subscriber.
#[derive(Debug, Default)]
pub(crate) struct OtherBridge {
    state: AtomicU8,
    subscriber: OnceLock<WeakDispatch>,
    /// Of any span: what a span needs to be created.
    metadata: OnceLock<&'static Metadata<'static>>,
}

impl OtherBridge {
    /// The subscriber that the layer is a part of is complete.
    pub(crate) fn set_subscriber(&self, subscriber: &Dispatch) {
        // a subscriber has one dispatcher
        let _ = self.subscriber.set(subscriber.downgrade());
    }

    pub(super) fn is_known(&self) -> bool {
        self.state.load(Relaxed) != UNKNOWN
    }

    pub(super) fn is_inactive(&self) -> bool {
        self.state.load(Relaxed) == INACTIVE
    }

    pub(super) fn set_metadata(&self, metadata: &'static Metadata<'static>) {
        let _ = self.metadata.set(metadata);
    }

    /// Returns the subscriber, and the metadata of one of its spans, once both are known.
    pub(super) fn subscriber(&self) -> Option<(Dispatch, &'static Metadata<'static>)> {
        Some((self.subscriber.get().and_then(WeakDispatch::upgrade)?, self.metadata.get()?))
    }

    /// Another layer of the agent records the spans.
    pub(super) fn set_inactive(&self) {
        self.set_state(INACTIVE);
    }

    /// Looks for a layer that answers for a span, and becomes inactive if there is one.
    pub(super) fn probe(&self, subscriber: Option<(Dispatch, &'static Metadata<'static>)>) {
        let is_answered =
            subscriber.is_some_and(|(subscriber, metadata)| is_answered_by_another(&subscriber, metadata));
        if is_answered {
            UNANNOUNCED.store(true, Relaxed);
        }
        self.set_state(if is_answered { INACTIVE } else { ACTIVE });
    }

    /// Takes out what another layer has put into the span's extensions, so that the agent's layer finds the place free. The
    /// span is then the other layer's nevertheless: it comes first again when the span is entered.
    ///
    /// Costs a look into the extensions; nothing where no layer is below.
    #[inline]
    pub(super) fn make_room<S>(&self, id: &Id, context: layer::Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        // in a `Vec` of layers, which passes no dispatcher on, another layer may come first all the same
        if TypeId::of::<S>() == TypeId::of::<Registry>() && self.subscriber.get().is_some() {
            return;
        }
        let taker: OpenTelemetryLayer<S, Taker> =
            tracing_opentelemetry::layer().with_tracer(Taker).with_tracked_inactivity(false);
        taker.on_close(id.clone(), context);
        if TAKEN.replace(false) {
            UNANNOUNCED.store(true, Relaxed);
            self.set_state(INACTIVE);
        }
    }

    fn set_state(&self, state: u8) {
        self.state.store(state, Relaxed);
        // not rebuilt here: `tracing` sees no subscriber while one is at work, and would turn every callsite off
        STALE.store(true, Relaxed);
    }
}

/// Returns true if a decision waits to be applied.
#[inline]
pub(super) fn is_stale() -> bool {
    STALE.load(Relaxed)
}

/// Rebuilds the interests that `tracing` has cached, and logs the warning about an inactive layer.
pub(super) fn apply_decision() {
    if !STALE.swap(false, Relaxed) {
        return;
    }
    callsite::rebuild_interest_cache();
    if UNANNOUNCED.swap(false, Relaxed) {
        tracing::warn!(
            target: "tower_apm",
            "the subscriber has another layer of `tracing-opentelemetry`: the agent does not record the spans of \
             `tracing`. To record them add `ApmSpanProcessor` (feature `sdk`) to the tracer provider of that layer and use \
             `tracing_layer_without_spans()`, or remove the other layer"
        );
    }
}

/// For the agent's tracer: a span is built while telemetry is suppressed.
pub(crate) fn answer() {
    ANSWERED.set(true);
}

/// Whether a tracer other than the agent's builds a span that is first asked for its context.
fn is_answered_by_another(subscriber: &Dispatch, metadata: &'static Metadata<'static>) -> bool {
    if subscriber.downcast_ref::<Registry>().is_none() {
        return false;
    }
    // no tracer records a span that is made meanwhile
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    let bare = BareRegistry(subscriber.clone()).with(tracing_opentelemetry::layer());
    let values = metadata.fields().value_set(&[]);
    let id = bare.new_span(&Attributes::new(metadata, &values));
    ANSWERED.set(false);
    let is_answered = tracing_opentelemetry::get_otel_context(&id, subscriber).is_some();
    bare.try_close(id);
    is_answered && !ANSWERED.get()
}

/// The registry of a subscriber without its layers: they see nothing of what is done here.
struct BareRegistry(Dispatch);

impl BareRegistry {
    fn registry(&self) -> Option<&Registry> {
        self.0.downcast_ref()
    }
}

impl Subscriber for BareRegistry {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        // a root, so that it keeps no span open
        let root = Attributes::new_root(attributes.metadata(), attributes.values());
        self.registry().map_or_else(|| Id::from_u64(u64::MAX), |registry| registry.new_span(&root))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    /// The registry keeps the empty slot: only a subscriber with layers gives it back. There is one for each layer of the
    /// agent.
    fn try_close(&self, id: Id) -> bool {
        self.registry().is_some_and(|registry| registry.try_close(id))
    }
}

impl<'a> LookupSpan<'a> for BareRegistry {
    type Data = Data<'a>;

    fn span_data(&'a self, id: &Id) -> Option<Data<'a>> {
        self.registry()?.span_data(id)
    }
}

/// Notes that there was a span to build.
struct Taker;

impl Tracer for Taker {
    type Span = NoopSpan;

    fn build_with_context(&self, _: SpanBuilder, _: &Context) -> NoopSpan {
        TAKEN.set(true);
        NoopSpan::DEFAULT
    }
}
