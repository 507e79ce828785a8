//! Errors.

use super::{
    schema::{KEYWORD, Object, Rule, Shape::*, fields, optional, required, ruled},
    shared::{CONTEXT, FRAME},
};

/// Causes are exceptions themselves.
static EXCEPTION: Object = ruled(
    &[
        optional("message", Text),
        optional("type", KEYWORD),
        optional("module", KEYWORD),
        optional("code", TextOrInt),
        optional("handled", Bool),
        optional("attributes", Map),
        optional("cause", List(&EXCEPTION)),
        optional("stacktrace", List(&FRAME)),
    ],
    &[Rule::AnyOf(&["message", "type"])],
);

static LOG: Object = fields(&[
    required("message", Text),
    optional("level", KEYWORD),
    optional("logger_name", KEYWORD),
    optional("param_message", KEYWORD),
    optional("stacktrace", List(&FRAME)),
]);

static TRANSACTION: Object = fields(&[optional("name", KEYWORD), optional("type", KEYWORD), optional("sampled", Bool)]);

pub(super) static ERROR: Object = ruled(
    &[
        required("id", KEYWORD),
        optional("trace_id", KEYWORD),
        optional("transaction_id", KEYWORD),
        optional("parent_id", KEYWORD),
        optional("timestamp", Timestamp),
        optional("culprit", KEYWORD),
        optional("exception", Object(&EXCEPTION)),
        optional("log", Object(&LOG)),
        optional("transaction", Object(&TRANSACTION)),
        optional("context", Object(&CONTEXT)),
    ],
    &[
        Rule::AnyOf(&["exception", "log"]),
        Rule::With { field: "parent_id", others: &["transaction_id", "trace_id"] },
        Rule::With { field: "trace_id", others: &["transaction_id", "parent_id"] },
    ],
);
