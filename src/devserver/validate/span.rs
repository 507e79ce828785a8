//! Spans.

use super::{
    schema::{KEYWORD, Object, Rule, Shape::*, fields, optional, required, ruled},
    shared::{FRAME, LINK, MESSAGE, OTEL, SERVICE},
};

static DATABASE: Object = fields(&[
    optional("statement", Text),
    optional("type", Text),
    optional("instance", Text),
    optional("user", Text),
    optional("link", KEYWORD),
    optional("rows_affected", Int),
]);

static DESTINATION_SERVICE: Object =
    fields(&[required("resource", KEYWORD), optional("name", KEYWORD), optional("type", KEYWORD)]);
static DESTINATION: Object =
    fields(&[optional("address", KEYWORD), optional("port", Int), optional("service", Object(&DESTINATION_SERVICE))]);

static HTTP_REQUEST: Object = fields(&[optional("id", Text), optional("body", Any)]);
static HTTP_RESPONSE: Object = fields(&[
    optional("status_code", Int),
    optional("headers", Headers),
    optional("transfer_size", Int),
    optional("encoded_body_size", Int),
    optional("decoded_body_size", Int),
]);
static HTTP: Object = fields(&[
    optional("url", Text),
    optional("method", KEYWORD),
    optional("status_code", Int),
    optional("request", Object(&HTTP_REQUEST)),
    optional("response", Object(&HTTP_RESPONSE)),
]);

static CONTEXT: Object = fields(&[
    optional("tags", Labels),
    optional("service", Object(&SERVICE)),
    optional("message", Object(&MESSAGE)),
    optional("db", Object(&DATABASE)),
    optional("destination", Object(&DESTINATION)),
    optional("http", Object(&HTTP)),
]);

static COMPOSITE: Object =
    fields(&[required("compression_strategy", Text), required("count", IntFrom(2)), required("sum", NumberFrom(0.0))]);

pub(super) static SPAN: Object = ruled(
    &[
        required("id", KEYWORD),
        required("trace_id", KEYWORD),
        required("parent_id", KEYWORD),
        optional("transaction_id", KEYWORD),
        required("name", KEYWORD),
        required("type", KEYWORD),
        optional("subtype", KEYWORD),
        optional("action", KEYWORD),
        optional("outcome", Outcome),
        required("duration", NumberFrom(0.0)),
        optional("timestamp", Timestamp),
        optional("start", Number),
        optional("sample_rate", Number),
        optional("sync", Bool),
        optional("child_ids", ShortTexts),
        optional("links", List(&LINK)),
        optional("composite", Object(&COMPOSITE)),
        optional("stacktrace", List(&FRAME)),
        optional("context", Object(&CONTEXT)),
        optional("otel", Object(&OTEL)),
    ],
    &[Rule::AnyOf(&["start", "timestamp"])],
);
