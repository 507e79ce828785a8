//! Detects statements that sqlx runs on its own. They belong to a connection and not to the work of the service.

/// The beginnings of the type and column lookups of sqlx 0.8 and 0.9 on PostgreSQL.
///
/// sqlx runs a lookup once per connection for each type that is not built in.
const POSTGRESQL_LOOKUPS: [&str; 9] = [
    "SELECT pg_type.oid,\n",
    "SELECT\nattrelid table_oid,\n",
    "SELECT NOT attnotnull FROM ( ",
    "SELECT oid::regtype::text, typtype, typcategory,",
    "SELECT oid, typarray FROM pg_catalog.pg_type WHERE oid = $1::regtype",
    "SELECT $1::regtype::oid",
    "SELECT enumlabel\nFROM pg_catalog.pg_enum\n",
    "SELECT attname, atttypid\nFROM pg_catalog.pg_attribute\n",
    "SELECT rngsubtype\nFROM pg_catalog.pg_range\n",
];

/// The settings of a new connection to MySQL and MariaDB.
const MYSQL_SETTINGS: [&str; 3] = ["SET sql_mode=(SELECT CONCAT(@@sql_mode, '", "SET time_zone='", "SET NAMES "];

/// Returns true if sqlx runs this statement when a connection opens or closes, or to look up a type.
pub(super) fn is_of_connection(sql: &str) -> bool {
    let begins_with = |text: &&str| sql.starts_with(*text);
    // the first letter decides for most statements
    match sql.as_bytes().first() {
        Some(b'\n') => POSTGRESQL_LOOKUPS.iter().any(|text| sql[1..].starts_with(text)),
        Some(b'S') => {
            POSTGRESQL_LOOKUPS.iter().any(begins_with) || sql.ends_with(';') && MYSQL_SETTINGS.iter().any(begins_with)
        }
        // sqlx writes a space after each pragma of a new connection to SQLite
        Some(b'P') => sql.starts_with("PRAGMA ") && (sql.ends_with("; ") || sql.ends_with("PRAGMA optimize;")),
        Some(b'U') => sql == "UNLISTEN *",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_sqlx_runs_for_a_connection_are_recognised() {
        for sql in [
            "SET sql_mode=(SELECT CONCAT(@@sql_mode, ',PIPES_AS_CONCAT,NO_ENGINE_SUBSTITUTION')),time_zone='+00:00',NAMES utf8mb4;",
            "SET time_zone='+00:00',NAMES utf8mb4 COLLATE utf8mb4_unicode_ci;",
            "SET NAMES utf8mb4;",
            "PRAGMA foreign_keys = ON; ",
            "PRAGMA foreign_keys = ON; PRAGMA journal_mode = WAL; ",
            "PRAGMA analysis_limit = 400; PRAGMA optimize;",
            "UNLISTEN *",
            "SELECT pg_type.oid,\n     pg_type.oid::regtype::text pretty_name,\n",
            "\nSELECT enumlabel\nFROM pg_catalog.pg_enum\nWHERE enumtypid = $1\nORDER BY enumsortorder\n            ",
        ] {
            assert!(is_of_connection(sql), "{sql}");
        }
        for sql in [
            "SET time_zone = '+00:00'",
            "SELECT * FROM pg_catalog.pg_type",
            "SELECT id FROM orders",
            "\nSELECT id FROM orders",
            "PRAGMA table_info(orders)",
            "PRAGMA journal_mode = WAL",
            "UPDATE orders SET id = 1",
            "",
            "é",
        ] {
            assert!(!is_of_connection(sql), "{sql}");
        }
    }
}
