//! Tests that read as sentences: an agent and a server of their own for each test, and expectations that wait.
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
//! In `Cargo.toml`: `[dev-dependencies] tower-apm = { version = "…", features = ["testkit"] }`. Nothing else is needed:
//! no server, no port, no variable.
//!
//! # Layout
//!
//! - [`TestAgent`]: start it, give its [`layer`](TestAgent::layer) to the app, expect.
//! - [`PendingTransaction`]: an expected transaction before the `.await`, with the spans and errors to wait for.
//! - [`ExpectedTransaction`], [`ExpectedSpan`], [`ExpectedError`]: the events that an expectation found, for further checks.
//! - [`Answer`]: lets the server fail on purpose, see [`TestAgent::answer`].
//!
//! # How an expectation is met
//!
//! What arrives is looked up by name, never by its place. Each check narrows down those that are left, and fails when
//! none is: `.label("token_id", "42")` selects one of two requests of the same route. `expect_…` waits until an event of
//! that name has arrived, by default for ten seconds. A span of a spawned task can arrive after its transaction: put the
//! check before the `.await` (`expect_transaction("POST /pictures").span("resize", |span| span).await`), and the
//! expectation waits for the span too. Checks after the `.await` do not wait. A failure prints the
//! expectation, the nearest event, the likeliest reasons (a transaction that has not ended because the test holds the
//! response, a request that was ignored, an agent that is disabled) and everything that arrived.
//!
//! # By OTLP
//!
//! With [`TestAgentBuilder::otlp`] the agent sends OTLP, and the same test holds. What has no place in OTLP and is sent as
//! labels ([`docs::otlp`](crate::docs::otlp)) is looked for there: `user_id`, `user_email`, `user_name`, `custom` (of an
//! object each value that is expected), the headers that are well known, `culprit_contains`, a label called `type`. Causes
//! and frames are looked for in the text of the stack. An outcome that is unknown is told as `success`, and taken for
//! it; `NOT_FOUND` is met by `NotFound`; `span_count` counts the spans that have arrived. Spans that only carry an error
//! are not counted and not found. What is lost is not there: a `result` that is neither HTTP's nor gRPC's, headers that
//! are not well known, bodies. `field` and [`TestAgent::events`] show what an APM Server would understand.
//!
//! # What is process-wide
//!
//! One `tracing` subscriber, set by the first [`TestAgent`]: it finds each span's agent through its transaction, so tests
//! run in parallel and see only their own, tasks spawned with `.in_current_transaction()`, `.in_current_span()` or
//! `.instrument(span)` included. As with `install()`, requests have a `tracing` span there. If your service has its
//! own subscriber, requests have no such span, and `.in_current_span()` does not carry the transaction: use
//! [`ApmFutureExt`](crate::ApmFutureExt). The test kit's subscriber prints log lines if `RUST_LOG` is set. If the process
//! already has a global subscriber, that subscriber needs
//! [`Agent::tracing_layer`](crate::Agent::tracing_layer) of any agent; failures remind of it. And the panic hook of
//! [`install_panic_hook`](crate::install_panic_hook()), which records into the transaction that panics and nowhere else. No variable of
//! the environment is written, and only `RUST_LOG` is read.
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
