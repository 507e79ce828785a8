//! Work outside of a request: scheduled jobs, message consumers, start-up tasks.

use std::{
    any::Any,
    borrow::Cow,
    fmt,
    future::Future,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{self, Poll, ready},
};

use opentelemetry::trace::SpanContext;
use tracing::Span;

use crate::{
    config::Config,
    otel::{Entered, enter_handle, enter_own, ignored_context, new_request_span, otel_context},
    propagation::{Incoming, TraceContext},
    record::{Monotonic, Name, Outcome, TransactionRecord, cut, is_nested},
    transaction::{
        Ids, Ignored, Recorder, Transaction, TransactionInner, installed_or_warn, new_record, poll_and_drop,
    },
};

impl Transaction {
    /// Starts a transaction that is not a request, in a trace of its own, for the installed agent.
    ///
    /// `transaction_type` is `scheduled`, `messaging` or another word of low cardinality. If no agent is installed, the
    /// transaction does nothing and one warning is logged. To use a given agent, call
    /// [`Agent::start_transaction`](crate::Agent::start_transaction). For work that a request starts, see
    /// [`spawn`](Self::spawn).
    ///
    /// ```
    /// use tower_apm::Transaction;
    ///
    /// # async fn settle() {}
    /// # async fn nightly() {
    /// Transaction::start("settle auctions", "scheduled").run(settle()).await;
    /// # }
    /// ```
    #[must_use = "it ends when it is dropped"]
    pub fn start(
        name: impl Into<Cow<'static, str>>,
        transaction_type: impl Into<Cow<'static, str>>,
    ) -> StartedTransaction {
        StartedTransaction::new(installed_agent(), None, name.into(), transaction_type.into())
    }

    /// Starts a transaction in the trace of its sender. See [`trace_context`](crate::trace_context).
    ///
    /// The option `trace_continuation_strategy` applies. An empty context starts a new trace. For messages, use
    /// [`messaging::receive`](crate::messaging::receive), which also records the queue, the age, the headers and the
    /// body.
    ///
    /// ```
    /// use tower_apm::{Transaction, trace_context};
    ///
    /// # async fn settle() {}
    /// # async fn consume(headers: &http::HeaderMap) {
    /// let sender = trace_context::extract(headers);
    /// Transaction::start_from(&sender, "settle auctions", "scheduled").run(settle()).await;
    /// # }
    /// ```
    #[must_use = "it ends when it is dropped"]
    pub fn start_from(
        sender: &TraceContext,
        name: impl Into<Cow<'static, str>>,
        transaction_type: impl Into<Cow<'static, str>>,
    ) -> StartedTransaction {
        StartedTransaction::new(installed_agent(), Some(sender), name.into(), transaction_type.into())
    }
}

pub(super) fn installed_agent() -> Option<Arc<Recorder>> {
    static WARNED: AtomicBool = AtomicBool::new(false);
    installed_or_warn(&WARNED, "a transaction was started, but no agent is installed: it is not recorded")
}

/// A transaction that ends when it is dropped, or when the work given to [`run`](Self::run) is done.
///
/// The outcome is `success` unless an error was captured in the transaction or [`set_outcome`](Transaction::set_outcome) sets
/// another outcome.
#[must_use = "it ends when it is dropped"]
pub struct StartedTransaction {
    transaction: Transaction,
    /// In which it runs. None where nothing is recorded.
    context: Option<opentelemetry::Context>,
}

impl StartedTransaction {
    pub(crate) fn new(
        recorder: Option<Arc<Recorder>>,
        sender: Option<&TraceContext>,
        name: Cow<'static, str>,
        transaction_type: Cow<'static, str>,
    ) -> Self {
        let recorder = recorder.filter(|recorder| recorder.is_recording() && !is_nested());
        let Some(recorder) = recorder else { return Self::off() };
        let config = recorder.snapshot();
        Self::begin(recorder, config, sender, name, transaction_type, |_, _| {})
    }

    /// Returns work that is not recorded.
    pub(crate) fn off() -> Self {
        Self { transaction: Transaction::default(), context: None }
    }

    /// Starts a transaction with the current options. `complete` adds data to the new record before it is used.
    pub(crate) fn begin(
        recorder: Arc<Recorder>,
        config: Arc<Config>,
        sender: Option<&TraceContext>,
        name: Cow<'static, str>,
        transaction_type: Cow<'static, str>,
        complete: impl FnOnce(&mut TransactionRecord, &Config),
    ) -> Self {
        let incoming = sender.and_then(|sender| sender.incoming().cloned());
        let continued = incoming.map(|incoming| Ids::from_remote(incoming, &config));
        let (ids, link) = continued.unwrap_or_else(|| (Ids::new_root(&config), None));
        recorder.note_runtime();
        let began = Monotonic::now();
        let mut record = new_record(&ids, cut(transaction_type), Name::Text(cut(name)), began);
        record.links.extend(link);
        complete(&mut record, &config);
        let shared = TransactionInner::new(recorder, config, ids, began, record);
        let mut context = otel_context(&shared);
        if let Some(sender) = sender {
            context = sender.with_baggage(context);
        }
        shared.attach_baggage(&context);
        Self { transaction: Transaction::from_shared(shared), context: Some(context) }
    }

