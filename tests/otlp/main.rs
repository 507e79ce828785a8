//! Events over OTLP at the real server's decoder, compared with events over intake.
//!
//! This test needs its own binary, because it sets the global subscriber, and the program in `tests/apm-server`, which
//! `APM_SERVER_DECODER` names.

#[path = "../apm_server_process/mod.rs"]
mod apm_server_process;
#[path = "../devserver/client.rs"]
#[expect(dead_code, reason = "written for the tests of the development server")]
mod client;

mod decoder;
mod delivery;
mod differential;
mod document;
mod grouping;
mod index_checks;
mod loss;
mod metrics;
mod metrics_and_logs_failures;
mod proxies;
mod requests;
mod traffic;
