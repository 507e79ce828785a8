//! The name and the attributes of the exit span of a statement, except for the database.

use std::borrow::Cow;

use opentelemetry::KeyValue;

use crate::{
    record::{ROWS_AFFECTED, boundary},
    semconv::signature,
};

/// The most bytes of a statement that a span keeps until it is sent. `long_field_max_length` cuts it further.
const MAX_STATEMENT: usize = 300 * 1024;

/// Returns the beginning of a statement, up to the length that can be sent.
pub(super) fn beginning(sql: &str) -> &str {
    &sql[..boundary(sql, MAX_STATEMENT)]
}

/// Returns the name of the span, which is the signature of the statement.
pub(super) fn name(sql: &str) -> Cow<'static, str> {
    Cow::Owned(signature(sql).into_owned())
}

/// Returns the attribute for the number of rows that a statement changed, for statements that change rows.
///
/// For other statements, the number has no meaning: PostgreSQL counts the rows of a `SELECT`, and SQLite repeats the
/// number of the last statement that changed any.
pub(super) fn rows_affected(name: &str, rows: u64) -> Option<KeyValue> {
    let changes = ["INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"].iter().any(|verb| name.starts_with(verb));
    let rows = i64::try_from(rows).ok().filter(|_| changes)?;
    Some(KeyValue::new(ROWS_AFFECTED, rows))
}
