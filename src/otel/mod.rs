//! The part of the API that uses types of OpenTelemetry.
//!
//! OpenTelemetry's crates have version 0.x, so each minor release is incompatible with the one before. This crate uses
//! `opentelemetry` 0.33, and a release for another version of OpenTelemetry is a breaking release of this crate. Use
//! [`opentelemetry`] from this module, so that your code uses the same version and needs no other dependency:
//!
//! ```
//! use tower_apm::otel::opentelemetry::{KeyValue, trace::TraceContextExt};
//!
//! # async fn handler() {
//! tower_apm::otel::opentelemetry::Context::current().span().set_attribute(KeyValue::new("shop", "eu"));
//! # }
//! ```
//!
//! These methods in other modules also use types of OpenTelemetry:
//! [`Agent::tracer_provider`](crate::Agent::tracer_provider), `Agent::meter_provider` and `Agent::metric_exporter` (feature
//! `sdk`), [`SendSpan::inject`](crate::messaging::SendSpan::inject), [`Receive::carrier`](crate::messaging::Receive::carrier)
//! and `From<Transaction>` for [`opentelemetry::Context`]. See the guide
//! [`opentelemetry`](crate::docs::opentelemetry).

// How it works
//
// `tracing` spans and OpenTelemetry spans reach the agent through one tracer, `ApmTracer`. `tracing-opentelemetry` ("the
// bridge") is a layer of the subscriber that builds an OpenTelemetry span for each `tracing` span, when the span is entered
// or closed or gets its first child. `BridgeFilter` is the filter of that layer. For each new span, `ApmTracer` asks which
// transaction the parent context belongs to (`handle_from`). There are three situations.
//
// 1. Only our layer. The layer starts the transaction, and makes a context with it current on every poll of the request.
//
//     request ─▶ ApmService ─▶ TransactionInner ─▶ otel_context: a Context whose span is a TransactionSpan
//                                                   │ enter: attached for each poll, RUNNING is set
//                                                   ▼
//                handler ─▶ info_span!("db") ─▶ bridge ─▶ ApmTracer ─▶ handle_from: the transaction ─▶ ApmSpan (child)
//
// 2. A span outside of our layer, such as the span of `TraceLayer`. There is no transaction yet, so `ApmTracer` makes the
//    span one, and marks it as adoptable. Our layer finds it in the current context and takes it over: it gets the request,
//    the name, and the ids from the trace headers. The layer ends it; the end of the outer span has no effect.
//
//     request ─▶ TraceLayer: info_span!("request") ─▶ bridge ─▶ ApmTracer ─▶ handle_from: none ─▶ ApmSpan (root)
//                 │                                                              └─▶ TransactionInner, adoptable
//                 ▼                                                                        ▲
//                ApmService ─▶ transaction_from: the root's transaction ─▶ adopt ──────────┘
//
// 3. An explicit parent that the bridge does not know. `tower_apm::request` is a `tracing` span that accompanies the
//    request, so that `in_current_span()` carries the transaction into tasks. The bridge does not see it, because the
//    transaction itself is the OpenTelemetry span. If such a span is the explicit parent of another span, the parent's
//    context is stored with the new span, and is published before the bridge builds the span.
//
//     info_span!(parent: &request, "task") ─▶ on_new_span: explicit_parent::store (extension of the span "task")
//     "task" is entered ─▶ BridgeFilter: explicit_parent::publish ─▶ bridge ─▶ ApmTracer: published_parent ─▶ ApmSpan (child)
//
// Thread-locals
//
// - `current::RUNNING`: what the running code belongs to: a transaction, an ignored request, or nothing. Set by
//   `enter` and its variants, `running_as`; restored when the guard is dropped; read by `running`, `handle_from`.
// - `current::HELD`, `current::ANY_HELD`: panics that the panic hook has recorded and that have not unwound to the
//   guard yet. Set by `hold`; read by `Entered::drop`, `send_caught_panics`, `Handle::panicked`, `take_held`.
// - `context::PROBING`: true while `handle_from` asks a span for its transaction, by `set_status(Unset)`. Set by
//   `handle_from`; read by `answer_probe`, which our spans call.
// - `context::PROBE_ANSWER`: the answer of the span. Set by `answer_probe`; read by `handle_from`.
// - `request_span::SUPPRESS_ATTACH`: true while our own future enters or exits its request span: the context is
//   attached already. Set by `enter_own`; read by `on_enter`, `on_exit`.
// - `request_span::ENTERED`, `request_span::ANY_ENTERED`: the guards of the spans for which the agent's layer has
//   made a transaction current. Set by `on_enter`; read by `on_exit`.
// - `bridge_filter::BRIDGED`: the span that the bridge is about to enter. Set by `BridgeFilter::on_enter`; read by
//   `request_span::on_enter`.
// - `explicit_parent::PUBLISHED`: the parent context of the span that the bridge is about to build. Set by `publish`;
//   cleared by `clear`; read by `ApmTracer`.
// - `other_bridge::ANSWERED`: true if the agent's tracer has built the span of a probe. Set by `ApmTracer`; read by
//   `OtherBridge::probe`.
// - `other_bridge::TAKEN`: true if a span had the state of another bridge. Set by the tracer `Taker`; read by
//   `OtherBridge::make_room`.
// - `span_chain::CLOSED`: how many spans have closed in a row. Set by `on_close`, `interrupt`; read by `on_close`.
// - `span_chain::TO_CLOSE`: on a thread that closes a long chain: the spans to close next. Set by `close_later`; read
//   by `close`.
// - `statement_level::ASKED`: which maximum level the hint must return. Set by `raise`; read by
//   `StatementLevel::max_level_hint`.

mod bridge_filter;
mod carrier;
mod context;
mod current;
mod explicit_parent;
mod other_bridge;
mod outgoing;
#[cfg(feature = "sdk")]
mod processor;
mod propagator;
pub(crate) mod request_span;
mod span;
pub(crate) mod span_chain;
mod span_selection;
mod statement_level;
mod time;
mod tracer;

pub use opentelemetry;

#[cfg(feature = "sdk")]
#[cfg_attr(docsrs, doc(cfg(feature = "sdk")))]
pub use self::processor::ApmSpanProcessor;
pub(crate) use self::{
    bridge_filter::BridgeFilter,
    carrier::inject_context,
    context::{handle_from, ignored_context, link_to, otel_context, transaction_from},
    current::{Entered, enter, enter_handle, hold, running, send_caught_panics, take_held},
    other_bridge::OtherBridge,
    outgoing::outgoing,
    request_span::{enter_own, new_request_span},
    span_selection::{REQUEST_TARGET, SpanSelection},
    statement_level::{StatementLevel, enable_statements, is_statement},
    tracer::ApmTracer,
};
pub use self::{
    carrier::{extract_carrier, inject_carrier},
    propagator::ElasticPropagator,
};
#[cfg(feature = "sdk")]
#[cfg_attr(docsrs, doc(cfg(feature = "sdk")))]
pub use crate::metrics::{ApmMeterProvider, ApmMetricExporter};
