//! Breakdown, system, process and health metrics.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use serde_json::Value;
use tower_apm::{AgentBuilder, testkit::Kind, testkit::TestAgent};

const LONG: Duration = Duration::from_secs(20);

/// Starts an agent that sends metrics only at shutdown.
async fn apm(configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> TestAgent {
    let once = |agent: AgentBuilder| agent.metrics_interval(Duration::from_secs(3600));
    TestAgent::builder().configure(move |agent| configure(once(agent))).start().await
}

/// Shuts the agent down and returns its metric sets: breakdown metrics, and others without health metrics.
async fn metricsets(apm: &TestAgent) -> (Vec<Value>, Vec<Value>) {
    apm.agent().shutdown(LONG).await.unwrap();
    let sets = apm.events(Kind::Metricset).into_iter().filter(|set| !samples_of(set).any(|name| is_health(name)));
    sets.partition(|set| set.get("transaction").is_some())
}

fn samples_of(set: &Value) -> impl Iterator<Item = &String> {
    set["samples"].as_object().unwrap().keys()
}

fn is_health(name: &str) -> bool {
    name.starts_with("agent.")
}

/// The health metrics that were sent so far, such as `agent.events.total event_type="span" counter 2`.
fn health(apm: &TestAgent) -> Vec<String> {
    let mut found = Vec::new();
    for set in apm.events(Kind::Metricset) {
        let labels = set["tags"].as_object().into_iter().flatten();
        let labels: String = labels.map(|(key, value)| format!(" {key}={value}")).collect();
        let samples = set["samples"].as_object().unwrap().iter().filter(|(name, _)| is_health(name));
        found.extend(samples.map(|(name, sample)| {
            let (kind, value) = (sample["type"].as_str().unwrap(), sample["value"].as_f64().unwrap());
            format!("{name}{labels} {kind} {value}")
        }));
    }
    found
}

/// Breakdown metrics as text: type, subtype, count, and the microseconds that the test can predict.
fn breakdown_lines(breakdown: &[Value]) -> Vec<String> {
    let word = |set: &Value, path: &str| set.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let number = |set: &Value, name: &str| set["samples"][name]["value"].as_f64().unwrap();
    let mut lines: Vec<_> = breakdown
        .iter()
        .map(|set| {
            let subtype = word(set, "/span/subtype").map_or_else(String::new, |subtype| format!("/{subtype}"));
            let kind = word(set, "/span/type").unwrap();
            let micros = number(set, "span.self_time.sum.us");
            let micros = if kind == "app" && subtype.is_empty() { String::new() } else { format!(" {micros}us") };
            let (of, name) = (word(set, "/transaction/type").unwrap(), word(set, "/transaction/name").unwrap());
            format!("{of} {name}: {kind}{subtype} {}{micros}", number(set, "span.self_time.count"))
        })
        .collect();
    lines.sort();
    lines
}

/// The time so many milliseconds after the epoch.
fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

fn call<T: Tracer>(tracer: &T, system: &'static str, [began, ended]: [u64; 2]) {
    let builder = tracer.span_builder("SELECT").with_kind(SpanKind::Client).with_start_time(at(began));
    let mut span = builder.with_attributes([KeyValue::new("db.system", system)]).start(tracer);
    span.set_status(Status::Ok);
    span.end_with_timestamp(at(ended));
}

/// Runs a transaction with three exit spans. Two are equal, and the third is in another span.
fn work(apm: &TestAgent) {
    let tracer = apm.agent().tracer_provider().tracer("work");
    apm.agent().start_transaction("settle", "scheduled").in_scope(|| {
        call(&tracer, "sqlite", [0, 1]);
        call(&tracer, "sqlite", [2, 4]);
        let outer = tracer.span_builder("price").with_start_time(at(10)).start(&tracer);
        let _inside = Context::current_with_span(outer).attach();
        call(&tracer, "redis", [11, 15]);
        Context::current().span().end_with_timestamp(at(20));
    });
}

// spec: metrics.md
#[tokio::test]
async fn breakdown_metrics_contain_self_time_by_span_type() {
    let apm = apm(|agent| agent).await;
    for _ in 0..2 {
        work(&apm);
    }
    let (breakdown, _) = metricsets(&apm).await;
    let want = [
        "scheduled settle: app 2",
        "scheduled settle: app/internal 2 12000us",
        "scheduled settle: db/redis 2 8000us",
        "scheduled settle: db/sqlite 4 6000us",
    ];
    assert_eq!(breakdown_lines(&breakdown), want);
    assert_eq!(apm.events(Kind::Span).len(), 6, "each span of a composite is counted");
}

// spec: metrics.md
#[tokio::test]
async fn breakdown_metrics_include_dropped_and_compressed_spans() {
    for options in [
        |agent: AgentBuilder| agent.transaction_max_spans(0),
        |agent: AgentBuilder| agent.exit_span_min_duration(Duration::from_secs(1)).transaction_max_spans(1),
    ] {
        let apm = apm(options).await;
        work(&apm);
        let (breakdown, _) = metricsets(&apm).await;
        let lines = breakdown_lines(&breakdown);
        let calls = ["scheduled settle: db/redis 1 4000us", "scheduled settle: db/sqlite 2 3000us"];
        assert!(calls.iter().all(|call| lines.iter().any(|line| line == call)), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("scheduled settle: app/internal 1 ")), "{lines:?}");
    }
}

