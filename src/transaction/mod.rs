//! The unit of work that is recorded: its handle, and how code below a layer finds it.
//!
//! A handle is cheap to clone, can go anywhere and never fails: outside of any transaction it does nothing but pass errors
//! on, and what is written after the end is counted in [`Stats::late_writes`](crate::Stats).

mod captured_body;
mod custom;
mod depth;
mod ended;
mod error_budget;
mod error_history;
mod errors;
mod failures;
mod filter;
mod handle;
mod ids;
mod inner;
mod lifecycle;
mod naming;
mod panics;
mod poll;
mod recorder;
mod span_user;
mod spans;
mod state;
mod user_code;
#[cfg(feature = "testkit")]
mod watch;

use std::{borrow::Cow, fmt, sync::Arc};

use serde::Serialize;

pub use self::filter::{FinishedTransaction, ReportedError};
#[cfg(feature = "testkit")]
pub(crate) use self::watch::OpenTransaction;
pub(crate) use self::{
    captured_body::CapturedBody,
    custom::{set_custom, to_json},
    filter::{ErrorFilters, TransactionFilters},
    ids::Ids,
    inner::{Handle, Ignored, Panic, Recorder, TransactionInner},
    lifecycle::new_record,
    poll::poll_and_drop,
    recorder::{install, installed, installed_or_warn, uninstall},
    spans::SpanStart,
    user_code::{UserCode, run_user_code},
};
use crate::{
    propagation::TraceContext,
    record::{LabelValue, Outcome, SpanId, TraceId, User, cut, is_nested},
};

/// A handle to a transaction: the record of a request, a message or a background job.
///
/// In axum, the type is an extractor. [`Transaction::current`] returns the transaction in any code below a layer. Every method
/// takes `&self`, is cheap, never panics and never blocks.
///
/// ```
/// use axum::{Json, extract::Path};
/// use tower_apm::Transaction;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Order {
///     token_id: String,
/// }
///
/// async fn purchase(tx: Transaction, Path(id): Path<u64>, Json(order): Json<Order>) {
///     tx.set_label("listing_id", id.to_string()) // indexed: support can search for it
///         .set_custom_context("order", &order); // stored and shown
/// }
/// # let _: axum::Router = axum::Router::new().route("/{id}", axum::routing::post(purchase));
/// ```
#[derive(Clone, Default)]
pub struct Transaction {
    handle: Handle,
}

impl Transaction {
    pub(crate) fn from_handle(handle: Handle) -> Self {
        Self { handle }
    }

    pub(crate) fn from_shared(shared: Arc<TransactionInner>) -> Self {
        Self { handle: Handle::Transaction(shared) }
    }

    pub(crate) fn ignored(ignored: Arc<Ignored>) -> Self {
        Self { handle: Handle::Ignored(ignored) }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn shared(&self) -> Option<&Arc<TransactionInner>> {
        self.handle.transaction()
    }

    /// Returns `false` for a handle without a transaction. Such a handle records only errors.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.shared().is_some()
    }

