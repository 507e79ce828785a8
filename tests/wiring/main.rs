//! The wiring of a service: streams, background work, the selection of spans, the runtime, GraphQL.

mod client;
mod graphql;
mod root_exit_spans;
mod runtime_metrics;
mod selection;
mod service_target;
mod spawn;
mod streams;