// spec: metrics.md
#[tokio::test]
async fn breakdown_metrics_omit_spans_that_end_after_the_transaction() {
    let apm = apm(|agent| agent).await;
    let tracer = apm.agent().tracer_provider().tracer("work");
    let mut late = None;
    apm.agent().start_transaction("settle", "scheduled").in_scope(|| late = Some(tracer.start("late")));
    drop(late);
    let (breakdown, _) = metricsets(&apm).await;
    assert_eq!(breakdown_lines(&breakdown), ["scheduled settle: app 1"]);
}

// spec: metrics.md
#[tokio::test]
async fn breakdown_metrics_are_only_for_sampled_transactions_and_can_be_disabled() {
    for options in [
        |agent: AgentBuilder| agent.breakdown_metrics(false),
        |agent: AgentBuilder| agent.disable_metrics(["span.self_time.*"]),
        |agent: AgentBuilder| agent.metrics_interval(Duration::ZERO),
        |agent: AgentBuilder| agent.transaction_sample_rate(0.0),
    ] {
        let apm = apm(options).await;
        work(&apm);
        assert_eq!(metricsets(&apm).await.0, Vec::<Value>::new());
    }
}

// spec: metrics.md
#[tokio::test]
async fn breakdown_metrics_use_transaction_name_groups() {
    let apm = apm(|agent| agent.transaction_name_groups(["settle *"])).await;
    for n in 0..3 {
        drop(apm.agent().start_transaction(format!("settle {n}"), "scheduled"));
    }
    assert_eq!(breakdown_lines(&metricsets(&apm).await.0), ["scheduled settle *: app 3"]);
}

// spec: metrics.md
#[tokio::test]
#[cfg(target_os = "linux")]
async fn system_and_process_metrics_are_sent() {
    let apm = apm(|agent| agent.disable_metrics(["system.process.cpu.*"])).await;
    let (_, others) = metricsets(&apm).await;
    let [set] = &others[..] else { panic!("{others:?}") };
    let value = |name: &str| set["samples"][name]["value"].as_f64();
    for bytes in [
        "system.memory.total",
        "system.memory.actual.free",
        "system.process.memory.size",
        "system.process.memory.rss.bytes",
    ] {
        assert!(value(bytes).is_some_and(|bytes| bytes > 1e6), "{bytes} in {set}");
    }
    assert!(value("system.cpu.total.norm.pct").is_some_and(|share| (0.0..=1.0).contains(&share)), "{set}");
    assert_eq!(value("system.process.cpu.total.norm.pct"), None, "disabled");
    let stats = apm.agent().stats();
    assert_eq!((stats.recorded, stats.accepted), (2, 2), "the metrics of the host and of the queue");
}

