//! Exit spans for database clients that have no integration of their own.
//!
//! An agent cannot observe tokio-postgres, elasticsearch, fred and many other clients, because these have no hooks.
//! [`call`] records one call of such a client:
//!
//! ```
//! use tower_apm::db;
//!
//! # async fn execute(_: &str) -> Result<u64, std::io::Error> { Ok(1) }
//! # async fn close(id: i64) -> Result<(), std::io::Error> {
//! let sql = "UPDATE orders SET open = false WHERE id = $1";
//! let call = db::call("postgresql").instance("shop").statement(sql).address("db.example", 5432);
//! call.run(execute(sql)).await?;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(close(1)).unwrap();
//! ```
//!
//! The span is named `UPDATE orders`, has the type `db` and the subtype `postgresql`, and appears in the service map as
//! `postgresql/shop`.

use std::{borrow::Cow, error::Error, fmt, future::Future};

use opentelemetry::{KeyValue, trace::SpanKind};

pub use super::call_result::CallResult;
use super::{ExitFuture, ExitSpan, record_failure};
use crate::record::{Outcome, ROWS_AFFECTED};

/// Describes a call of a database. [`DbCall::run`] runs and records the call.
///
/// `system` is the database's name in Elastic or in OpenTelemetry's `db.system.name`: `postgresql`, `mysql`, `mariadb`,
/// `mssql`, `oracle`, `sqlite`, `cassandra`, `elasticsearch`, `mongodb`, `redis`, … It becomes the subtype of the span.
pub fn call<'a>(system: impl Into<Cow<'a, str>>) -> DbCall<'a> {
    DbCall { system: system.into(), name: None, instance: None, statement: None, address: None }
}

/// Describes a call of a database. Created by [`call`].
///
/// Nothing is copied unless the call is recorded. Outside of a transaction and in an unsampled transaction,
/// [`run`](Self::run) costs only a check.
#[derive(Clone)]
#[must_use = "nothing happens before `run`"]
pub struct DbCall<'a> {
    system: Cow<'a, str>,
    name: Option<Cow<'a, str>>,
    instance: Option<Cow<'a, str>>,
    statement: Option<Cow<'a, str>>,
    address: Option<(Cow<'a, str>, u16)>,
}

