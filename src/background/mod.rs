//! Work outside of a request: jobs and messages as transactions of their own, and tasks that carry a transaction.

mod in_transaction;
mod spawn;
mod started;

pub use self::{
    in_transaction::{ApmFutureExt, InTransaction},
    started::StartedTransaction,
};
