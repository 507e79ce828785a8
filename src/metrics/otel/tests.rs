use std::time::Duration;

use opentelemetry::{
    Array, InstrumentationScope, KeyValue, Value,
    metrics::{Meter, MeterProvider},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        Aggregation, Instrument, PeriodicReader, SdkMeterProvider, Stream, Temporality, data::ResourceMetrics,
        exporter::PushMetricExporter,
    },
};

use super::ApmMetricExporter;
use crate::{
    config::{CodeOptions, EnvVars, Exporter, LiveConfig},
    logged::Logged,
    pipeline::{Queue, Stats},
    record::{Event, LabelValue, MetricsRecord},
};

/// Nobody reads by the clock.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// The exporter, with what it logs: it runs on the reader's thread.
struct Speaking(ApmMetricExporter, Logged);

impl PushMetricExporter for Speaking {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        tracing::subscriber::with_default(self.1.subscriber(), || self.0.export(metrics))
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.0.temporality()
    }
}

struct Rig {
    queue: Queue,
    provider: SdkMeterProvider,
    lines: Logged,
}

impl Rig {
    fn new() -> Self {
        Self::with(CodeOptions::default(), 1000)
    }

    fn with(options: CodeOptions, places: usize) -> Self {
        let (live, warnings) = LiveConfig::new(options, EnvVars::empty());
        assert!(warnings.is_empty());
        let (queue, lines) = (Queue::new(places, usize::MAX), Logged::default());
        let exporter = Speaking(ApmMetricExporter::new(queue.clone(), live), lines.clone());
        let exponential = |instrument: &Instrument| {
            let aggregation =
                Aggregation::Base2ExponentialHistogram { max_size: 9, max_scale: 9, record_min_max: true };
            let stream = Stream::builder().with_aggregation(aggregation);
            instrument.name().starts_with("exponential").then(|| stream.build().unwrap())
        };
        let provider = SdkMeterProvider::builder()
            .with_reader(PeriodicReader::builder(exporter).with_interval(FOREVER).build())
            .with_view(exponential)
            .build();
        Self { queue, provider, lines }
    }

    fn meter(&self) -> Meter {
        self.provider.meter("shop")
    }

