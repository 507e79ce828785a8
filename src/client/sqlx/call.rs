//! One statement that runs through the wrapper.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::sqlx::{Database, Error, Execute, SqlStr, error::BoxDynError};
use futures_core::Stream;
use opentelemetry::{KeyValue, trace::SpanKind};

use super::{observed_event, statement};
use crate::{
    client::{ExitSpan, record_failure},
    record::ROWS_AFFECTED,
    transaction::Transaction,
};

/// A statement for the driver. Its text is read before the driver takes it.
pub(super) struct Query<DB: Database> {
    sql: SqlStr,
    statement: Option<DB::Statement>,
    /// `None` after the driver has taken it.
    arguments: Option<Result<Option<DB::Arguments>, BoxDynError>>,
    is_persistent: bool,
}

impl<DB: Database> Query<DB> {
    fn new<'q>(mut query: impl Execute<'q, DB>) -> Self {
        let arguments = Some(query.take_arguments());
        let (statement, is_persistent) = (query.statement().cloned(), query.persistent());
        Self { sql: query.sql(), statement, arguments, is_persistent }
    }
}

impl<'q, DB: Database> Execute<'q, DB> for Query<DB> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.statement.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        self.arguments.take().unwrap_or(Ok(None))
    }

    fn persistent(&self) -> bool {
        self.is_persistent
    }
}

/// The exit span of a running statement.
pub(super) struct Call {
    span: ExitSpan,
    rows_affected: Option<KeyValue>,
    is_answered: bool,
}

impl Call {
    /// Begins the exit span. Returns the query unchanged outside of a transaction. In a transaction without spans there is no
    /// call, and errors are recorded nevertheless.
    pub(super) fn begin<'q, DB: Database, Q: Execute<'q, DB>>(
        database: &[KeyValue],
        query: Q,
    ) -> Result<(Option<Self>, Query<DB>), Q> {
        if Transaction::current().handle().is_none() {
            return Err(query);
        }
        let query = Query::<DB>::new(query);
        let sql = statement::beginning(query.sql.as_str());
        let describe = || {
            let mut attributes = Vec::with_capacity(database.len() + 2);
            attributes.extend_from_slice(database);
            attributes.push(KeyValue::new("db.query.text", sql.to_owned()));
            (statement::name(sql), attributes)
        };
        let span = ExitSpan::start(SpanKind::Client, describe);
        Ok((span.map(|span| Self { span, rows_affected: None, is_answered: false }), query))
    }

    /// Runs a part of the statement. Events that sqlx logs in this time do not become spans.
    fn run<T>(&mut self, part: impl FnOnce() -> T) -> T {
        let _entered = self.span.enter();
        let (result, rows_affected) = observed_event::run(part);
        if rows_affected.is_some() {
            self.rows_affected = rows_affected;
        }
        result
    }

    fn end(self, error: Option<&Error>) {
        if let Some(error) = error {
            self.span.fail(error);
        }
        if let Some(rows) = self.rows_affected {
            self.span.set_attribute(ROWS_AFFECTED, rows.value);
        }
        self.span.end();
    }
}

/// A stream or future of sqlx that runs in its exit span.
pub(super) struct Observed<S> {
    /// `None` after the stream or future was dropped.
    inner: Option<S>,
    /// `None` after the end of the span.
    call: Option<Call>,
}

impl<S> Observed<S> {
    pub(super) fn new(inner: S, call: Option<Call>) -> Self {
        Self { inner: Some(inner), call }
    }

    fn run<T>(&mut self, part: impl FnOnce(&mut S) -> Poll<T>) -> Poll<T> {
        // a completed stream or future is not polled again
        let Some(inner) = &mut self.inner else { return Poll::Pending };
        match &mut self.call {
            Some(call) => call.run(|| part(inner)),
            None => part(inner),
        }
    }

    /// Ends the statement. A stream can still continue after an error.
    fn end(&mut self, error: Option<&Error>) {
        match (self.call.take(), error) {
            (Some(call), error) => call.end(error),
            (None, Some(error)) => record_failure(None, error),
            (None, None) => {}
        }
    }
}

impl<S, T> Stream for Observed<S>
where
    S: Stream<Item = Result<T, Error>> + Unpin,
{
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.run(|inner| Pin::new(inner).poll_next(cx)));
        match &item {
            Some(Ok(_)) => self.call.iter_mut().for_each(|call| call.is_answered = true),
            Some(Err(error)) => self.end(Some(error)),
            None => self.end(None),
        }
        Poll::Ready(item)
    }
}

impl<S, T> Future for Observed<S>
where
    S: Future<Output = Result<T, Error>> + Unpin,
{
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.run(|inner| Pin::new(inner).poll(cx)));
        let inner = self.inner.take();
        if let Some(call) = &mut self.call {
            // sqlx logs the statement at this point at the latest
            call.run(|| drop(inner));
        }
        self.end(result.as_ref().err());
        Poll::Ready(result)
    }
}

impl<S> Drop for Observed<S> {
    fn drop(&mut self) {
        let Some(mut call) = self.call.take() else { return };
        let inner = self.inner.take();
        call.run(|| drop(inner));
        // a caller that has enough rows does not cancel the statement; otherwise the span ends as cancelled
        if call.is_answered {
            call.end(None);
        }
    }
}
