//! A test kit: each test has its own agent and its own server, and expectations wait for events.
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::post};
//! use tower::ServiceExt;
//! use tower_apm::{Transaction, User, testkit::TestAgent};
//!
//! // your service
//! fn app() -> Router {
//!     let purchase = async |tx: Transaction| {
//!         tx.set_user(User::id("0xdef")).set_label("token_id", "42").set_custom_context("order", serde_json::json!({ "buyer": "0xdef" }));
//!     };
//!     Router::new().route("/market/listings/{id}/purchase", post(purchase)).layer(tower_apm::layer().module("market"))
//! }
//!
//! // your test, with `#[tokio::test]`
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let apm = TestAgent::start().await;
//! let app = app().layer(apm.layer());
//! app.oneshot(Request::post("/market/listings/7/purchase").body(Body::empty()).unwrap()).await.unwrap();
//!
//! apm.expect_transaction("POST /market/listings/{id}/purchase")
//!     .await
//!     .outcome("success")
//!     .label("module", "market")
//!     .label("token_id", "42")
//!     .user_id("0xdef")
//!     .custom("/order/buyer", "0xdef");
//! apm.expect_no_errors().await;
//! apm.assert_no_secret("hunter2");
//! # }
//! ```
//!
//! In `Cargo.toml`: `[dev-dependencies] tower-apm = { version = "…", features = ["testkit"] }`. The tests need
//! no server, no fixed port and no environment variable.
//!
//! # Layout
//!
//! - [`TestAgent`]: the agent and the server of a test. Add its [`layer`](TestAgent::layer) to the app.
//! - [`PendingTransaction`]: an expected transaction before the `.await`, with the spans and errors to wait for.
//! - [`ExpectedTransaction`], [`ExpectedSpan`], [`ExpectedError`]: the events that an expectation found, for further checks.
//! - [`Answer`]: a response of the server, for tests of failures. See [`TestAgent::answer`].
//!
//! # How expectations work
//!
//! An expectation finds events by name, not by position. Each check selects the events that pass, and fails if no event
//! passes: `.label("token_id", "42")` selects one of two requests of the same route. `expect_…` waits until an event with the
//! name has arrived, by default for ten seconds. A span of a spawned task can arrive after its transaction: put the
//! check before the `.await` (`expect_transaction("POST /pictures").span("resize", |span| span).await`), and the
//! expectation waits for the span too. Checks after the `.await` do not wait. A failure prints the
//! expectation, the nearest event, the likeliest reasons (a transaction that has not ended because the test holds the
//! response, a request that was ignored, an agent that is disabled) and everything that arrived.
//!
//! # By OTLP
//!
//! With [`TestAgentBuilder::otlp`], the agent sends OTLP. The same tests work with these differences:
//!
//! - Data that OTLP contains as labels ([`docs::otlp`](crate::docs::otlp)) is checked in the labels: `user_id`, `user_email`,
//!   `user_name`, `custom` (for an object, each expected value), well-known headers, `culprit_contains`, and a label named
//!   `type`.
//! - Causes and frames are checked in the text of the stack.
//! - An expected outcome `unknown` also accepts `success`, and `NOT_FOUND` accepts `NotFound`.
//! - `span_count` counts the spans that have arrived. Additional spans that only contain an error are not counted and not
//!   found.
//! - Data that OTLP loses is missing: a `result` of other protocols than HTTP and gRPC, other headers, and bodies.
//!
//! `field` and [`TestAgent::events`] show the events in the form in which an APM Server decodes them.
//!
//! # Global state
//!
//! The first [`TestAgent`] sets a global `tracing` subscriber. The subscriber finds the agent of a span through the span's
//! transaction. Tests can therefore run in parallel, and each test sees only its own events. This includes tasks that are
//! spawned with `.in_current_transaction()`, `.in_current_span()` or `.instrument(span)`. As with `install()`, requests have a
//! `tracing` span in this subscriber. If your service has its own subscriber, requests have no such span, and
//! `.in_current_span()` does not carry the transaction: use [`ApmFutureExt`](crate::ApmFutureExt). The test kit's subscriber prints log lines if `RUST_LOG` is set. If the process
//! already has a global subscriber, that subscriber needs
//! [`Agent::tracing_layer`](crate::Agent::tracing_layer) of any agent. A failed expectation mentions this layer.
//!
//! The first [`TestAgent`] also calls [`install_panic_hook`](crate::install_panic_hook()). The hook records a panic only in the
//! transaction that panics. The test kit sets no environment variable, and reads only `RUST_LOG`.
//!
//! A span without a transaction belongs to no test agent. Let background work start its transaction from the test's
//! own agent: `apm.agent().start_transaction(..)`.

mod agent;
mod builder;
mod by_otlp;
mod checks;
mod error;
mod expect;
mod hints;
mod nearest;
mod pending;
mod process;
mod received;
mod report;
mod scene;
mod secret;
mod snapshot;
mod span;
mod subject;
mod transaction;
mod waterfall;

pub use self::{
    agent::TestAgent, builder::TestAgentBuilder, error::ExpectedError, pending::PendingTransaction, span::ExpectedSpan,
    transaction::ExpectedTransaction,
};
pub use crate::devserver::{Answer, Kind};
