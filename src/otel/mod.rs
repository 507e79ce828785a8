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
