//! SQL through [sqlx](https://docs.rs/sqlx): exit spans for statements.
//!
//! sqlx logs each statement as a `tracing` event of the target `sqlx::query`. The agent's `tracing` layer creates an
//! exit span from each event, so a service that uses sqlx, or SeaORM on top of it, needs no code for its SQL spans. The
//! events contain neither errors nor the name of the database:
//!
//! - The outcome of the spans is `unknown`.
//! - [`AgentBuilder::sqlx`](crate::AgentBuilder::sqlx) sets the database. See [`SqlxDatabase`].
#![cfg_attr(
    feature = "sqlx",
    doc = "
With the feature `sqlx`, [`instrument`] wraps a pool. Its spans have the exact outcome, address and database, and the
errors of failed statements are recorded."
)]

#[cfg(feature = "sqlx")]
mod call;
mod companion;
mod connection_statement;
mod database;
mod database_url;
mod event;
#[cfg(feature = "sqlx")]
mod instrument;
#[cfg(feature = "sqlx")]
mod observed_event;
mod statement;

#[cfg(feature = "sqlx")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlx")))]
pub use self::instrument::{Instrumented, InstrumentedPool, instrument};
pub(crate) use self::{companion::start_span, event::record};
pub use self::{
    database::{IntoSqlxDatabase, SqlxDatabase},
    database_url::SqlxUrlError,
};