// spec: metrics-health.md
#[tokio::test]
async fn health_metrics_contain_events_requests_and_queue() {
    let apm = apm(|agent| agent).await;
    work(&apm);
    apm.agent().capture_error(&std::io::Error::other("no such order"));
    apm.agent().flush(LONG).await.unwrap();
    apm.agent().shutdown(LONG).await.unwrap();
    let lines = health(&apm);
    for want in [
        r#"agent.events.total event_type="transaction" counter 1"#,
        r#"agent.events.total event_type="span" counter 3"#,
        r#"agent.events.total event_type="error" counter 1"#,
    ] {
        assert!(lines.iter().any(|line| line == want), "{want} in {lines:#?}");
    }
    let number = |start: &str| {
        let line =
            lines.iter().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("{start} {lines:#?}"));
        line.parse::<f64>().unwrap()
    };
    assert!(number("agent.events.requests.count success=true counter ") >= 1.0);
    assert!(number("agent.events.requests.bytes success=true counter ") > 100.0);
    let least = number(r#"agent.events.queue.min_size.pct queue_name="generic" gauge "#);
    let most = number(r#"agent.events.queue.max_size.pct queue_name="generic" gauge "#);
    assert!(least == 0.0 && 0.0 < most && most < 1.0, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("dropped") || line.contains("success=false")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("background")), "off by default: {lines:#?}");
}

// spec: metrics-health.md
#[tokio::test]
async fn health_metrics_contain_events_dropped_by_a_full_queue() {
    let apm = apm(|agent| agent.max_queue_size(8)).await;
    // more than the queue holds; the worker may remove events meanwhile, so the count is that of `Stats`
    while apm.agent().stats().dropped.queue_full == 0 {
        (0..10_000).for_each(|_| drop(apm.agent().start_transaction("burst", "scheduled")));
    }
    let dropped = apm.agent().stats().dropped.queue_full;
    apm.agent().shutdown(LONG).await.unwrap();
    let lines = health(&apm);
    for want in [
        format!(r#"agent.events.dropped reason="queue" counter {dropped}"#),
        r#"agent.events.queue.max_size.pct queue_name="generic" gauge 1"#.to_owned(),
    ] {
        assert!(lines.contains(&want), "{want} in {lines:#?}");
    }
}

// spec: metrics-health.md
#[tokio::test]
async fn health_metrics_can_be_disabled_and_overhead_enabled() {
    let apm = self::apm(|agent| agent.disable_metrics(["agent.events.*"])).await;
    work(&apm);
    apm.agent().shutdown(LONG).await.unwrap();
    assert_eq!(health(&apm), Vec::<String>::new());

    // the overhead depends on its own option only
    let apm = self::apm(|agent| agent.agent_background_overhead_metrics(true).disable_metrics(["*"])).await;
    work(&apm);
    apm.agent().shutdown(LONG).await.unwrap();
    let lines = health(&apm);
    if cfg!(target_os = "linux") {
        let [overhead, total, threads] = &lines[..] else { panic!("{lines:#?}") };
        for (line, name) in [(total, "total"), (overhead, "overhead")] {
            let start = format!(r#"agent.background.cpu.{name}.pct task="tower-apm" gauge "#);
            let share = line.strip_prefix(&start).unwrap_or_else(|| panic!("{start} in {line}"));
            assert!((0.0..=1.0).contains(&share.parse::<f64>().unwrap()), "{line}");
        }
        assert_eq!(threads, r#"agent.background.threads.count task="tower-apm" gauge 1"#);
    } else {
        assert_eq!(lines, Vec::<String>::new());
    }
}

// spec: metrics.md
#[tokio::test]
async fn metrics_are_sent_and_reset_each_interval() {
    let apm = TestAgent::builder().configure(|agent| agent.metrics_interval(Duration::from_millis(20))).start().await;
    let breakdown = |apm: &TestAgent| {
        let sets = apm.events(Kind::Metricset).into_iter().filter(|set| set.get("transaction").is_some());
        breakdown_lines(&sets.collect::<Vec<_>>())
    };
    for n in 1..=2 {
        work(&apm);
        let began = std::time::Instant::now();
        while breakdown(&apm).iter().filter(|line| *line == "scheduled settle: db/redis 1 4000us").count() < n {
            assert!(began.elapsed() < LONG, "{:?}", breakdown(&apm));
            apm.flush().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn no_metrics_are_sent_with_recording_off() {
    let apm = apm(|agent| agent.recording(false)).await;
    work(&apm);
    let (breakdown, others) = metricsets(&apm).await;
    assert_eq!((breakdown, others), (Vec::new(), Vec::new()));
}
