//! What arrives by OTLP at the real server's decoder, beside what arrives natively.
//!
//! A binary of its own: it sets the global subscriber. Needs the program in `tests/apm-server`, named by
//! `APM_SERVER_DECODER`.

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
