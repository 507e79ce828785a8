//! Carries a transaction into spawned tasks and other threads.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{self, Poll},
};

use opentelemetry::Context;

use crate::{
    otel::{Entered, enter_handle, handle_from, ignored_context, otel_context},
    record::current_context,
    transaction::{Handle, Transaction},
};

/// Runs a future as part of a transaction, wherever it is polled.
///
/// A spawned task does not inherit the transaction of the code that spawns it. [`in_current_transaction`] carries the
/// transaction and the current span into the task:
///
/// ```
/// use tower_apm::ApmFutureExt;
///
/// # async fn announce_sale() {}
/// # async fn handler() {
/// tokio::spawn(announce_sale().in_current_transaction());
/// # }
/// ```
///
/// In the future, [`Transaction::current`] returns the transaction, and spans, errors, log lines and exit spans belong to
/// it. The transaction still ends with its response. Spans and errors that the future records later belong to the
/// transaction too. Labels, names and users that it sets later are dropped and counted in
/// [`Stats::late_writes`](crate::Stats::late_writes). For work with its own outcome, use [`Transaction::spawn`].
///
/// Without a transaction, the future runs unchanged.
///
/// [`in_current_transaction`]: Self::in_current_transaction
pub trait ApmFutureExt: Future + Sized {
    /// Runs the future in the transaction and the span that are current when this method is called.
    fn in_current_transaction(self) -> InTransaction<Self> {
        InTransaction::new(self, Place::current())
    }

    /// Runs the future in the given transaction.
    ///
    /// Use it for code that is called without a transaction, such as the callback of a WebSocket upgrade:
    ///
    /// ```
    /// use axum::{extract::ws::{WebSocket, WebSocketUpgrade}, response::Response};
    /// use tower_apm::{ApmFutureExt, Transaction};
    ///
    /// async fn chat(tx: Transaction, upgrade: WebSocketUpgrade) -> Response {
    ///     upgrade.on_upgrade(|socket| serve(socket).in_transaction(tx))
    /// }
    ///
    /// async fn serve(socket: WebSocket) {
    ///     // spans and errors of the connection belong to the request that opened it
    /// #     drop(socket);
    /// }
    /// # let _: axum::Router = axum::Router::new().route("/chat", axum::routing::get(chat));
    /// ```
    fn in_transaction(self, transaction: Transaction) -> InTransaction<Self> {
        InTransaction::new(self, Place::of(transaction.handle()))
    }
}

impl<F: Future> ApmFutureExt for F {}

impl Transaction {
    /// Runs blocking code in this transaction, for threads and `spawn_blocking`, which inherit no transaction.
    ///
    /// ```
    /// # fn hash(_: String) {}
    /// # async fn sign_up(tx: tower_apm::Transaction, password: String) {
    /// tokio::task::spawn_blocking(move || tx.in_scope(|| hash(password)));
    /// # }
    /// ```
    ///
    /// For async code, use [`ApmFutureExt::in_transaction`]: a future is polled only after the closure has returned. If
    /// there is no transaction behind this handle, the code runs unchanged.
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let place = Place::of(self.handle());
        let _entered = place.as_ref().map(Place::enter);
        work()
    }
}

/// A transaction or an ignored request, with the context in which its code runs.
struct Place {
    handle: Handle,
    context: Context,
}

impl Place {
    fn current() -> Option<Self> {
        let context = current_context();
        let handle = handle_from(&context);
        (!handle.is_none()).then_some(Self { handle, context })
    }

    fn of(handle: &Handle) -> Option<Self> {
        let context = match handle {
            Handle::None => return None,
            Handle::Transaction(shared) => otel_context(shared),
            Handle::Ignored(ignored) => ignored_context(ignored),
        };
        Some(Self { handle: handle.clone(), context })
    }

    fn enter(&self) -> Entered {
        enter_handle(self.handle.clone(), &self.context)
    }
}

pin_project_lite::pin_project! {
    /// The future of [`ApmFutureExt`].
    #[must_use = "futures do nothing unless they are awaited or polled"]
    pub struct InTransaction<F> {
        // `None` after it was dropped
        #[pin]
        work: Option<F>,
        place: Option<Place>,
    }

    impl<F> PinnedDrop for InTransaction<F> {
        // events that the work records while it is dropped belong to the transaction too
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.place.as_ref().map(Place::enter);
            this.work.set(None);
        }
    }
}

impl<F> InTransaction<F> {
    fn new(work: F, place: Option<Place>) -> Self {
        Self { work: Some(work), place }
    }
}

impl<F: Future> Future for InTransaction<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.place.as_ref().map(Place::enter);
        match this.work.as_pin_mut() {
            Some(work) => work.poll(cx),
            // only `drop` removes the work
            None => Poll::Pending,
        }
    }
}

impl<F> fmt::Debug for InTransaction<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handle = self.place.as_ref().map_or(&Handle::None, |place| &place.handle);
        f.debug_tuple("InTransaction").field(handle).finish()
    }
}
