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
    optional("log.level", Flat(&["log", "level"])),
    optional("log.logger", Flat(&["log", "logger"])),
    optional("log.origin.file.name", Flat(&["log", "origin", "file", "name"])),
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
    optional("service.name", Flat(&["service", "name"])),
    optional("service.version", Flat(&["service", "version"])),
    optional("service.environment", Flat(&["service", "environment"])),
    optional("service.node.name", Flat(&["service", "node", "name"])),
    optional(
        "service",
        Leaves(&[short(&["name"]), short(&["version"]), short(&["environment"]), short(&["node", "name"])]),
    ),
    optional("event.dataset", Flat(&["event", "dataset"])),
    optional("event", Leaves(&[short(&["dataset"])])),
    optional("process.thread.name", Flat(&["process", "thread", "name"])),
    optional("process", Leaves(&[short(&["thread", "name"])])),
    optional("error.type", Text),
    optional("error.message", Text),
    optional("error.stack_trace", Text),
    optional("error", Map),
]);
