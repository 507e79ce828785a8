//! Everything that arrived, for the eyes: transactions with their spans and errors below them. Pure.

use std::fmt::Write;

use serde_json::Value;

use super::received::{Arrived, Received, causes, error_name, text};

/// Deeper nesting is not drawn any deeper.
const MAX_DEPTH: usize = 32;

pub(super) fn waterfall(received: &Received) -> String {
    let Received { transactions, spans, errors, .. } = received;
    if transactions.is_empty() && spans.is_empty() && errors.is_empty() {
        let hint =
            "a transaction ends when its response's body is read or dropped; the router needs `.layer(apm.layer())`";
        return format!("    nothing ({hint})\n");
    }
    let mut out = String::new();
    for transaction in transactions {
        line(&mut out, 1, &self::transaction(transaction));
        details(&mut out, 2, transaction);
        children(&mut out, received, transaction, transaction, 2);
    }
    let known = |event: &Value| received.parent(event).is_some();
    let orphans: Vec<_> = spans.iter().filter(|span| !known(span)).collect();
    let lost: Vec<_> = errors.iter().filter(|error| !known(error)).collect();
    if !orphans.is_empty() || !lost.is_empty() {
        line(&mut out, 1, "below no transaction that has arrived:");
        for span in orphans {
            line(&mut out, 2, &self::span(span, span));
            details(&mut out, 3, span);
            children(&mut out, received, span, span, 3);
        }
        lost.iter().for_each(|found| error(&mut out, 2, found));
    }
    out
}

fn children(out: &mut String, received: &Received, root: &Value, parent: &Value, depth: usize) {
    let id = text(parent, "/id");
    let below = |event: &&std::sync::Arc<Arrived>| received.parent_id(event) == id;
    received.errors.iter().filter(below).for_each(|found| error(out, depth, found));
    for child in received.spans.iter().filter(below) {
        line(out, depth, &span(child, root));
        details(out, depth + 1, child);
        if depth < MAX_DEPTH {
            children(out, received, root, child, depth + 1);
        }
    }
}

fn line(out: &mut String, depth: usize, text: &str) {
    let _ = writeln!(out, "{:1$}{text}", "", depth * 4);
}

fn transaction(event: &Value) -> String {
    let dropped = event.pointer("/span_count/dropped").map(|dropped| format!("{dropped} spans dropped"));
    let duration = milliseconds(&event["duration"]);
    let parts = [text(event, "/type"), text(event, "/outcome"), text(event, "/result"), &duration];
    joined(text(event, "/name"), parts.into_iter().chain(dropped.as_deref()))
}

fn span(event: &Value, root: &Value) -> String {
    let (began, start) = (root["timestamp"].as_u64(), event["timestamp"].as_u64());
    let offset = start.zip(began).map_or(0, |(start, began)| start.saturating_sub(began));
    let kind = ["/type", "/subtype", "/action"].map(|pointer| text(event, pointer));
    let kind = kind.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let duration = milliseconds(&event["duration"]);
    let parts = [kind.as_str(), text(event, "/outcome"), &duration];
    format!("+{:.1} ms  {}", offset as f64 / 1e3, joined(text(event, "/name"), parts))
}

fn error(out: &mut String, depth: usize, event: &Value) {
    let told = |exception: &Value| format!("{}: {}", text(exception, "/type"), text(exception, "/message"));
    let handled = match event.pointer("/exception/handled").and_then(Value::as_bool) {
        Some(false) => "unhandled",
        _ => "handled",
    };
    let name = event.get("exception").map_or_else(|| error_name(event).to_owned(), told);
    let log = text(event, "/log/message");
    let log = if log.is_empty() { String::new() } else { format!("log {log:?}") };
    let culprit = match text(event, "/culprit") {
        "" => String::new(),
        culprit => format!("in {culprit}"),
    };
    line(out, depth, &format!("! {}", joined(&name, [handled, &log, &culprit])));
    for cause in causes(event) {
        line(out, depth + 1, &format!("caused by {}", told(cause)));
    }
    details(out, depth + 1, event);
}

/// Labels, user and the keys of custom context.
fn details(out: &mut String, depth: usize, event: &Value) {
    for (name, pointer) in [("labels", "/context/tags"), ("user", "/context/user"), ("custom", "/context/custom")] {
        let Some(members) = event.pointer(pointer).and_then(Value::as_object) else { continue };
        let members: Vec<_> = members.iter().map(|(key, value)| format!("{key}={value}")).collect();
        line(out, depth, &format!("{name} {}", members.join(" ")));
    }
}

fn joined<'a>(name: &str, parts: impl IntoIterator<Item = &'a str>) -> String {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.fold(name.to_owned(), |line, part| line + " · " + part)
}

fn milliseconds(duration: &Value) -> String {
    format!("{:.1} ms", duration.as_f64().unwrap_or_default())
}
