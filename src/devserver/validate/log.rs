//! Log lines in ECS, flat (`"log.level"`) or nested (`"log": {"level"}`).

use super::{
    schema::{KEYWORD, Leaf, LeafRule, Object, Shape::*, fields, optional},
    shared::FAAS,
};

const fn short(path: &'static [&'static str]) -> Leaf {
    Leaf { path, rule: LeafRule::Short }
}

pub(super) static LOG: Object = fields(&[
    optional("@timestamp", Timestamp),
    optional("message", Text),
    optional("trace.id", KEYWORD),
    optional("transaction.id", KEYWORD),
    optional("span.id", KEYWORD),
    optional("labels", Labels),
    optional("faas", Object(&FAAS)),
    optional("log.level", KEYWORD),
    optional("log.logger", KEYWORD),
    optional("log.origin.file.name", KEYWORD),
    optional("log.origin.file.line", Int),
    optional("log.origin.function", Text),
    optional(
        "log",
        Leaves(&[
            short(&["level"]),
            short(&["logger"]),
            short(&["origin", "file", "name"]),
            Leaf { path: &["origin", "file", "line"], rule: LeafRule::Int },
        ]),
    ),
    optional("service.name", KEYWORD),
    optional("service.version", KEYWORD),
    optional("service.environment", KEYWORD),
    optional("service.node.name", KEYWORD),
    optional(
        "service",
        Leaves(&[short(&["name"]), short(&["version"]), short(&["environment"]), short(&["node", "name"])]),
    ),
    optional("event.dataset", KEYWORD),
    optional("event", Leaves(&[short(&["dataset"])])),
    optional("process.thread.name", KEYWORD),
    optional("process", Leaves(&[short(&["thread", "name"])])),
    optional("error.type", Text),
    optional("error.message", Text),
    optional("error.stack_trace", Text),
    optional("error", Map),
]);
