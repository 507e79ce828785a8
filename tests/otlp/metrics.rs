//! Metrics over intake and OTLP at the real server.

use serde_json::Value;
use tower_apm::{AgentBuilder, Exporter, OtlpProtocol};

use crate::{
    decoder::{DEADLINE, Decoder, agent},
    document::Document,
};

/// Configures an agent that sends metrics only at shutdown.
fn sends_to(agent: AgentBuilder, decoder: &Decoder, exporter: Exporter, protocol: OtlpProtocol) -> AgentBuilder {
    let agent = agent.metrics_interval(DEADLINE).secret_token("hunter2").server_url(decoder.http.as_str());
    // the response of the server is compressed too
    let agent = agent.exporter(exporter).otlp_protocol(protocol).gzip(true);
    match protocol {
        OtlpProtocol::Grpc => agent.otlp_endpoint(&*decoder.grpc),
        _ => agent,
    }
}

async fn documents(exporter: Exporter, protocol: OtlpProtocol) -> (Vec<Document>, tower_apm::Stats) {
    let decoder = Decoder::start("hunter2");
    let agent = agent(|agent| sends_to(agent, &decoder, exporter, protocol));
    agent.start_transaction("settle", "scheduled").in_scope(|| tracing::info_span!("price").in_scope(|| ()));
    agent.shutdown(DEADLINE).await.unwrap();
    let documents = decoder.documents();
    (documents.into_iter().filter(|document| document.0.get("metricset").is_some()).collect(), agent.stats())
}

// spec: metrics.md
#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn breakdown_metrics_are_accepted_by_the_real_server() {
    let (documents, stats) = documents(Exporter::Intake, OtlpProtocol::default()).await;
    assert_eq!((stats.rejected, stats.dropped.total()), (0, 0), "{stats}");
    let breakdown: Vec<_> = documents.iter().filter(|document| document.0.get("transaction").is_some()).collect();
    let mut found: Vec<_> = breakdown
        .iter()
        .map(|document| {
            let count = document.0.pointer("/span/self_time/count").and_then(Value::as_u64);
            let micros = document.0.pointer("/span/self_time/sum.us").and_then(Value::as_u64);
            assert!(micros.is_some(), "{document:?}");
            assert_eq!(document.text("/metricset/name"), "span_breakdown");
            let names = ["/transaction/type", "/transaction/name", "/span/type", "/span/subtype"];
            (names.map(|name| document.text(name)), count)
        })
        .collect();
    found.sort();
    let want = [(["scheduled", "settle", "app", ""], Some(1)), (["scheduled", "settle", "app", "internal"], Some(1))];
    assert_eq!(found, want);
    let host = documents.iter().find(|document| document.0.get("transaction").is_none());
    if let Some(host) = host.filter(|_| cfg!(target_os = "linux")) {
        // otherwise each service would get its own data stream
        assert_eq!(host.text("/data_stream/dataset"), "apm.internal", "{host:?}");
        let samples = host.0.pointer("/metricset/samples").and_then(Value::as_array).unwrap();
        assert!(samples.iter().any(|sample| sample["name"] == "system.cpu.total.norm.pct"), "{samples:?}");
    }
}

// spec: metrics-health.md
#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn health_metrics_are_accepted_by_the_real_server() {
    let (documents, stats) = documents(Exporter::Intake, OtlpProtocol::default()).await;
    assert_eq!((stats.rejected, stats.dropped.total()), (0, 0), "{stats}");
    let mut found = Vec::new();
    for document in &documents {
        let samples = document.0.pointer("/metricset/samples").and_then(Value::as_array).into_iter().flatten();
        for sample in samples.filter(|sample| sample["name"].as_str().unwrap().starts_with("agent.")) {
            assert_eq!(document.text("/metricset/name"), "app", "{document:?}");
            // the server removes the type of metrics that it knows
            assert_eq!((document.text("/data_stream/dataset"), sample.get("type")), ("apm.internal", None));
            let name = sample["name"].as_str().unwrap().trim_start_matches("agent.events.");
            found.push(format!("{name} {} {}", document.0["labels"], sample["value"]));
        }
    }
    // on a slow machine there are requests before shutdown
    found.retain(|line| !line.starts_with("requests"));
    found.sort();
    let want = [
        r#"queue.max_size.pct {"queue_name":"generic"} "#,
        r#"queue.min_size.pct {"queue_name":"generic"} 0"#,
        r#"total {"event_type":"span"} 1"#,
        r#"total {"event_type":"transaction"} 1"#,
    ];
    assert_eq!(found.len(), want.len(), "{found:?}");
    assert!(found.iter().zip(want).all(|(line, want)| line.starts_with(want)), "{found:#?}");
}

