//! Elastic APM for axum and tower: every request becomes a transaction on an APM Server, with user, labels, custom
//! context, errors and spans.
//!
//! Months later somebody asks "what did this user do, and what went wrong?". With this crate in place, a search for the
//! user's id in Kibana answers: every request, which route of which module it was, with which order and transaction
//! hash, how long each database, Redis, Kafka and HTTP call under it took, and every error with its causes.
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
//!     let _ = agent.shutdown(std::time::Duration::from_secs(5)).await; // delivers what waits
//!     Ok(())
//! }
//! ```
//!
//! `install()` sets up the process: the global `tracing` subscriber, OpenTelemetry's tracer provider and the panic hook. If
//! your service has its own subscriber, use [`AgentBuilder::install_without_subscriber`] and add [`Agent::tracing_layer`] to
//! the subscriber ([`docs::subscriber`]). A transaction ends with the body of its response.
//!
//! Where the server is, and all else, is told by `ELASTIC_APM_*` variables or by the builder: [`AgentBuilder`] lists
//! the options. Without an Elastic stack at hand, `cargo run --example devserver --features devserver` is a small APM
//! server with a web page (module `devserver`).
//!
//! # Layout
//!
//! - [`Agent`] and its builder: set-up, `flush`, `shutdown`, `stats`.
//! - [`layer()`] and [`ApmLayer`]: the tower layer, for the whole router and, with `module("market")` and hooks, for each
//!   module's.
//! - [`Transaction`]: the handle that handlers extract and any code below finds with [`Transaction::current`].
//! - [`ResponseExt`] and [`ErrorBuilder`]: errors; [`install_panic_hook`].
//! - [`otel`]: the part of the API that uses types of OpenTelemetry, and the matching `opentelemetry` crate.
//! - [`trace_context`]: the trace goes on to the services that are called.
//! - `devserver` and `testkit`: for laptops and for the CI of your own service.
//! - Guides: module [`docs`].
//!
//! ```text
//! request ─▶ layer ─▶ transaction ──▶ record ─▶ queue ─▶ worker thread ─▶ intake v2 ─▶ APM Server
//! tracing spans ─▶ OpenTelemetry ─▶ span ─▶ │
//! capture_error, panics, ERROR events ────▶ ┘
//! ```
//!
//! # What it never does
//!
//! Telemetry neither breaks nor slows its host: the request path offers a record to a bounded queue and does not wait;
//! mapping, sanitising, compressing and sending happen on a thread of the agent's own. No panic of a hook or of a
//! `Serialize` crosses into a request. Every event that is given up is counted, by reason, in [`Stats`]. Passwords,
//! tokens, cookies and authorization headers are redacted before anything is encoded.
//!
//! # Features
//!
//! | feature | brings | default |
//! |---|---|---|
//! | `axum` | extractors, route names from `MatchedPath`, client addresses, request bodies | yes |
//! | `devserver` | a small APM server to develop against | no |
//! | `testkit` | `TestAgent`: tests of what your service sends | no |
//! | `otlp` | the OTLP exporter, HTTP/protobuf and gRPC: [`docs::otlp`] tells what it loses | no |
//! | `sdk` | metrics of your own through OpenTelemetry, and a span processor for services that have a pipeline of its SDK: [`docs::opentelemetry`] | no |
//! | `redis` | exit spans for the commands of the crate `redis` 1 | no |
//! | `diesel` | exit spans for the queries of the crate `diesel` 2.3 | no |
//! | `mongodb` | exit spans for the commands of the crate `mongodb` 3 | no |
//! | `tls-aws-lc-rs`, `tls-ring` | a TLS provider, for a server that is `https`: [`docs::options`] | no |
//! | `reqwest`, `reqwest-middleware` | exit spans for the requests of these clients: [`docs::outgoing_calls`] | no |
//! | `rdkafka` | exit spans and transactions for Kafka messages of the crate `rdkafka`; needs a C compiler | no |
//! | `ansi` | colours in the lines that `install()` prints to a terminal; enables `tracing-subscriber/ansi` | no |
//! | `env-filter` | filters by spans and fields in `RUST_LOG` and `log_filter`; enables `tracing-subscriber/env-filter` | no |
//!
//! Without `axum` the layer wraps any `Service<http::Request<B>>`.
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod agent;
mod apm_server;
mod capture;
mod client;
mod config;
#[cfg(feature = "devserver")]
#[cfg_attr(docsrs, doc(cfg(feature = "devserver")))]
pub mod devserver;
pub mod docs;
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
mod server;
mod span;
#[cfg(test)]
mod spec_folder;
mod sql;
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
    record::{LabelValue, Outcome, SpanId, TraceId, User},
    server::{
        ApmLayer, ApmService, ErrorVerdict, IntoErrorVerdict, Panicked, ResponseBody, ResponseExt, ResponseFuture,
        ServiceError, layer,
    },
    transaction::{
        ApmFutureExt, FinishedTransaction, InTransaction, ReportedError, StartedTransaction, TraceContext, Transaction,
    },
};

/// The README's examples compile.
#[cfg(all(doctest, feature = "testkit"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
