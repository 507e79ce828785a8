//! The development server, through real HTTP: one module per question.

mod client;
mod spec;

mod answers;
mod differential;
mod lifecycle;
mod listing;
mod rules;
mod scripted;
mod streaming;
