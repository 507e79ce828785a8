//! A small NFT marketplace: an example of a service that is observed with Elastic APM.
//!
//! ```text
//! src/main.rs        the commands: the API, the consumer, the chain, the health check and the demo
//! src/app.rs         the application: its parts and its router
//! src/health.rs      GET /health, and the health check of a process
//! src/telemetry.rs   sets up the agent and a development server
//! src/market/        listings and purchases
//! src/wallet/        balances, the log of their changes, and the history
//! src/chat/          rooms with event streams and WebSockets, in one process or through Redis
//! src/chain/         the blockchain that settles purchases: a client, and an embedded chain
//! src/customer.rs    the extractor of the user: the header `x-user-id` in place of real authentication
//! src/input.rs       extractors for bodies, paths and queries; a rejection names the field
//! src/error.rs       errors as responses
//! src/money.rs       exact amounts
//! src/config/        the environment variables
//! src/data_source/   the databases and their migrations
//! src/demo/          a few minutes of traffic
//! ```
//!
//! Each of `market`, `wallet` and `chat` has a router (`mod.rs`), handlers (`routes.rs`), a service without HTTP (`service.rs`)
//! and tables (`entity.rs`). Each fact is recorded where it is known: the name and the hooks of a module in its `mod.rs`, the
//! user in `customer.rs`, ids and custom context in the handlers, and the error behind a response in `error.rs`.

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
