//! Background work that is started by another transaction.

use std::{borrow::Cow, future::Future};

use tokio::task::JoinHandle;

use super::started::{StartedTransaction, installed_agent};
use crate::{
    record::Link,
    transaction::{Handle, Transaction, TransactionInner},
};

/// The type of transactions that [`Transaction::start_background`] starts.
const BACKGROUND: &str = "background";

impl Transaction {
    /// Spawns a Tokio task as a transaction of its own, which is linked to this transaction.
    ///
    /// Use it for work that outlives the request and has its own outcome, such as sending a receipt. The response does not
    /// wait for the task. For work that is part of the request, use [`ApmFutureExt`](crate::ApmFutureExt).
    ///
    /// ```
    /// use tower_apm::Transaction;
    ///
    /// # async fn send_receipt(_id: u64) {}
    /// async fn purchase(tx: Transaction) -> &'static str {
    ///     tx.spawn("send receipt", send_receipt(7));
    ///     "sold"
    /// }
    /// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(purchase));
    /// ```
    ///
    /// [`start_background`](Self::start_background) documents the new transaction. It starts when `spawn` is called, so
    /// its duration includes the time that the task waits for a worker. A panic in the task is recorded as an unhandled
    /// error, and a task that is aborted has the outcome `unknown`.
    ///
    /// # Panics
    ///
    /// Panics if it is called outside of a Tokio runtime, as [`tokio::spawn`] does. In a service without Tokio, run
    /// the future of `tx.start_background(name).run(work)` on your own executor.
    #[track_caller]
    pub fn spawn<F>(&self, name: impl Into<Cow<'static, str>>, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(self.start_background(name).run(work))
    }

    /// Starts a transaction of the type `background`, which is linked to this transaction.
    ///
    /// The new transaction is the root of its own trace. Kibana shows the link in both transactions. It has the user of
    /// this transaction, unless this transaction has ended, and it belongs to the same agent. The name must not contain
    /// ids, because Kibana groups transactions by name.
    ///
    /// ```
    /// use tower_apm::Transaction;
    ///
    /// # fn resize() {}
    /// async fn upload(tx: Transaction) {
    ///     let work = tx.start_background("resize picture");
    ///     tokio::task::spawn_blocking(move || work.in_scope(resize)); // also for JoinSet, threads and other executors
    /// }
    /// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(upload));
    /// ```
    ///
    /// If this handle has no transaction, the new transaction belongs to the installed agent and has no link. If the
    /// request is ignored, the work is ignored too.
    #[must_use = "the transaction ends when it is dropped"]
    pub fn start_background(&self, name: impl Into<Cow<'static, str>>) -> StartedTransaction {
        let start = |recorder| StartedTransaction::new(recorder, None, name.into(), BACKGROUND.into());
        match self.handle() {
            Handle::None => start(installed_agent()),
            Handle::Ignored(ignored) => StartedTransaction::in_ignored(ignored),
            Handle::Transaction(cause) => {
                let started = start(Some(cause.recorder().clone()));
                if let Some(shared) = started.shared() {
                    add_cause(shared, cause);
                }
                started
            }
        }
    }
}

fn add_cause(shared: &TransactionInner, cause: &TransactionInner) {
    let user = cause.read(|record| record.context.user.clone()).flatten();
    let (trace_id, span_id) = (cause.ids().trace_id, cause.ids().id);
    shared.link(Link { trace_id, span_id });
    shared.update(|record| record.context.user = user);
}
