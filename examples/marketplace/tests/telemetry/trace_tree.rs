//! A trace as a tree of transactions and spans.

use std::collections::HashSet;

use tower_apm::devserver::{Kind, Query, Store};

use crate::events::Event;

/// Returns the tree of a trace as text, one event per line, indented below its parent. Siblings are in the order of their start.
///
/// A line is `name [type]` for a transaction and `name (type/subtype)` for a span. A transaction of another service than
/// `marketplace` is preceded by the service's name.
pub(crate) fn trace_tree(store: &Store, trace_id: &str) -> String {
    let mut nodes = Vec::new();
    for kind in [Kind::Transaction, Kind::Span] {
        let page = store.query(&Query::new().kind(kind).trace_id(trace_id));
        nodes.extend(page.events.iter().map(|event| {
            let service = event.service().filter(|service| *service != "marketplace");
            let body = Event::read(event);
            let line = match kind {
                Kind::Transaction => {
                    let service = service.map(|service| format!("{service}: ")).unwrap_or_default();
                    format!("{service}{} [{}]", text(&body, "name"), text(&body, "type"))
                }
                _ => format!("{} ({}/{})", text(&body, "name"), text(&body, "type"), text(&body, "subtype")),
            };
            Node { line, id: text(&body, "id"), parent: text(&body, "parent_id"), start: start(&body) }
        }));
    }
    nodes.sort_by_key(|node| node.start);
    let ids: HashSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
    let mut tree = String::new();
    for root in nodes.iter().filter(|node| !ids.contains(node.parent.as_str())) {
        write(&mut tree, &nodes, root, 0);
    }
    tree
}

struct Node {
    line: String,
    id: String,
    parent: String,
    start: u64,
}

fn write(tree: &mut String, nodes: &[Node], node: &Node, depth: usize) {
    tree.push_str(&"    ".repeat(depth));
    tree.push_str(&node.line);
    tree.push('\n');
    for child in nodes.iter().filter(|child| child.parent == node.id) {
        write(tree, nodes, child, depth + 1);
    }
}

fn text(event: &Event, key: &str) -> String {
    event[key].as_str().unwrap_or("-").to_owned()
}

fn start(event: &Event) -> u64 {
    event["timestamp"].as_u64().unwrap_or_default()
}
