//! The development server, through real HTTP: one module per question.

#[path = "../apm_server_process/mod.rs"]
mod apm_server_process;
mod client;
#[path = "../otlp/requests.rs"]
#[expect(dead_code, reason = "more of it is compared with the real server's documents")]
mod requests;
mod spec;

mod answers;
mod bounds;
mod connections;
mod differential;
mod lifecycle;
mod listing;
mod origins;
mod otlp;
mod otlp_bad_input;
mod published;
mod random;
mod rules;
mod scripted;
mod streaming;
