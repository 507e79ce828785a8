//! Metrics of OpenTelemetry's API.

use std::time::{Duration, Instant};

use opentelemetry::{KeyValue, metrics::MeterProvider};
use opentelemetry_sdk::metrics::{Aggregation, Instrument, PeriodicReader, SdkMeterProvider, Stream};
use serde_json::{Value, json};
use tower_apm::{AgentBuilder, testkit::Kind, testkit::TestAgent};

const LONG: Duration = Duration::from_secs(30);

/// Starts an agent whose interval does not end during the test.
async fn apm(configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> TestAgent {
    let hourly = |agent: AgentBuilder| agent.metrics_interval(Duration::from_secs(3600));
    TestAgent::builder().configure(move |agent| configure(hourly(agent))).start().await
}

/// The metric sets of the service that were sent so far.
async fn sets(apm: &TestAgent) -> Vec<Value> {
    apm.agent().flush(LONG).await.unwrap();
    let own = |set: &Value| {
        let names: Vec<_> = set["samples"].as_object().unwrap().keys().collect();
        set.get("transaction").is_none() && !names.iter().any(|name| name.starts_with("system.") || is_agent(name))
    };
    apm.events(Kind::Metricset).into_iter().filter(own).collect()
}

fn is_agent(name: &str) -> bool {
    name.starts_with("agent.")
}

/// The sample of this name, which is in exactly one set.
async fn sample(apm: &TestAgent, name: &str) -> Value {
    let sets = sets(apm).await;
    let found: Vec<_> = sets.iter().filter_map(|set| set["samples"].get(name)).collect();
    let [sample] = found[..] else { panic!("{name} in {sets:?}") };
    sample.clone()
}

// spec: metrics-otel.md
#[tokio::test]
async fn opentelemetry_metrics_have_their_names_and_typed_labels() {
    let apm = apm(|agent| agent).await;
    let provider = apm.agent().meter_provider();
    let meter = provider.meter("shop");
    let labels = [
        KeyValue::new("coin", "ETH"),
        KeyValue::new("chain.id", 1),
        KeyValue::new("test", false),
        KeyValue::new("fee", 0.5),
    ];
    meter.u64_counter("shop.orders").build().add(2, &labels);
    meter.i64_gauge("shop.balance").build().record(-7, &labels);
    meter.f64_histogram("shop.seconds").with_boundaries(vec![1.0, 3.0]).build().record(2.0, &labels);
    provider.force_flush().unwrap();
    let sets = sets(&apm).await;
    let [set] = &sets[..] else { panic!("{sets:?}") };
    assert_eq!(set["tags"], json!({ "coin": "ETH", "chain_id": 1, "test": false, "fee": 0.5 }));
    let samples = json!({
        "shop.orders": { "type": "counter", "value": 2 },
        "shop.balance": { "type": "gauge", "value": -7 },
        "shop.seconds": { "type": "histogram", "values": [2.0], "counts": [1] },
    });
    for (name, sample) in samples.as_object().unwrap() {
        for (field, want) in sample.as_object().unwrap() {
            let found = &set["samples"][name][field];
            assert!(found == want || found.as_f64() == want.as_f64() && found.is_number(), "{name} {field}: {found}");
        }
    }
    assert_eq!(set["samples"].as_object().unwrap().len(), 3);
}

/// A view for histograms of this name.
fn view(name: &'static str, stream: impl Fn() -> Stream) -> impl Fn(&Instrument) -> Option<Stream> {
    move |instrument| (instrument.name() == name).then(&stream)
}

// spec: metrics-otel.md
#[tokio::test]
async fn histograms_use_the_default_boundaries_unless_configured() {
    async fn first_values(apm: &TestAgent, provider: tower_apm::otel::ApmMeterProvider) -> Vec<Value> {
        let meter = provider.meter("shop");
        let own = meter.f64_histogram("own").with_boundaries(vec![2.0, 4.0]).build();
        let others = ["default", "viewed", "renamed"].map(|name| meter.f64_histogram(name).build());
        others.iter().chain([&own]).for_each(|histogram| histogram.record(3.0, &[]));
        meter.u64_histogram("whole").build().record(3, &[]);
        provider.force_flush().unwrap();
        let sets = sets(apm).await;
        let [set] = &sets[..] else { panic!("{sets:?}") };
        let samples = set["samples"].as_object().unwrap();
        assert_eq!(samples.len(), 5, "each histogram is sent once: {samples:?}");
        let names = ["default", "whole", "own", "viewed", "new_name"];
        names.map(|name| samples[name]["values"][0].clone()).into()
    }
    // the middle of 2.82843 and 4
    let middle = 3.414215;
    let with_views = |apm: &TestAgent| {
        apm.agent().meter_provider_with(|builder| {
            let boundaries = Aggregation::ExplicitBucketHistogram { boundaries: vec![2.0, 8.0], record_min_max: false };
            builder
                .with_view(view("viewed", move || {
                    Stream::builder().with_aggregation(boundaries.clone()).build().unwrap()
                }))
                .with_view(view("renamed", || Stream::builder().with_name("new_name").build().unwrap()))
        })
    };
    let apm = self::apm(|agent| agent).await;
    let provider = with_views(&apm);
    let want = [middle, middle, 3.0, 5.0, middle];
    let close = |values: &[Value], want: [f64; 5]| {
        values.iter().zip(want).all(|(value, want)| (value.as_f64().unwrap() - want).abs() < 1e-9)
    };
    let values = first_values(&apm, provider).await;
    assert!(close(&values, want), "{values:?}");

    let apm = self::apm(|agent| agent.custom_metrics_histogram_boundaries([1.0, 11.0])).await;
    let provider = with_views(&apm);
    let values = first_values(&apm, provider).await;
    assert!(close(&values, [6.0, 6.0, 3.0, 5.0, 6.0]), "{values:?}");
}

// spec: metrics-otel.md
#[tokio::test]
async fn opentelemetry_metrics_are_sent_each_interval() {
    let apm = TestAgent::builder().configure(|agent| agent.metrics_interval(Duration::from_millis(20))).start().await;
    let provider = apm.agent().meter_provider();
    let orders = provider.meter("shop").u64_counter("shop.orders").build();
    for n in 1..=2 {
        orders.add(n, &[]);
        let began = Instant::now();
        loop {
            let sets = sets(&apm).await;
            let values = sets.iter().filter_map(|set| set["samples"]["shop.orders"]["value"].as_f64());
            if values.sum::<f64>() == (1..=n).sum::<u64>() as f64 {
                break;
            }
            assert!(began.elapsed() < LONG, "{sets:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

// spec: metrics-otel.md
#[tokio::test]
async fn shutdown_sends_the_last_opentelemetry_metrics() {
    let apm = apm(|agent| agent).await;
    let provider = apm.agent().meter_provider();
    let orders = provider.meter("shop").u64_counter("shop.orders").build();
    orders.add(3, &[]);
    provider.shutdown().unwrap();
    apm.agent().shutdown(LONG).await.unwrap();
    assert_eq!(sample(&apm, "shop.orders").await["value"].as_f64(), Some(3.0));
    orders.add(1, &[]);
    assert!(provider.force_flush().is_err());
    let stats = apm.agent().stats();
    assert_eq!((stats.recorded, stats.dropped.total()), (stats.accepted, 0), "{stats}");
}

// spec: metrics-otel.md
#[tokio::test]
async fn metric_exporter_works_with_an_existing_provider() {
    let apm = apm(|agent| agent).await;
    let reader = PeriodicReader::builder(apm.agent().metric_exporter()).with_interval(Duration::from_secs(3600));
    let theirs = SdkMeterProvider::builder().with_reader(reader.build()).build();
    theirs.meter("shop").f64_up_down_counter("shop.open").build().add(-1.5, &[]);
    // a provider of the agent does not become the global one
    let _ours = apm.agent().meter_provider();
    opentelemetry::global::meter("shop").u64_counter("shop.lost").build().add(1, &[]);
    theirs.force_flush().unwrap();
    let open = sample(&apm, "shop.open").await;
    assert_eq!((open["type"].as_str(), open["value"].as_f64()), (Some("gauge"), Some(-1.5)));
    assert_eq!(sets(&apm).await.len(), 1);
}

// spec: metrics-otel.md
#[tokio::test]
async fn invalid_metric_names_and_label_keys_are_dropped_and_counted() {
    let apm = apm(|agent| agent.disable_metrics(["shop.secret*"])).await;
    let provider = apm.agent().meter_provider_with(|builder| {
        // a name that the SDK accepts
        builder.with_view(view("blank", || Stream::builder().with_name("a..b").build().unwrap()))
    });
    let meter = provider.meter("shop");
    for name in ["shop.pool", "service", "blank", "shop.secret.orders"] {
        meter
            .u64_counter(name)
            .build()
            .add(1, &[KeyValue::new(" ", 1), KeyValue::new("a.b", 2), KeyValue::new("a_b", 3)]);
    }
    provider.force_flush().unwrap();
    sample(&apm, "shop.pool").await;
    meter.u64_counter("shop.pool.size").build().add(1, &[]);
    meter.u64_counter("shop.other").build().add(1, &[]);
    provider.force_flush().unwrap();
    let sets = sets(&apm).await;
    let mut names: Vec<_> = sets.iter().flat_map(|set| set["samples"].as_object().unwrap().keys()).collect();
    names.sort();
    assert_eq!(names, ["shop.other", "shop.pool"]);
    let tags: Vec<_> = sets.iter().filter_map(|set| set.get("tags")).collect();
    assert_eq!(tags, [&json!({ "a_b": 3 })], "the last of two keys that become equal");
    let stats = apm.agent().stats();
    // `service`, `a..b`, `shop.pool.size`, a blank label, and a label with the key of another one
    assert_eq!((stats.rejected, stats.dropped_keys), (0, 5), "{stats}");
}

// spec: metrics-otel.md
#[tokio::test]
async fn no_opentelemetry_metrics_are_sent_with_recording_off() {
    let apm = apm(|agent| agent.recording(false)).await;
    let provider = apm.agent().meter_provider();
    let orders = provider.meter("shop").u64_counter("shop.orders").build();
    orders.add(1, &[]);
    provider.force_flush().unwrap();
    assert_eq!(apm.agent().stats().recorded, 0);
    apm.set_central_config([("recording", "true")]);
    orders.add(2, &[]);
    provider.force_flush().unwrap();
    assert_eq!(sample(&apm, "shop.orders").await["value"].as_f64(), Some(2.0));
}

// spec: metrics-otel.md
#[tokio::test]
async fn observable_instruments_are_not_called_if_nothing_is_sent() {
    for options in [
        |agent: AgentBuilder| agent.enabled(false),
        |agent: AgentBuilder| agent.metrics_interval(Duration::ZERO),
        |agent: AgentBuilder| agent.disable_send(true),
    ] {
        let apm = apm(options).await;
        let provider = apm.agent().meter_provider();
        let callback = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let called = callback.clone();
        let meter = provider.meter("shop");
        let _gauge = meter
            .u64_observable_gauge("shop.depth")
            .with_callback(move |gauge| {
                called.store(true, std::sync::atomic::Ordering::Relaxed);
                gauge.observe(1, &[]);
            })
            .build();
        meter.u64_counter("shop.orders").build().add(1, &[]);
        provider.force_flush().unwrap();
        assert!(!callback.load(std::sync::atomic::Ordering::Relaxed));
        provider.shutdown().unwrap();
        assert_eq!(apm.agent().stats().recorded, 0);
    }
}
