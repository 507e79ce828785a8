//! Keys of SQL statements. A key identifies a statement in a database span and in an event that sqlx logs.

use std::hash::{DefaultHasher, Hash, Hasher};

use opentelemetry::{KeyValue, Value};

/// The maximum number of bytes of a statement that are compared.
const MAX_COMPARED: usize = 4096;

/// Identifies a statement by the beginning of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatementKey(u64);

impl StatementKey {
    /// Returns the key of a statement. Leading and trailing white space has no effect.
    pub(crate) fn of(sql: &str) -> Self {
        let sql = sql.trim().as_bytes();
        let mut hasher = DefaultHasher::new();
        sql[..sql.len().min(MAX_COMPARED)].hash(&mut hasher);
        Self(hasher.finish())
    }

    /// Returns the key of the statement that the attributes of a span contain.
    pub(crate) fn in_attributes(attributes: &[KeyValue]) -> Option<Self> {
        let is_text = |attribute: &&KeyValue| matches!(attribute.key.as_str(), "db.query.text" | "db.statement");
        match &attributes.iter().find(is_text)?.value {
            Value::String(sql) => Some(Self::of(sql.as_str())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ignores_leading_and_trailing_white_space() {
        assert_eq!(StatementKey::of("\n  SELECT 1\n"), StatementKey::of("SELECT 1"));
        assert_ne!(StatementKey::of("SELECT  1"), StatementKey::of("SELECT 1"));
        let long = "é".repeat(MAX_COMPARED);
        assert_eq!(StatementKey::of(&long), StatementKey::of(&format!("{long}, 2")));
    }

    #[test]
    fn key_is_read_from_attributes_of_old_and_new_conventions() {
        for name in ["db.query.text", "db.statement"] {
            let attributes = [KeyValue::new("db.system", "sqlite"), KeyValue::new(name, "SELECT 1")];
            assert_eq!(StatementKey::in_attributes(&attributes), Some(StatementKey::of("SELECT 1")));
        }
        assert_eq!(StatementKey::in_attributes(&[KeyValue::new("db.statement", 1)]), None);
        assert_eq!(StatementKey::in_attributes(&[KeyValue::new("url.full", "SELECT 1")]), None);
    }
}
