//! A transaction with all that belongs to it, without what differs from run to run. Pure.

use serde_json::{Map, Value, json};

use super::received::{Arrived, Received, text};

pub(super) fn of_transaction(transaction: &Value, received: &Received) -> Value {
    let spans: Vec<_> = received.within(&received.spans, transaction).collect();
    let errors: Vec<_> = received.within(&received.errors, transaction).collect();
    let mut names = Names::default();
    names.add(text(transaction, "/trace_id"), "[trace]".to_owned());
    names.add(text(transaction, "/id"), "[transaction]".to_owned());
    names.add(text(transaction, "/parent_id"), "[parent]".to_owned());
    for (kind, events) in [("span", &spans), ("error", &errors)] {
        for (index, event) in events.iter().enumerate() {
            names.add(text(event, "/id"), format!("[{kind}-{}]", index + 1));
        }
    }
    let redact = |event: &Value| redacted(event, &names);
    let list = |events: &[&std::sync::Arc<Arrived>]| events.iter().map(|event| redact(event)).collect::<Vec<_>>();
    json!({ "transaction": redact(transaction), "spans": list(&spans), "errors": list(&errors) })
}

/// What each id is called.
#[derive(Default)]
struct Names(Vec<(String, String)>);

impl Names {
    fn add(&mut self, id: &str, name: String) {
        if !id.is_empty() && !self.0.iter().any(|(known, _)| known == id) {
            self.0.push((id.to_owned(), name));
        }
    }

    /// Also where an id stands within a text, as in a `traceparent` header.
    fn replace(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name))
    }
}

fn redacted(value: &Value, names: &Names) -> Value {
    match value {
        Value::Object(members) => {
            let redact = |(key, value): (&String, &Value)| (key.clone(), member(key, value, names));
            Value::Object(members.iter().map(redact).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(|item| redacted(item, names)).collect(),
        Value::String(text) => without_ports(names.replace(text)).into(),
        other => other.clone(),
    }
}

fn member(key: &str, value: &Value, names: &Names) -> Value {
    match (key, value) {
        ("timestamp", _) => "[time]".into(),
        ("duration" | "timeToFirstByte", Value::Number(_)) => "[duration]".into(),
        ("stacktrace", _) => "[frames]".into(),
        ("port", Value::Number(_)) => "[port]".into(),
        _ => redacted(value, names),
    }
}

/// A port of this machine is a different one each time.
fn without_ports(text: String) -> String {
    let mut out = text;
    for host in ["127.0.0.1:", "localhost:", "[::1]:"] {
        let mut from = 0;
        while let Some(at) = out[from..].find(host).map(|at| from + at + host.len()) {
            let digits = out[at..].bytes().take_while(u8::is_ascii_digit).count();
            if digits > 0 {
                out.replace_range(at..at + digits, "[port]");
            }
            from = at;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_ports_are_replaced() {
        for (text, expected) in [
            ("http://127.0.0.1:45123/a", "http://127.0.0.1:[port]/a"),
            ("localhost:1 localhost:2", "localhost:[port] localhost:[port]"),
            ("[::1]:80", "[::1]:[port]"),
            ("shop.example:443 localhost:", "shop.example:443 localhost:"),
        ] {
            assert_eq!(without_ports(text.to_owned()), expected);
        }
    }
}
