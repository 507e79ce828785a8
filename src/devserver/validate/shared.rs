//! What several events have in common: users, frames, links, context.

use super::schema::{KEYWORD, Object, Rule, Shape::*, fields, optional, required, ruled};

pub(super) static USER: Object = fields(&[
    optional("id", TextOrInt),
    optional("email", KEYWORD),
    optional("username", KEYWORD),
    optional("domain", KEYWORD),
]);

/// A name and a version, neither of them required.
pub(super) static PRODUCT: Object = fields(&[optional("name", KEYWORD), optional("version", KEYWORD)]);

pub(super) static NODE: Object = fields(&[optional("configured_name", KEYWORD)]);

pub(super) static FRAME: Object = ruled(
    &[
        optional("filename", Text),
        optional("classname", Text),
        optional("abs_path", Text),
        optional("function", Text),
        optional("module", Text),
        optional("lineno", Int),
        optional("colno", Int),
        optional("context_line", Text),
        optional("pre_context", Texts),
        optional("post_context", Texts),
        optional("library_frame", Bool),
        optional("vars", Map),
    ],
    &[Rule::AnyOf(&["classname", "filename"])],
);

pub(super) static LINK: Object = fields(&[required("span_id", KEYWORD), required("trace_id", KEYWORD)]);

pub(super) static OTEL: Object = fields(&[optional("attributes", Map), optional("span_kind", Text)]);

static TRIGGER: Object = fields(&[optional("type", Text), optional("request_id", Text)]);

pub(super) static FAAS: Object = fields(&[
    optional("id", Text),
    optional("execution", Text),
    optional("trigger", Object(&TRIGGER)),
    optional("name", Text),
    optional("version", Text),
    optional("coldstart", Bool),
]);

static SERVICE_AGENT: Object =
    fields(&[optional("name", KEYWORD), optional("version", KEYWORD), optional("ephemeral_id", KEYWORD)]);
static SERVICE_ORIGIN: Object = fields(&[optional("id", Text), optional("name", Text), optional("version", Text)]);
static SERVICE_TARGET: Object =
    ruled(&[optional("type", Text), optional("name", Text)], &[Rule::AnyOf(&["type", "name"])]);

/// `context.service`: what one event says about its service, against the metadata.
pub(super) static SERVICE: Object = fields(&[
    optional("name", ServiceName { non_empty: false }),
    optional("version", KEYWORD),
    optional("environment", KEYWORD),
    optional("id", Text),
    optional("agent", Object(&SERVICE_AGENT)),
    optional("framework", Object(&PRODUCT)),
    optional("language", Object(&PRODUCT)),
    optional("runtime", Object(&PRODUCT)),
    optional("node", Object(&NODE)),
    optional("origin", Object(&SERVICE_ORIGIN)),
    optional("target", Object(&SERVICE_TARGET)),
]);

static QUEUE: Object = fields(&[optional("name", KEYWORD)]);
static AGE: Object = fields(&[optional("ms", Int)]);

pub(super) static MESSAGE: Object = fields(&[
    optional("queue", Object(&QUEUE)),
    optional("routing_key", Text),
    optional("age", Object(&AGE)),
    optional("headers", Headers),
    optional("body", Text),
]);

static URL: Object = fields(&[
    optional("full", KEYWORD),
    optional("raw", KEYWORD),
    optional("protocol", KEYWORD),
    optional("hostname", KEYWORD),
    optional("port", Port),
    optional("pathname", KEYWORD),
    optional("search", KEYWORD),
    optional("hash", KEYWORD),
]);
static SOCKET: Object = fields(&[optional("remote_address", Text), optional("encrypted", Bool)]);
static REQUEST: Object = fields(&[
    required("method", KEYWORD),
    optional("url", Object(&URL)),
    optional("headers", Headers),
    optional("cookies", Map),
    optional("env", Map),
    optional("body", TextOrObject),
    optional("http_version", KEYWORD),
    optional("socket", Object(&SOCKET)),
]);

static RESPONSE: Object = fields(&[
    optional("status_code", Int),
    optional("headers", Headers),
    optional("finished", Bool),
    optional("headers_sent", Bool),
    optional("transfer_size", Int),
    optional("encoded_body_size", Int),
    optional("decoded_body_size", Int),
]);

static ORIGIN_ID: Object = fields(&[optional("id", Text)]);
static ORIGIN_NAME: Object = fields(&[optional("name", Text)]);
static CLOUD_ORIGIN: Object = fields(&[
    optional("account", Object(&ORIGIN_ID)),
    optional("provider", Text),
    optional("region", Text),
    optional("service", Object(&ORIGIN_NAME)),
]);
static CLOUD: Object = fields(&[optional("origin", Object(&CLOUD_ORIGIN))]);
static PAGE: Object = fields(&[optional("referer", Text), optional("url", Text)]);

/// The context of transactions and errors.
pub(super) static CONTEXT: Object = fields(&[
    optional("custom", Map),
    optional("tags", Labels),
    optional("user", Object(&USER)),
    optional("request", Object(&REQUEST)),
    optional("response", Object(&RESPONSE)),
    optional("service", Object(&SERVICE)),
    optional("message", Object(&MESSAGE)),
    optional("cloud", Object(&CLOUD)),
    optional("page", Object(&PAGE)),
]);
