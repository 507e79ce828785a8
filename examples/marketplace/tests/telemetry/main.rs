//! The data that the marketplace records. These tests are a separate binary, because a process has one subscriber.

mod background;
mod chat;
mod events;
mod observed;
mod panics;
mod processes;
mod purchase_trace;
mod purchases;
mod repairs;
mod requests;
mod secrets;
mod trace_tree;