    fn records(&self) -> Vec<MetricsRecord> {
        self.provider.force_flush().unwrap();
        let events = std::iter::from_fn(|| self.queue.pop());
        events
            .map(|event| match event {
                Event::Metrics(record) => *record,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// `name {labels} sample`, sorted.
    fn told(&self) -> Vec<String> {
        let mut told: Vec<_> = self.records().iter().flat_map(lines).collect();
        told.sort();
        told
    }

    fn warnings(&self) -> Vec<String> {
        self.lines.text().lines().map(str::to_owned).collect()
    }

    fn stats(&self) -> Stats {
        self.queue.stats()
    }
}

fn lines(record: &MetricsRecord) -> Vec<String> {
    let labels = record.labels.iter().map(|label| match &label.value {
        LabelValue::Text(text) => format!("{}={text:?}", label.key),
        LabelValue::Integer(number) => format!("{}={number}", label.key),
        LabelValue::Float(number) => format!("{}={number:?}", label.key),
        LabelValue::Bool(flag) => format!("{}={flag}", label.key),
    });
    let labels = labels.collect::<Vec<_>>().join(" ");
    record.samples.iter().map(|(name, sample)| format!("{name} {{{labels}}} {sample:?}")).collect()
}

// spec: metrics-otel.md
#[test]
fn counters_are_deltas_and_up_down_counters_are_not() {
    let rig = Rig::new();
    let meter = rig.meter();
    let (orders, open) = (meter.u64_counter("orders").build(), meter.i64_up_down_counter("open").build());
    let seconds = meter.f64_counter("seconds").build();
    let _bytes = meter.u64_observable_counter("bytes").with_callback(|bytes| bytes.observe(40, &[])).build();
    let _size = meter.i64_observable_up_down_counter("size").with_callback(|size| size.observe(-3, &[])).build();
    let none = meter.u64_counter("none").build();
    orders.add(2, &[]);
    seconds.add(0.5, &[]);
    open.add(3, &[]);
    none.add(0, &[]);
    let want = [
        "bytes {} Counter(40.0)",
        "open {} Gauge(3.0)",
        "orders {} Counter(2.0)",
        "seconds {} Counter(0.5)",
        "size {} Gauge(-3.0)",
    ];
    assert_eq!(rig.told(), want);
    orders.add(5, &[]);
    open.add(-1, &[]);
    assert_eq!(rig.told(), ["open {} Gauge(2.0)", "orders {} Counter(5.0)", "size {} Gauge(-3.0)"], "none of 0");
}

// spec: metrics-otel.md
#[test]
fn gauges_keep_the_last_value_and_histograms_are_reset() {
    let rig = Rig::new();
    let meter = rig.meter();
    let (depth, celsius) = (meter.u64_gauge("depth").build(), meter.f64_gauge("celsius").build());
    let time = meter.f64_histogram("time").with_boundaries(vec![1.0, 3.0]).build();
    let unbounded = meter.u64_histogram("unbounded").with_boundaries(Vec::new()).build();
    depth.record(9, &[]);
    depth.record(0, &[]);
    celsius.record(f64::NAN, &[]);
    [0.1, 2.0, 2.5, 7.0].iter().for_each(|value| time.record(*value, &[]));
    unbounded.record(1, &[]);
    let want = ["depth {} Gauge(0.0)", "time {} Histogram { bounds: [1.0, 3.0], counts: [1, 2, 1] }"];
    assert_eq!(rig.told(), want);
    time.record(2.0, &[]);
    let told = rig.told();
    assert_eq!(told.last().unwrap(), "time {} Histogram { bounds: [1.0, 3.0], counts: [0, 1, 0] }");
}

// spec: metrics-otel.md
#[test]
fn each_scope_and_attribute_set_is_a_metric_set() {
    let rig = Rig::new();
    let meter = rig.meter();
    let (eth, btc) = (KeyValue::new("coin", "ETH"), KeyValue::new("coin", "BTC"));
    let (test, number) = (KeyValue::new("test", true), KeyValue::new("n", 7));
    let share = KeyValue::new("share", 0.5);
    let (orders, errors) = (meter.u64_counter("orders").build(), meter.u64_counter("errors").build());
    orders.add(1, &[eth.clone(), test.clone(), number.clone(), share.clone()]);
    // the order of attributes says nothing
    errors.add(2, &[share, number, test, eth.clone()]);
    orders.add(3, &[btc]);
    let scope = InstrumentationScope::builder("shop").with_version("2").build();
    rig.provider.meter_with_scope(scope).u64_counter("orders").build().add(4, &[eth]);
    let mut sets: Vec<_> = rig
        .records()
        .iter()
        .map(|record| {
            let mut lines = lines(record);
            lines.sort();
            lines
        })
        .collect();
    sets.sort();
    let want: [&[&str]; 3] = [
        &[
            r#"errors {coin="ETH" n=7 share=0.5 test=true} Counter(2.0)"#,
            r#"orders {coin="ETH" n=7 share=0.5 test=true} Counter(1.0)"#,
        ],
        &[r#"orders {coin="BTC"} Counter(3.0)"#],
        &[r#"orders {coin="ETH"} Counter(4.0)"#],
    ];
    assert_eq!(sets, want);
}

// spec: metrics-otel.md
#[test]
fn array_attributes_are_dropped_with_one_warning() {
    let rig = Rig::new();
    let orders = rig.meter().u64_counter("orders").build();
    for (value, ids) in [(1, vec![1, 2]), (2, vec![3])] {
        orders.add(value, &[KeyValue::new("ids", Value::Array(Array::I64(ids))), KeyValue::new("coin", "ETH")]);
    }
    let want = [r#"orders {coin="ETH"} Counter(1.0)"#, r#"orders {coin="ETH"} Counter(2.0)"#];
    assert_eq!(rig.told(), want);
    orders.add(1, &[KeyValue::new("others", Value::Array(Array::I64(Vec::new())))]);
    assert_eq!(rig.told(), ["orders {} Counter(1.0)"]);
    let warnings = rig.warnings();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("attribute") && warning.contains("\"ids\""), "{warning}");
}

// spec: metrics-otel.md
#[test]
fn exponential_histograms_are_dropped_with_one_warning() {
    let rig = Rig::new();
    let meter = rig.meter();
    for name in ["exponential", "exponential.two"] {
        meter.f64_histogram(name).build().record(1.0, &[]);
    }
    meter.u64_counter("orders").build().add(1, &[]);
    assert_eq!(rig.told(), ["orders {} Counter(1.0)"]);
    let warnings = rig.warnings();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("exponential histogram"), "{warning}");
}

// spec: metrics-otel.md
#[test]
fn two_instruments_of_one_name_are_both_sent() {
    let rig = Rig::new();
    let meter = rig.meter();
    meter.u64_counter("orders").build().add(1, &[]);
    meter.f64_counter("orders").build().add(2.0, &[]);
    assert_eq!(rig.told(), ["orders {} Counter(1.0)", "orders {} Counter(2.0)"]);
}

// spec: metrics-otel.md
#[test]
fn metric_labels_are_limited() {
    let rig = Rig::new();
    let many: Vec<_> = (0..200).map(|n| KeyValue::new(format!("k{n:03}"), n)).collect();
    rig.meter().u64_counter("orders").build().add(1, &many);
    let records = rig.records();
    assert_eq!((records[0].labels.len(), rig.stats().excess_labels), (128, 72));
    assert_eq!(&*records[0].labels[127].key, "k127");
}

// spec: metrics-otel.md
#[test]
fn disable_metrics_and_recording_select_metrics() {
    let told = |options: CodeOptions| {
        let rig = Rig::with(options, 1000);
        let meter = rig.meter();
        meter.u64_counter("shop.orders").build().add(1, &[]);
        meter.u64_counter("cache.hits").build().add(1, &[]);
        rig.told()
    };
    let none = CodeOptions::default;
    assert_eq!(told(none()).len(), 2);
    let disabled = CodeOptions { disable_metrics: Some(vec!["cache.*".to_owned()]), ..none() };
    assert_eq!(told(disabled), ["shop.orders {} Counter(1.0)"]);
    for options in [
        CodeOptions { recording: Some(false), ..none() },
        CodeOptions { enabled: Some(false), ..none() },
        CodeOptions { context_propagation_only: Some(true), ..none() },
        CodeOptions { disable_send: Some(true), ..none() },
        CodeOptions { metrics_interval: Some(Duration::ZERO), ..none() },
    ] {
        let shown = format!("{options:?}");
        assert_eq!(told(options), Vec::<String>::new(), "{shown}");
    }
    if cfg!(feature = "otlp") {
        assert_eq!(told(CodeOptions { exporter: Some(Exporter::Otlp), ..none() }).len(), 2);
    }
}

#[test]
fn export_does_not_block_and_counts_dropped_metrics() {
    let rig = Rig::with(CodeOptions::default(), 10);
    let orders = rig.meter().u64_counter("orders").build();
    (0..50).for_each(|n| orders.add(1, &[KeyValue::new("n", n)]));
    assert_eq!(rig.told().len(), 10);
    let stats = rig.stats();
    assert_eq!((stats.recorded, stats.dropped.queue_full), (50, 40));

    rig.queue.close();
    orders.add(1, &[]);
    assert!(rig.told().is_empty());
    assert_eq!(rig.stats().dropped.shutdown, 1);
}

#[test]
fn provider_exports_nothing_after_shutdown() {
    let rig = Rig::new();
    let orders = rig.meter().u64_counter("orders").build();
    orders.add(1, &[]);
    rig.provider.shutdown().unwrap();
    assert_eq!(rig.stats().recorded, 1, "what was measured before is read at the end");
    orders.add(1, &[]);
    assert!(rig.provider.force_flush().is_err());
    assert_eq!(rig.stats().recorded, 1);
}
