//! Creates the exit span of a statement from the event that sqlx logs.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    KeyValue,
    trace::{SpanKind, TraceContextExt},
};
use tracing::{
    Event,
    field::{Field, Visit},
};

#[cfg(feature = "sqlx")]
use super::observed_event;
use super::{
    connection_statement::is_of_connection,
    statement::{self, beginning, rows_affected},
};
use crate::{
    client::{ExitSpan, exit_span::is_in_database_call},
    otel::transaction_from,
    record::{OUTCOME, Outcome, SpanId, current_context, is_contained, is_thread_ending},
};

/// The fields of the event.
#[derive(Default)]
struct Fields {
    /// `summary` is the statement, or the first four words of a statement that is in `db.statement`.
    sql: String,
    rows_affected: u64,
    elapsed: Duration,
}

impl Fields {
    fn set_sql(&mut self, sql: &str) {
        self.sql = beginning(sql).to_owned();
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" if self.sql.is_empty() => self.set_sql(value),
            // sqlx writes the statement on separate lines
            "db.statement" if !value.is_empty() => {
                let sql = value.strip_prefix("\n\n").unwrap_or(value);
                self.set_sql(sql.strip_suffix('\n').unwrap_or(sql));
            }
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "rows_affected" {
            self.rows_affected = value;
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.elapsed = Duration::try_from_secs_f64(value).unwrap_or_default();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Records a statement as an exit span below the current span.
///
/// On the thread on which sqlx logs, the bridge has made the span of the caller current. No span is recorded if the
/// statement already has a span: the current span is an open database call, or a database span of the transaction has
/// the same statement.
pub(crate) fn record(event: &Event<'_>) {
    if is_thread_ending() || is_contained() {
        return;
    }
    let mut fields = Fields::default();
    event.record(&mut fields);
    let parent = current_context();
    let shared = transaction_from(&parent).filter(|shared| shared.records_spans());
    // this lookup comes first: it also marks the span, so that the span accounts for no other event
    let has_span = shared.as_ref().is_some_and(|shared| shared.has_span_of(&fields.sql));
    #[cfg(feature = "sqlx")]
    if observed_event::is_observed() {
        // statements of the connection change no rows
        let rows = rows_affected(&statement::name(&fields.sql), fields.rows_affected);
        return observed_event::set_rows_affected(rows);
    }
    // sqlx logs in the `tracing` span of its caller, which hides the exit span around it
    if has_span || is_in_database_call() || is_of_connection(&fields.sql) || parent.is_telemetry_suppressed() {
        return;
    }
    let Some(shared) = shared else { return };
    let parent_id = SpanId(u64::from_be_bytes(parent.span().span_context().span_id().to_bytes()));
    if shared.is_open_database_call(parent_id) {
        return;
    }
    let end = SystemTime::now();
    let start = end.checked_sub(fields.elapsed).unwrap_or(end);
    let describe = || {
        let name = statement::name(&fields.sql);
        let rows = rows_affected(&name, fields.rows_affected);
        let database = shared.recorder().database();
        let mut attributes = Vec::with_capacity(database.len() + 3);
        if database.is_empty() {
            attributes.push(KeyValue::new("db.system.name", "sql"));
        }
        attributes.extend_from_slice(database);
        attributes.push(KeyValue::new("db.query.text", fields.sql));
        // a failed statement has the same event
        attributes.push(KeyValue::new(OUTCOME, Outcome::Unknown.as_str()));
        attributes.extend(rows);
        (name, attributes)
    };
    if let Some(span) = ExitSpan::start_at(&parent, SpanKind::Client, Some(start), describe) {
        span.end_at(end);
    }
}
