//! Records the requests of axum and tower services, and sends them to an Elastic APM Server.
//!
//! Each request is a transaction with its user, labels, custom context, errors and spans. A support engineer who searches for
//! a user id in Kibana sees every request of the user: its route and module, your labels and custom context, the duration of
//! each database, Redis, Kafka and HTTP call, and every error with its causes.
//!
//! # Quick start
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use tower_apm::{Agent, Transaction, User};
//!
//! async fn listing(tx: Transaction) -> &'static str {
//!     tx.set_user(User::id("0xabc")).set_label("listing_id", "42").set_custom_context("filter", ["open", "mine"]);
//!     "a picture of an ape"
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let agent = Agent::builder().service_name("marketplace").install()?;
//!     let app = Router::new().route("/listings/{id}", get(listing)).layer(tower_apm::layer());
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
//!     axum::serve(listener, app).with_graceful_shutdown(ctrl_c).await?;
//!     let _ = agent.shutdown(std::time::Duration::from_secs(5)).await; // sends the last events
//!     Ok(())
//! }
//! ```
//!
//! `install()` sets up the process: the global `tracing` subscriber, OpenTelemetry's tracer provider and propagator, and the
//! panic hook. If your service has its own subscriber, use [`AgentBuilder::install_without_subscriber`] and add
//! [`Agent::tracing_layer`] to the subscriber ([`docs::subscriber`]).
//!
//! A transaction starts when the request reaches the layer, and ends with the body of the response.
//!
//! Options are set by `ELASTIC_APM_*` variables or on the builder. [`docs::options`] lists them. If you have no Elastic Stack,
//! `cargo run --example devserver` starts a small APM server with a web page.
//!
//! # Layout
//!
//! - [`docs`]: the guides.
//! - [`Agent`] and [`AgentBuilder`]: set-up, `flush`, `shutdown`, `stats`.
//! - [`layer()`] and [`ApmLayer`]: the tower layer for the whole router and, with `module("market")` and hooks, for the router
//!   of each module.
//! - [`Transaction`]: an axum extractor; [`Transaction::current`] returns it anywhere else.
//! - [`ResponseExt`], [`ErrorBuilder`] and [`install_panic_hook`]: errors.
//! - [`client_layer`], [`mod@sqlx`], [`db`] and [`messaging`]: exit spans for outgoing calls ([`docs::outgoing_calls`]).
//! - [`trace_context`]: trace headers for calls that the agent does not record.
//! - [`otel`]: the part of the API that uses types of OpenTelemetry, and the matching `opentelemetry` crate.
//! - `devserver` and `testkit`: a local APM server, and tests of the events that your service sends.
//!
//! ```text
//! request ─▶ layer ─▶ transaction ──▶ record ─▶ queue ─▶ worker thread ─▶ intake v2 ─▶ APM Server
//! tracing spans ─▶ OpenTelemetry ─▶ span ─▶ │
//! capture_error, panics, ERROR events ────▶ ┘
//! ```
//!
//! # Guarantees
//!
//! - A request adds its events to a bounded queue and never waits. The agent's own thread redacts, encodes and sends the
//!   events.
//! - No panic of a hook, a filter or a `Serialize` implementation reaches a request, unless panics abort the process.
//! - [`Stats`] counts every dropped event by reason.
//! - Passwords, tokens, cookies and authorization headers are redacted before an event is encoded
//!   ([`docs::sensitive_data`]).
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `axum` | extractors, route names from `MatchedPath`, client addresses, request bodies. Without it the layer wraps any `Service<http::Request<B>>` | yes |
//! | `tls-aws-lc-rs`, `tls-ring` | a TLS provider, for a server URL that begins with `https`: [`docs::options`] | no |
//! | `sqlx` | a wrapper for pools of `sqlx` 0.9, with exact outcomes and addresses. Statements are recorded without it too | no |
//! | `reqwest`, `reqwest-middleware` | exit spans for the requests of these clients | no |
//! | `redis`, `diesel`, `mongodb` | exit spans for the commands of `redis` 1, `diesel` 2.3 and `mongodb` 3 | no |
//! | `rdkafka` | exit spans and transactions for Kafka messages; needs a C compiler | no |
//! | `otlp` | the OTLP exporter over HTTP/protobuf and gRPC: [`docs::otlp`] | no |
//! | `sdk` | OpenTelemetry metrics, and a span processor for services with a pipeline of its SDK: [`docs::opentelemetry`] | no |
//! | `testkit` | `TestAgent` and expectations for tests. It includes the feature `devserver` | no |
//! | `devserver` | the development server | no |
//! | `ansi` | colours in the lines that `install()` prints to a terminal; enables `tracing-subscriber/ansi` | no |
//! | `env-filter` | filters by spans and fields in `RUST_LOG` and `log_filter`; enables `tracing-subscriber/env-filter` | no |
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod agent;
mod apm_server;
mod background;
mod capture;
mod client;
mod config;
#[cfg(feature = "devserver")]
#[cfg_attr(docsrs, doc(cfg(feature = "devserver")))]
pub mod devserver;
pub mod docs;
mod elastic;
mod error;
mod intake;
#[cfg(feature = "_internals")]
#[doc(hidden)]
pub mod internals;
mod log;
#[cfg(test)]
mod logged;
mod metadata;
mod metrics;
pub mod otel;
#[cfg(feature = "otlp")]
mod otlp;
mod pipeline;
mod propagation;
mod record;
mod sanitize;
mod semconv;
mod server;
#[cfg(test)]
mod spec_folder;
mod stack;
#[cfg(feature = "testkit")]
#[cfg_attr(docsrs, doc(cfg(feature = "testkit")))]
pub mod testkit;
pub mod trace_context;
mod transaction;
mod transport;

#[cfg(feature = "diesel")]
#[cfg_attr(docsrs, doc(cfg(feature = "diesel")))]
pub use crate::client::diesel;
#[cfg(feature = "mongodb")]
#[cfg_attr(docsrs, doc(cfg(feature = "mongodb")))]
pub use crate::client::mongodb;
#[cfg(feature = "rdkafka")]
#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
pub use crate::client::rdkafka;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::client::redis;
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub use crate::client::{RequestBuilderExt, ReqwestFuture};
pub use crate::{
    agent::{Agent, AgentBuilder, AgentGuard, LogFormat},
    background::{ApmFutureExt, InTransaction, StartedTransaction},
    capture::{ErrorBuilder, install_panic_hook},
    client::{
        ClientBody, ClientError, ClientFuture, ClientLayer, ClientService, client_layer, db, messaging,
        sqlx::{self, SqlxDatabase},
    },
    config::{
        CaptureBody, CaptureLogErrors, CaptureSpanFields, CloudProvider, EnvVars, Exporter, LogEcsReformatting,
        LogLevel, OtlpCompression, OtlpProtocol, TraceContinuationStrategy,
    },
    error::BuildError,
    log::{EcsFormat, WithTraceIds},
    pipeline::{DropReason, Dropped, FlushTimeout, SecondaryStats, Stats},
    propagation::TraceContext,
    record::{LabelValue, Outcome, SpanId, TraceId, User},
    server::{
        ApmLayer, ApmService, ErrorVerdict, IntoErrorVerdict, Panicked, ResponseBody, ResponseExt, ResponseFuture,
        ServiceError, layer,
    },
    transaction::{FinishedTransaction, ReportedError, Transaction},
};

/// The README's examples compile.
#[cfg(all(doctest, feature = "testkit"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
