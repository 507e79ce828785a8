//! Transactions.

use super::{
    schema::{KEYWORD, Object, Shape::*, fields, optional, required},
    shared::{CONTEXT, FAAS, LINK, OTEL},
};

static SPAN_COUNT: Object = fields(&[required("started", Int), optional("dropped", Int)]);

static DROPPED_SUM: Object = fields(&[optional("us", IntFrom(0))]);
static DROPPED_DURATION: Object = fields(&[optional("count", IntFrom(1)), optional("sum", Object(&DROPPED_SUM))]);
static DROPPED_SPANS: Object = fields(&[
    optional("destination_service_resource", KEYWORD),
    optional("service_target_type", Short(512)),
    optional("service_target_name", Short(512)),
    optional("outcome", Outcome),
    optional("duration", Object(&DROPPED_DURATION)),
]);

static SESSION: Object = fields(&[required("id", KEYWORD), optional("sequence", IntFrom(1))]);

static LONG_TASKS: Object =
    fields(&[required("count", IntFrom(0)), required("max", NumberFrom(0.0)), required("sum", NumberFrom(0.0))]);
static EXPERIENCE: Object = fields(&[
    optional("cls", NumberFrom(0.0)),
    optional("fid", NumberFrom(0.0)),
    optional("tbt", NumberFrom(0.0)),
    optional("longtask", Object(&LONG_TASKS)),
]);

pub(super) static TRANSACTION: Object = fields(&[
    required("id", KEYWORD),
    required("trace_id", KEYWORD),
    optional("parent_id", KEYWORD),
    optional("name", KEYWORD),
    required("type", KEYWORD),
    optional("result", KEYWORD),
    optional("outcome", Outcome),
    required("duration", NumberFrom(0.0)),
    optional("timestamp", Timestamp),
    optional("sampled", Bool),
    optional("sample_rate", Number),
    required("span_count", Object(&SPAN_COUNT)),
    optional("dropped_spans_stats", List(&DROPPED_SPANS)),
    optional("context", Object(&CONTEXT)),
    optional("links", List(&LINK)),
    optional("otel", Object(&OTEL)),
    optional("faas", Object(&FAAS)),
    optional("marks", Marks),
    optional("session", Object(&SESSION)),
    optional("experience", Object(&EXPERIENCE)),
]);
