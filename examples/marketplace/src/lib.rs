//! A small NFT marketplace, written to show what a service looks like that tells Elastic APM who did what.
//!
//! ```text
//! src/main.rs        serves the API, or runs the demo
//! src/app.rs         the whole application as one router, and what it starts with
//! src/health.rs      whether the process can work
//! src/telemetry.rs   all that concerns APM's set-up: the agent, and a development server to look at its events
//! src/market/        listings and purchases
//! src/wallet/        balances, the log of their changes, and the history
//! src/chat/          rooms with event streams and WebSockets, in one process or through Redis
//! src/chain/         the chain that settles purchases: a client, and a small chain to talk to
//! src/customer.rs    who is asking: the header `x-user-id`, which stands for real authentication
//! src/input.rs       what clients send: bodies, paths and queries, refused with the field's name
//! src/error.rs       what clients get when something went wrong
//! src/money.rs       exact amounts
//! src/config/        the environment variables
//! src/data_source/   the databases and their migrations
//! src/demo.rs        a few minutes of realistic traffic
//! ```
//!
//! Each of `market`, `wallet` and `chat` holds `mod.rs` (its router), `routes.rs` (HTTP), `service.rs` (what it does, no HTTP)
//! and `entity.rs` (its table). What APM is told stands where it is known: a module's name and hooks in its `mod.rs`, the user
//! in `customer.rs`, ids and custom context in the handlers, the error behind an answer in `error.rs`.

pub mod app;
pub mod chain;
pub mod chat;
mod clock;
pub mod config;
pub mod customer;
pub mod data_source;
pub mod demo;
pub mod error;
pub mod health;
mod http_client;
pub mod input;
pub mod market;
pub mod money;
pub mod telemetry;
mod uninterrupted;
pub mod wallet;

pub use app::{App, app};
