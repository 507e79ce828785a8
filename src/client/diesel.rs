//! Exit spans for the queries of [`diesel`](::diesel) 2.3 (feature `diesel`).
//!
//! Set the instrumentation once, before the first connection is established:
//!
//! ```
//! use diesel::connection::set_default_instrumentation;
//!
//! set_default_instrumentation(tower_apm::diesel::default_instrumentation)?;
//! # Ok::<(), diesel::result::Error>(())
//! ```
//!
//! - A span is named after the SQL signature (`SELECT FROM orders`). `BEGIN`, `SAVEPOINT` and `COMMIT` are recorded
//!   too.
//! - The statement is recorded without its bound values. The number of rows is not recorded, because diesel does not
//!   report it.
//! - The database, the host and the port are taken from the connection's URL. User and password are not recorded.
//! - A query that fails has the outcome `failure`, and its error is recorded. `NotFound` is not
//!   recorded as an error.
//!
//! Diesel blocks, so its queries usually run on other threads. A thread has no current transaction unless you pass it:
//!
//! ```
//! use tower_apm::Transaction;
//!
//! # fn load_orders() {}
//! # async fn handler() {
//! let tx = Transaction::current();
//! tokio::task::spawn_blocking(move || tx.in_scope(load_orders)).await.unwrap();
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(handler());
//! ```

use std::{
    collections::VecDeque,
    fmt::{self, Write},
    hash::{BuildHasher, RandomState},
    time::SystemTime,
};

use diesel::{
    connection::{DebugQuery, Instrumentation, InstrumentationEvent},
    result::Error,
};
use opentelemetry::{KeyValue, trace::SpanKind};

use super::{ExitSpan, connection_url::ConnectionUrl, record_failure};

/// The most queries of one connection that run at the same time. Only diesel-async pipelines queries.
const MAX_RUNNING: usize = 32;

/// Creates the instrumentation of a new connection, for [`set_default_instrumentation`].
///
/// Existing connections are not changed.
///
/// [`set_default_instrumentation`]: ::diesel::connection::set_default_instrumentation
pub fn default_instrumentation() -> Option<Box<dyn Instrumentation>> {
    Some(Box::new(ApmInstrumentation::default()))
}

/// Creates the instrumentation of one connection, for
/// [`set_instrumentation`](::diesel::Connection::set_instrumentation).
///
/// `url` is the URL with which the connection was established. Only the database, the host and the port are kept.
pub fn instrument(url: &str) -> ApmInstrumentation {
    ApmInstrumentation { database: ConnectionUrl::parse(url), ..ApmInstrumentation::default() }
}

/// Records the queries of one connection. See [`instrument`] and [`default_instrumentation`].
#[derive(Debug, Default)]
pub struct ApmInstrumentation {
    database: ConnectionUrl,
    running: VecDeque<Running>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Running {
    span: ExitSpan,
    start: SystemTime,
    /// A hash of the statement.
    statement: u64,
}

impl Running {
    fn cancel(self) {
        self.span.cancel_at(self.start);
    }
}

impl Instrumentation for ApmInstrumentation {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartEstablishConnection { url, .. } => self.database = ConnectionUrl::parse(url),
            InstrumentationEvent::StartQuery { query, .. } => self.start(query),
            InstrumentationEvent::FinishQuery { query, error, .. } => self.finish(query, error),
            _ => {}
        }
    }
}

impl ApmInstrumentation {
    fn start(&mut self, query: &dyn DebugQuery) {
        // queries that still run there were cancelled: a connection runs one query, or the pipelined queries of one
        // task
        let is_current = |running: &Running| running.span.is_in_current_transaction();
        if !self.running.iter().all(is_current) {
            let running = std::mem::take(&mut self.running);
            let (current, cancelled): (VecDeque<_>, VecDeque<_>) = running.into_iter().partition(is_current);
            self.running = current;
            cancelled.into_iter().for_each(Running::cancel);
        }
        let start = SystemTime::now();
        let mut hash = 0;
        let span = ExitSpan::start(SpanKind::Client, || {
            let statement = statement(query);
            hash = self.hasher.hash_one(&statement);
            let mut attributes = self.database.attributes();
            attributes.push(KeyValue::new("db.query.text", statement));
            (self.database.system().into(), attributes)
        });
        if let Some(span) = span {
            if self.running.len() == MAX_RUNNING {
                self.running.pop_front().into_iter().for_each(Running::cancel);
            }
            self.running.push_back(Running { span, start, statement: hash });
        }
    }

    fn finish(&mut self, query: &dyn DebugQuery, error: Option<&Error>) {
        let at = match self.running.len() {
            0 | 1 => 0,
            _ => {
                let hash = self.hasher.hash_one(statement(query));
                self.running.iter().position(|running| running.statement == hash).unwrap_or(0)
            }
        };
        let span = self.running.remove(at).map(|running| running.span);
        if let Some(error) = error.filter(|error| !matches!(error, Error::NotFound)) {
            record_failure(span.as_ref(), error);
        }
        if let Some(span) = span {
            span.end();
        }
    }
}

/// Returns the statement without its bound values.
fn statement(query: &dyn DebugQuery) -> String {
    let mut statement = Unbound(String::new());
    // an error means that the end of the statement was reached
    let _ = write!(statement, "{query}");
    statement.0
}

/// Keeps the text before the bound values and stops the writer there, because values can be large.
struct Unbound(String);

impl Write for Unbound {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        // the marker may come in several parts; a value that contains it comes after the first one
        const MARKER: &str = " -- binds: ";
        let mut from = self.0.len().saturating_sub(MARKER.len());
        while !self.0.is_char_boundary(from) {
            from -= 1;
        }
        self.0.push_str(part);
        match self.0[from..].find(MARKER) {
            Some(at) => {
                self.0.truncate(from + at);
                Err(fmt::Error)
            }
            None => Ok(()),
        }
    }
}
