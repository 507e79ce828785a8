//! The development server, through real HTTP: one module per question.

#[path = "../apm_server_process/mod.rs"]
mod apm_server_process;
mod client;
mod spec;

mod answers;
mod differential;
mod lifecycle;
mod listing;
mod random;
mod rules;
mod scripted;
mod streaming;