    /// Returns work without a transaction and spans. The sender's trace is passed on, and errors are sent without a
    /// transaction.
    pub(crate) fn ignored(recorder: Arc<Recorder>, sender: &TraceContext) -> Self {
        let place = sender.incoming().map_or_else(SpanContext::empty_context, Incoming::span_context);
        let ignored = Arc::new(Ignored::new(recorder, place));
        let context = sender.with_baggage(ignored_context(&ignored));
        Self { transaction: Transaction::ignored(ignored), context: Some(context) }
    }

    /// Makes the work current until the guard is dropped. Returns `None` if nothing is recorded.
    fn enter(&self) -> Option<Entered> {
        self.context.as_ref().map(|context| enter_handle(self.transaction.handle().clone(), context))
    }

    /// Returns work of an ignored request, in which only errors are recorded.
    pub(super) fn in_ignored(ignored: &Arc<Ignored>) -> Self {
        let context = Some(ignored_context(ignored));
        Self { transaction: Transaction::ignored(ignored.clone()), context }
    }

    /// Runs a future as this transaction: [`Transaction::current`] and all spans below find it. Ends with the future.
    ///
    /// A panic is recorded as an unhandled error and goes on; a future that is dropped before its end leaves the
    /// outcome unknown.
    pub fn run<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        let span = self.enter().map_or_else(Span::none, |_entered| new_request_span(None));
        Running { work: Some(work), span, started: Some(self) }
    }

    /// Runs blocking code as this transaction.
    pub fn in_scope<T>(self, work: impl FnOnce() -> T) -> T {
        let entered = self.enter();
        let span = if entered.is_some() { new_request_span(None) } else { Span::none() };
        let result = enter_own(&span, || catch_unwind(AssertUnwindSafe(work)));
        drop(entered);
        self.settle(result)
    }

    /// Ends the transaction now. Dropping the transaction has the same effect.
    ///
    /// Use this method if the work is not a single future for [`run`](Self::run) or closure for [`in_scope`](Self::in_scope).
    ///
    /// ```
    /// use tower_apm::{Outcome, Transaction};
    ///
    /// let job = Transaction::start("settle auctions", "scheduled");
    /// job.set_label("auctions", 3).set_outcome(Outcome::Success);
    /// job.end();
    /// ```
    pub fn end(self) {
        drop(self);
    }

    fn settle<T>(self, result: Result<T, Box<dyn Any + Send>>) -> T {
        match result {
            Ok(result) => result,
            Err(panic) => {
                self.transaction.handle().panicked(&*panic);
                drop(self);
                resume_unwind(panic)
            }
        }
    }
}

impl Deref for StartedTransaction {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

impl Drop for StartedTransaction {
    fn drop(&mut self) {
        if let Some(shared) = self.transaction.shared() {
            let outcome = if shared.has_own_errors() { Outcome::Failure } else { Outcome::Success };
            shared.end(|_| outcome);
        }
    }
}

impl fmt::Debug for StartedTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transaction.fmt(f)
    }
}

pin_project_lite::pin_project! {
    struct Running<F> {
        // None: it was dropped as a part of the transaction
        #[pin]
        work: Option<F>,
        span: Span,
        started: Option<StartedTransaction>,
    }

    impl<F> PinnedDrop for Running<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let Some(started) = this.started.as_ref() else { return };
            let Some(entered) = started.enter() else { return };
            let dropped = enter_own(this.span, || catch_unwind(AssertUnwindSafe(|| this.work.set(None))));
            if let Err(panic) = &dropped {
                started.handle().panicked(&**panic);
            }
            drop(entered);
            if let Some(shared) = started.shared() {
                shared.end(|_| Outcome::Unknown);
            }
            if let Err(panic) = dropped {
                resume_unwind(panic);
            }
        }
    }
}

impl<F: Future> Future for Running<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let entered = this.started.as_ref().and_then(StartedTransaction::enter);
        let work = this.work.as_mut();
        let polled = enter_own(this.span, || catch_unwind(AssertUnwindSafe(|| poll_and_drop(work, cx))));
        drop(entered);
        let result = match polled {
            Ok(poll) => Ok(ready!(poll)),
            Err(panic) => Err(panic),
        };
        match this.started.take() {
            Some(started) => Poll::Ready(started.settle(result)),
            None => Poll::Ready(result.unwrap_or_else(|panic| resume_unwind(panic))),
        }
    }
}
