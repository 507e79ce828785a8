//! Metric sets.

use super::{
    schema::{KEYWORD, Object, Rule, Shape::*, fields, optional, required, ruled},
    shared::{FAAS, PRODUCT},
};

static SAMPLE: Object = ruled(
    &[
        optional("value", Number),
        optional("values", Numbers),
        optional("counts", Counts),
        optional("type", Text),
        optional("unit", Text),
    ],
    &[
        Rule::AnyOf(&["value", "values"]),
        Rule::With { field: "values", others: &["counts"] },
        Rule::With { field: "counts", others: &["values"] },
    ],
);

static TRANSACTION: Object = fields(&[optional("name", KEYWORD), optional("type", KEYWORD)]);
static SPAN: Object = fields(&[optional("type", KEYWORD), optional("subtype", KEYWORD)]);

pub(super) static METRICSET: Object = fields(&[
    required("samples", Samples(&SAMPLE)),
    optional("timestamp", Timestamp),
    optional("tags", Labels),
    optional("transaction", Object(&TRANSACTION)),
    optional("span", Object(&SPAN)),
    optional("service", Object(&PRODUCT)),
    optional("faas", Object(&FAAS)),
]);

/// The only samples that are kept of a breakdown metric set, which is one that names a transaction.
pub(super) const BREAKDOWN_SAMPLES: [&str; 2] = ["span.self_time.count", "span.self_time.sum.us"];