// spec: metrics-otel.md
#[cfg(feature = "sdk")]
#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn opentelemetry_metrics_are_accepted_by_the_real_server() {
    for (exporter, protocol) in [
        (Exporter::Intake, OtlpProtocol::default()),
        (Exporter::Otlp, OtlpProtocol::HttpProtobuf),
        (Exporter::Otlp, OtlpProtocol::Grpc),
    ] {
        accepts_opentelemetry_metrics(exporter, protocol).await;
    }
}

#[cfg(feature = "sdk")]
async fn accepts_opentelemetry_metrics(exporter: Exporter, protocol: OtlpProtocol) {
    use opentelemetry::{KeyValue, metrics::MeterProvider};

    let decoder = Decoder::start("hunter2");
    let agent = agent(|agent| sends_to(agent, &decoder, exporter, protocol));
    let provider = agent.meter_provider();
    let meter = provider.meter("shop");
    let labels = [KeyValue::new("coin", "ETH"), KeyValue::new("chain.id", 1), KeyValue::new("test", true)];
    meter.u64_counter("shop.orders").build().add(2, &labels);
    meter.i64_up_down_counter("shop.open").build().add(-4, &labels);
    let seconds = meter.f64_histogram("shop.seconds").build();
    // below the first bound, between two, and above the last
    [-1.0, 0.001, 3.0, 3.5, 1e9].iter().for_each(|value| seconds.record(*value, &labels));
    // each of these would make the index refuse the document
    meter.u64_counter("service").build().add(1, &labels);
    meter.u64_counter("shop.orders.size").build().add(1, &labels);
    meter.f64_gauge("shop.load").build().record(f64::INFINITY, &labels);
    provider.shutdown().unwrap();
    agent.shutdown(DEADLINE).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.rejected, stats.dropped.total(), stats.accepted), (0, 0, stats.recorded), "{stats}");
    assert_eq!(stats.dropped_keys, 2, "{stats}");

    let documents = decoder.documents();
    let is_ours = |document: &&Document| document.text("/labels/coin") == "ETH";
    let ours: Vec<_> = documents.iter().filter(is_ours).collect();
    let [document] = ours[..] else { panic!("{documents:?}") };
    assert_eq!(document.text("/metricset/name"), "app");
    assert_eq!(document.text("/data_stream/dataset"), "apm.app.otlp");
    assert_eq!(document.0["labels"], serde_json::json!({ "coin": "ETH", "test": "true" }));
    assert_eq!(document.0["numeric_labels"], serde_json::json!({ "chain_id": 1 }));
    let mut samples = document.0.pointer("/metricset/samples").and_then(Value::as_array).unwrap().clone();
    samples.sort_by_key(|sample| sample["name"].to_string());
    let want = serde_json::json!([
        { "name": "shop.open", "type": "gauge", "value": -4 },
        { "name": "shop.orders", "type": "counter", "value": 2 },
        { "name": "shop.seconds", "type": "histogram", "values": [0.001953125, 3.414215, 131072], "counts": [2, 2, 1] },
    ]);
    assert_eq!(Value::Array(samples), want);
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn otlp_sends_all_metrics_except_breakdown_metrics() {
    for protocol in [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc] {
        let (documents, stats) = documents(Exporter::Otlp, protocol).await;
        assert_eq!((stats.rejected, stats.dropped.total(), stats.accepted), (0, 0, stats.recorded), "{stats}");
        assert!(!documents.is_empty() && documents.iter().all(Document::is_otlp));
        assert!(documents.iter().all(|document| document.0.get("transaction").is_none()), "{documents:#?}");
        let value = |wanted: &str, dataset: &str| {
            let of_set = documents.iter().filter(|document| document.text("/data_stream/dataset") == dataset);
            let samples = of_set.filter_map(|document| document.0.pointer("/metricset/samples")?.as_array()).flatten();
            samples.filter(|sample| sample["name"] == wanted).map(|sample| sample["value"].as_f64().unwrap()).next()
        };
        assert_eq!(value("agent.events.total", "apm.internal"), Some(1.0));
        if cfg!(target_os = "linux") {
            let cpu = value("system.cpu.total.norm.pct", "apm.internal");
            assert!(cpu.is_some(), "{documents:#?}");
            assert_eq!(value("system.cpu.utilization", "apm.app.otlp"), cpu);
            let used = value("system.memory.utilization", "apm.app.otlp");
            assert!(used.is_some_and(|used| used > 0.0 && used < 1.0), "{used:?}");
        }
    }
}
