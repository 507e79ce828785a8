//! `metricset`

use std::borrow::Cow;

use super::{
    context::Service,
    faas::Faas,
    model,
    value::{Entries, Tags},
};

model! {
    struct Metricset<'a> {
        /// Microseconds since the epoch.
        timestamp: u64,
        /// Not empty; no name holds `*` or `"`.
        samples: Entries<'a, Sample>,
        tags: Tags<'a>,
        transaction: Option<MetricsetTransaction<'a>>,
        span: Option<MetricsetSpan<'a>>,
        service: Option<Service<'a>>,
        faas: Option<Faas<'a>>,
    }

    /// A value, or ascending values with as many counts.
    #[derive(Default)]
    struct Sample {
        r#type: Option<&'static str>,
        unit: Option<&'static str>,
        value: Option<f64>,
        values: Vec<f64>,
        counts: Vec<u64>,
    }

    struct MetricsetTransaction<'a> {
        name: Cow<'a, str>,
        r#type: Cow<'a, str>,
    }

    struct MetricsetSpan<'a> {
        r#type: Cow<'a, str>,
        subtype: Option<Cow<'a, str>>,
    }
}