impl<'a> DbCall<'a> {
    /// Sets the name of the span. It must not contain values: `GET`, `Elasticsearch: POST /orders/_search`.
    ///
    /// Default: the verb and the table of the statement for SQL databases (`SELECT FROM orders`), otherwise the system.
    pub fn name(self, name: impl Into<Cow<'a, str>>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Sets the name of the database, keyspace or cluster. It is part of the service target: `postgresql/shop`.
    pub fn instance(self, instance: impl Into<Cow<'a, str>>) -> Self {
        Self { instance: Some(instance.into()), ..self }
    }

    /// Sets the statement. Up to 10 000 characters of it are recorded (`long_field_max_length`).
    ///
    /// Pass a statement with placeholders, because literals in SQL are not redacted. The statements of Redis and
    /// Memcached consist of values and are not recorded.
    pub fn statement(self, statement: impl Into<Cow<'a, str>>) -> Self {
        Self { statement: Some(statement.into()), ..self }
    }

    /// Sets the host name or IP address and the port of the server.
    pub fn address(self, host: impl Into<Cow<'a, str>>, port: u16) -> Self {
        Self { address: Some((host.into(), port)), ..self }
    }

    /// Runs the call and records it as an exit span of the current transaction.
    ///
    /// `Ok` gives the outcome `success`. `Err` gives `failure`, and the error is recorded with its causes. A future
    /// that is dropped before it is ready was cancelled and has the outcome `unknown`. [`CallResult`] lists the error
    /// types. For any other output, use [`run_with`](Self::run_with).
    ///
    /// The span starts when the returned future is polled for the first time, and is the current span of `call`.
    pub async fn run<F, K>(self, call: F) -> F::Output
    where
        F: Future,
        F::Output: CallResult<K>,
    {
        let span = self.start();
        let finish = |span: Option<ExitSpan>, output: F::Output| {
            if let Some(error) = output.error() {
                record_failure(span.as_ref(), error);
            }
            if let Some(span) = span {
                span.end();
            }
            output
        };
        ExitFuture::new(call, span, finish).await
    }

    /// Runs a call with any output and records it as an exit span of the current transaction.
    ///
    /// `inspect` gets the output and sets what the span records. If `inspect` sets nothing, the outcome is `success`.
    /// `inspect` is called even if the call is not recorded.
    ///
    /// ```
    /// use tower_apm::{Outcome, db};
    ///
    /// # struct Response(u16);
    /// # async fn search() -> Result<Response, Box<dyn std::error::Error + Send + Sync>> { Ok(Response(404)) }
    /// # async fn find() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let call = db::call("elasticsearch").name("Elasticsearch: POST /orders/_search");
    /// let response = call
    ///     .run_with(search(), |result, span| match result {
    ///         Ok(response) if response.0 >= 400 => span.set_outcome(Outcome::Failure),
    ///         Ok(_) => {}
    ///         Err(error) => span.fail(&**error), // a boxed error or an `anyhow::Error`
    ///     })
    ///     .await?;
    /// # let _ = response;
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(find()).unwrap();
    /// ```
    pub async fn run_with<F>(self, call: F, inspect: impl FnOnce(&F::Output, &DbSpan)) -> F::Output
    where
        F: Future,
    {
        let span = self.start();
        let finish = |span: Option<ExitSpan>, output: F::Output| {
            let span = DbSpan { span };
            inspect(&output, &span);
            if let Some(span) = span.span {
                span.end();
            }
            output
        };
        ExitFuture::new(call, span, finish).await
    }

    fn start(&self) -> Option<ExitSpan> {
        ExitSpan::start(SpanKind::Client, || self.describe())
    }

    fn describe(&self) -> (Cow<'static, str>, Vec<KeyValue>) {
        let text = |text: &Cow<'a, str>| text.clone().into_owned();
        let mut attributes = Vec::with_capacity(6);
        attributes.push(KeyValue::new("db.system.name", text(&self.system)));
        if let Some(name) = &self.name {
            // marks the name as chosen, so that the signature of the statement does not replace it
            attributes.push(KeyValue::new("db.query.summary", text(name)));
        }
        if let Some(instance) = &self.instance {
            attributes.push(KeyValue::new("db.namespace", text(instance)));
        }
        if let Some(statement) = &self.statement {
            attributes.push(KeyValue::new("db.query.text", text(statement)));
        }
        if let Some((host, port)) = &self.address {
            attributes.push(KeyValue::new("server.address", text(host)));
            attributes.push(KeyValue::new("server.port", i64::from(*port)));
        }
        (text(self.name.as_ref().unwrap_or(&self.system)).into(), attributes)
    }
}

/// Omits the statement, because it can contain values.
impl fmt::Debug for DbCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbCall")
            .field("system", &self.system)
            .field("name", &self.name)
            .field("instance", &self.instance)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The span of a completed call, for the closure of [`DbCall::run_with`].
///
/// If the call is not recorded, the methods do nothing. Only [`fail`](Self::fail) records the error in unsampled
/// transactions too.
#[derive(Debug)]
pub struct DbSpan {
    span: Option<ExitSpan>,
}

impl DbSpan {
    /// Sets the outcome to `failure` and records the error with its causes.
    pub fn fail<E: Error + 'static + ?Sized>(&self, error: &E) {
        record_failure(self.span.as_ref(), error);
    }

    /// Sets the outcome. Use this for failures without an error value.
    pub fn set_outcome(&self, outcome: Outcome) {
        if let Some(span) = &self.span {
            span.set_outcome(outcome);
        }
    }

    /// Sets the number of rows that the statement inserted, changed or deleted.
    ///
    /// Over OTLP, the number is sent as a label.
    pub fn set_rows_affected(&self, rows: u64) {
        if let Some(span) = &self.span {
            span.set_attribute(ROWS_AFFECTED, i64::try_from(rows).unwrap_or(i64::MAX));
        }
    }
}