    /// Returns the id of the transaction's trace. A user can send it to your support team.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        self.shared().map(|shared| shared.ids().trace_id)
    }

    /// Returns the id of the transaction.
    #[must_use]
    pub fn id(&self) -> Option<SpanId> {
        self.shared().map(|shared| shared.ids().id)
    }

    /// Returns the id of the transaction's parent. A transaction at the root of its trace gets a new parent id.
    ///
    /// A web page can use this id for the transaction of the page load. In the trace, the page load is then the parent of the
    /// request that created the page.
    ///
    /// ```
    /// # async fn page(tx: tower_apm::Transaction) -> String {
    /// let (trace_id, parent_id) = (tx.trace_id(), tx.ensure_parent_id());
    /// # format!("{trace_id:?} {parent_id:?}")
    /// # }
    /// ```
    pub fn ensure_parent_id(&self) -> Option<SpanId> {
        let mut parent = None;
        self.update(|record| parent = Some(*record.parent_id.get_or_insert_with(SpanId::random)));
        parent
    }

    /// Adds a span link to a cause that is not the caller: a message of a batch, or the request that scheduled the work.
    ///
    /// An empty context has no effect. A transaction has at most 1000 links. Further links are dropped and counted in
    /// [`Stats::excess_links`](crate::Stats).
    pub fn link(&self, to: &TraceContext) -> &Self {
        if let (Some(shared), Some(link)) = (self.shared(), to.link()) {
            shared.link(link);
        }
        self
    }

    /// Replaces the name. The name is cut to 1024 characters.
    ///
    /// Kibana groups transactions by name, so the name must not contain ids or input of users.
    pub fn set_name(&self, name: impl Into<Cow<'static, str>>) -> &Self {
        if let Some(shared) = self.shared() {
            shared.set_name(cut(name.into()));
        }
        self
    }

    /// Replaces the result, which is `HTTP 2xx` or similar by default. The result is cut to 1024 characters.
    pub fn set_result(&self, result: impl Into<Cow<'static, str>>) -> &Self {
        let result = cut(result.into());
        self.update(|record| record.result = Some(result))
    }

    /// Replaces the outcome. By default, the outcome of a request depends on its status: 500 and above is a failure.
    pub fn set_outcome(&self, outcome: Outcome) -> &Self {
        if let Some(shared) = self.shared() {
            shared.set_outcome(outcome);
        }
        self
    }

    /// Sets a label. Labels are indexed, so you can search for them.
    ///
    /// The value is text of at most 1024 characters, a number or a boolean. Pass ids as text. `.`, `*` and `"` in a key become
    /// `_`. Use few keys, and no keys from the input of users, because each key is a field of the index. A transaction has at most
    /// 128 labels. Further labels are dropped and counted in [`Stats::excess_labels`](crate::Stats::excess_labels).
    pub fn set_label(&self, key: impl Into<Cow<'static, str>>, value: impl Into<LabelValue>) -> &Self {
        let (key, value) = (key.into(), value.into());
        let Some(shared) = self.shared() else { return self };
        let mut room = true;
        shared.update(|record| room = record.context.set_label(key, value));
        if !room {
            shared.recorder().excess_label();
        }
        self
    }

    /// Sets the user. The user is indexed, so you can search for it. Later values replace earlier ones, field by field.
    ///
    /// If this method is not called, the user is taken from the fields `user.id` (or `enduser.id`), `user.name` and
    /// `user.email` of the transaction's spans. See the guide [`users`](crate::docs::users).
    pub fn set_user(&self, user: User) -> &Self {
        if let Some(shared) = self.shared().filter(|_| user.panicked) {
            shared.recorder().contained_panic(UserCode::Display);
        }
        self.update(|record| match &mut record.context.user {
            Some(known) => known.merge(user),
            none => none.get_or_insert_default().merge(user),
        })
    }

    /// Adds custom context: any serializable value. It is stored and shown in Kibana, but not searchable.
    ///
    /// A second call with the same key replaces the value.
    ///
    /// The value is serialized at once, and redacted before it is sent (`sanitize_field_names`). A transaction has at most
    /// 128 values and 64 KiB of custom context, keys included. A value beyond these limits is replaced by a note, or left
    /// out if there is no room for the note either; both are counted in
    /// [`Stats::excess_custom`](crate::Stats::excess_custom). A value whose `Serialize` panics or takes longer than 250 ms
    /// is replaced by a note too. Data below 32 levels of objects and arrays is left out.
    pub fn set_custom_context(&self, key: impl Into<Cow<'static, str>>, value: impl Serialize) -> &Self {
        let Some(shared) = self.shared() else { return self };
        let key = cut(key.into());
        let recorder = shared.recorder();
        if is_nested() {
            // the `Serialize` of a value sets a value whose `Serialize` sets a value
            recorder.excess_custom(1);
            return self;
        }
        let Some(room) = shared.read(|record| record.context.room_for_custom(&key)) else {
            recorder.late_write();
            return self;
        };
        if let Some(json) = to_json(&value, room, recorder) {
            self.update(|record| set_custom(&mut record.context, key, json, recorder));
        }
        self
    }

    /// Discards the transaction: it and its spans are not sent.
    ///
    /// Use it for requests that only the code can identify as irrelevant, for example a poll without a result. To ignore
    /// requests by path, use the option `transaction_ignore_urls`. To decide at the end, use
    /// [`AgentBuilder::transaction_filter`](crate::AgentBuilder::transaction_filter).
    ///
    /// - The trace is still propagated to other services, as not sampled (`traceparent` ends with `-00`). Propagators of
    ///   other crates send the sampled flag that the transaction had at its start.
    /// - Errors are still sent, with the context of the transaction. Their transaction is marked as not sampled.
    /// - A span that ended before this call can have been sent already, unless the agent has a transaction filter. With a
    ///   filter, spans are sent after the end of the transaction. Discard a transaction as early as possible.
    /// - The transaction is not included in the metrics of its service.
    ///
    /// The transaction and the spans that were recorded but not sent are counted in
    /// [`Stats::discarded`](crate::Stats::discarded). A call after the end of the transaction has no effect and is counted
    /// in [`Stats::late_writes`](crate::Stats::late_writes).
    ///
    /// ```
    /// use tower_apm::Transaction;
    ///
    /// # fn news() -> Option<String> { None }
    /// async fn poll(tx: Transaction) -> String {
    ///     let Some(news) = news() else {
    ///         tx.discard();
    ///         return String::new();
    ///     };
    ///     news
    /// }
    /// # let _: axum::Router = axum::Router::new().route("/poll", axum::routing::get(poll));
    /// ```
    pub fn discard(&self) -> &Self {
        if let Some(shared) = self.shared() {
            shared.discard_by_code();
        }
        self
    }

    /// No code of the user's may run in `change`: a panic there would meet the panic hook with the lock held.
    fn update(&self, change: impl FnOnce(&mut crate::record::TransactionRecord)) -> &Self {
        if let Some(shared) = self.shared() {
            shared.update(change);
        }
        self
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}
