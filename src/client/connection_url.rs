//! The target of a database connection, read from its URL without the credentials.

use opentelemetry::KeyValue;
use percent_encoding::percent_decode_str;

/// The system, database and address of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionUrl {
    system: &'static str,
    database: Option<String>,
    host: Option<String>,
    port: Option<u16>,
}

impl Default for ConnectionUrl {
    fn default() -> Self {
        // OpenTelemetry's name for a database that speaks SQL
        Self { system: "other_sql", database: None, host: None, port: None }
    }
}

impl ConnectionUrl {
    /// Reads `postgres://…`, `postgresql://…`, `mysql://…`, `mariadb://…` and PostgreSQL's `host=… dbname=…`. Anything
    /// else is taken for the path of an SQLite database. The path is not kept.
    pub(crate) fn parse(url: &str) -> Self {
        match url.split_once("://") {
            Some(("postgres" | "postgresql", rest)) => Self::of_url("postgresql", 5432, rest),
            Some(("mysql", rest)) => Self::of_url("mysql", 3306, rest),
            Some(("mariadb", rest)) => Self::of_url("mariadb", 3306, rest),
            _ if is_key_value(url) => Self::of_pairs(url),
            _ => Self { system: "sqlite", ..Self::default() },
        }
    }

    fn of_url(system: &'static str, default_port: u16, rest: &str) -> Self {
        let none = Self { system, ..Self::default() };
        let (rest, parameters) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
        if parameters.contains('@') {
            // a password that is not percent-encoded: its end is not known
            return none;
        }
        let rest = rest.rsplit_once('@').map_or(rest, |(_credentials, rest)| rest);
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        let first = hosts.split(',').next().unwrap_or_default();
        let (host, port) = match first.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => first.split_once(':').map_or((first, None), |(host, port)| (host, Some(port))),
        };
        let host = decoded(host);
        // a path is the path of a Unix socket
        let host = host.filter(|host| !host.starts_with('/'));
        let port = host.as_ref().and_then(|_| port.map_or(Some(default_port), |port| port.parse().ok()));
        Self { database: decoded(database), host, port, ..none }
    }

    fn of_pairs(text: &str) -> Self {
        let mut found = Self { system: "postgresql", ..Self::default() };
        for (key, value) in pairs(text) {
            match key.as_str() {
                "dbname" => found.database = Some(value),
                "host" if !value.starts_with('/') => found.host = Some(value),
                "port" => found.port = value.parse().ok(),
                _ => {}
            }
        }
        found
    }

    /// Returns OpenTelemetry's name of the database system.
    pub(crate) fn system(&self) -> &'static str {
        self.system
    }

    /// Returns the system, the database and the address as attributes of a span.
    pub(crate) fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(5);
        attributes.push(KeyValue::new("db.system.name", self.system));
        if let Some(database) = &self.database {
            attributes.push(KeyValue::new("db.namespace", database.clone()));
        }
        if let Some(host) = &self.host {
            attributes.push(KeyValue::new("server.address", host.clone()));
        }
        if let Some(port) = self.port {
            attributes.push(KeyValue::new("server.port", i64::from(port)));
        }
        attributes
    }
}

fn decoded(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| percent_decode_str(text).decode_utf8_lossy().into_owned())
}

/// Returns true for libpq's form with keywords.
fn is_key_value(text: &str) -> bool {
    let word = text.trim_start().split(|char: char| !char.is_ascii_lowercase() && char != '_').next();
    let word = word.unwrap_or_default();
    !word.is_empty() && text.trim_start()[word.len()..].trim_start().starts_with('=')
}

/// Returns the pairs of `key = value`. A value with spaces is in single quotes. A backslash escapes the next character.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        while chars.next_if(|char| char.is_whitespace()).is_some() {}
        let mut key = String::new();
        while let Some(char) = chars.next_if(|char| *char != '=') {
            key.push(char);
        }
        chars.next()?;
        while chars.next_if(|char| char.is_whitespace()).is_some() {}
        let is_quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        while let Some(char) = chars.next() {
            match char {
                '\\' => value.extend(chars.next()),
                '\'' if is_quoted => break,
                char if char.is_whitespace() && !is_quoted => break,
                char => value.push(char),
            }
        }
        Some((key.trim_end().to_owned(), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let ConnectionUrl { system, database, host, port } = ConnectionUrl::parse(url);
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        format!("{system} {} {} {}", text(database), text(host), text(port.map(|port| port.to_string())))
    }

    #[test]
    fn url_is_read_without_its_credentials() {
        for (url, want) in [
            ("postgres://app:hunter2@db.example:5433/shop?sslmode=require", "postgresql shop db.example 5433"),
            ("postgresql://app@db.example/shop", "postgresql shop db.example 5432"),
            ("postgres://one:1,two:2/shop", "postgresql shop one 1"),
            ("postgres://app:hunter2@[::1]:5433/shop", "postgresql shop ::1 5433"),
            ("postgres:///shop", "postgresql shop - -"),
            ("postgres://%2Frun%2Fpg/shop", "postgresql shop - -"),
            ("postgres://app@db/my%20shop", "postgresql my shop db 5432"),
            ("mysql://app:hunter2@db/shop", "mysql shop db 3306"),
            ("mariadb://db", "mariadb - db 3306"),
            ("host=db.example port=5433 dbname=shop user=app password=hunter2", "postgresql shop db.example 5433"),
            ("password='hunter2 host=no' host = 'db' dbname=shop", "postgresql shop db -"),
            (r"password='a\' host=hunter2' dbname=shop", "postgresql shop - -"),
            ("host=/run/postgresql dbname=shop", "postgresql shop - -"),
            ("shop.db", "sqlite - - -"),
            (":memory:", "sqlite - - -"),
            ("file:shop.db?mode=ro", "sqlite - - -"),
            ("sqlite:///var/shop.db", "sqlite - - -"),
            ("", "sqlite - - -"),
        ] {
            assert_eq!(shown(url), want, "{url}");
        }
    }

    #[test]
    fn part_of_a_password_is_never_taken_for_an_address() {
        for url in [
            "postgres://app:hun@ter2@db/shop",
            "postgres://app:hun/ter2@db/shop",
            "postgres://app:hun?ter2@db/shop",
            "postgres://app:hun#ter2@db/shop",
            "postgres://db/shop?password=hun@ter2",
            "mysql://app:hun/t@er2@db/shop",
        ] {
            let shown = format!("{:?}", ConnectionUrl::parse(url));
            assert!(!shown.contains("hun") && !shown.contains("er2"), "{url}: {shown}");
        }
    }
}
