//! Where does the time of transactions go, and what does the process take? (agent-spec, section 10)

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use serde_json::Value;
use tower_apm::{AgentBuilder, testkit::Kind, testkit::TestAgent};

const LONG: Duration = Duration::from_secs(20);

/// Metrics come at the end alone.
async fn apm(configure: impl FnOnce(AgentBuilder) -> AgentBuilder + Send + 'static) -> TestAgent {
    let once = |agent: AgentBuilder| agent.metrics_interval(Duration::from_secs(3600));
    TestAgent::builder().configure(move |agent| configure(once(agent))).start().await
}

/// The metric sets of an agent that ends: of transactions by span type, and others but for those of its own health.
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

/// What an agent tells of its own health so far: `agent.events.total event_type="span" counter 2`.
fn health(apm: &TestAgent) -> Vec<String> {
    let mut told = Vec::new();
    for set in apm.events(Kind::Metricset) {
        let labels = set["tags"].as_object().into_iter().flatten();
        let labels: String = labels.map(|(key, value)| format!(" {key}={value}")).collect();
        let samples = set["samples"].as_object().unwrap().iter().filter(|(name, _)| is_health(name));
        told.extend(samples.map(|(name, sample)| {
            let (kind, value) = (sample["type"].as_str().unwrap(), sample["value"].as_f64().unwrap());
            format!("{name}{labels} {kind} {value}")
        }));
    }
    told
}

/// `app 1 (30)`: type and subtype, count, and microseconds as far as they are foreseeable.
fn told(breakdown: &[Value]) -> Vec<String> {
    let word = |set: &Value, path: &str| set.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let number = |set: &Value, name: &str| set["samples"][name]["value"].as_f64().unwrap();
    let mut told: Vec<_> = breakdown
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
    told.sort();
    told
}

/// The time that many milliseconds from now: spans may say when they began and ended.
fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

fn call<T: Tracer>(tracer: &T, system: &'static str, [began, ended]: [u64; 2]) {
    let builder = tracer.span_builder("SELECT").with_kind(SpanKind::Client).with_start_time(at(began));
    let mut span = builder.with_attributes([KeyValue::new("db.system", system)]).start(tracer);
    span.set_status(Status::Ok);
    span.end_with_timestamp(at(ended));
}

/// Three calls, two of which are alike, and work around one of them.
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
    assert_eq!(told(&breakdown), want);
    assert_eq!(apm.events(Kind::Span).len(), 6, "what became one span was counted as two");
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
        let told = told(&breakdown);
        let calls = ["scheduled settle: db/redis 1 4000us", "scheduled settle: db/sqlite 2 3000us"];
        assert!(calls.iter().all(|call| told.iter().any(|told| told == call)), "{told:?}");
        assert!(told.iter().any(|told| told.starts_with("scheduled settle: app/internal 1 ")), "{told:?}");
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
    assert_eq!(told(&breakdown), ["scheduled settle: app 1"]);
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
    assert_eq!(told(&metricsets(&apm).await.0), ["scheduled settle *: app 3"]);
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
    assert_eq!((stats.recorded, stats.accepted), (2, 2), "with the queue's");
}

// spec: metrics-health.md
#[tokio::test]
async fn health_metrics_contain_events_requests_and_queue() {
    let apm = apm(|agent| agent).await;
    work(&apm);
    apm.agent().capture_error(&std::io::Error::other("no such order"));
    apm.agent().flush(LONG).await.unwrap();
    apm.agent().shutdown(LONG).await.unwrap();
    let told = health(&apm);
    for want in [
        r#"agent.events.total event_type="transaction" counter 1"#,
        r#"agent.events.total event_type="span" counter 3"#,
        r#"agent.events.total event_type="error" counter 1"#,
    ] {
        assert!(told.iter().any(|told| told == want), "{want} in {told:#?}");
    }
    let number = |start: &str| {
        let line = told.iter().find_map(|told| told.strip_prefix(start)).unwrap_or_else(|| panic!("{start} {told:#?}"));
        line.parse::<f64>().unwrap()
    };
    assert!(number("agent.events.requests.count success=true counter ") >= 1.0);
    assert!(number("agent.events.requests.bytes success=true counter ") > 100.0);
    let least = number(r#"agent.events.queue.min_size.pct queue_name="generic" gauge "#);
    let most = number(r#"agent.events.queue.max_size.pct queue_name="generic" gauge "#);
    assert!(least == 0.0 && 0.0 < most && most < 1.0, "{told:#?}");
    assert!(!told.iter().any(|told| told.contains("dropped") || told.contains("success=false")), "{told:#?}");
    assert!(!told.iter().any(|told| told.contains("background")), "nobody asked for it: {told:#?}");
}

// spec: metrics-health.md
#[tokio::test]
async fn health_metrics_contain_events_dropped_by_a_full_queue() {
    let apm = apm(|agent| agent.max_queue_size(8)).await;
    // more than fits, in one go: whatever the worker takes out meanwhile, it is told as Stats counts it
    while apm.agent().stats().dropped.queue_full == 0 {
        (0..10_000).for_each(|_| drop(apm.agent().start_transaction("burst", "scheduled")));
    }
    let dropped = apm.agent().stats().dropped.queue_full;
    apm.agent().shutdown(LONG).await.unwrap();
    let told = health(&apm);
    for want in [
        format!(r#"agent.events.dropped reason="queue" counter {dropped}"#),
        r#"agent.events.queue.max_size.pct queue_name="generic" gauge 1"#.to_owned(),
    ] {
        assert!(told.contains(&want), "{want} in {told:#?}");
    }
}

// spec: metrics-health.md
#[tokio::test]
async fn health_metrics_can_be_disabled_and_overhead_enabled() {
    let apm = self::apm(|agent| agent.disable_metrics(["agent.events.*"])).await;
    work(&apm);
    apm.agent().shutdown(LONG).await.unwrap();
    assert_eq!(health(&apm), Vec::<String>::new());

    // the overhead has an option of its own, and no other one
    let apm = self::apm(|agent| agent.agent_background_overhead_metrics(true).disable_metrics(["*"])).await;
    work(&apm);
    apm.agent().shutdown(LONG).await.unwrap();
    let told = health(&apm);
    if cfg!(target_os = "linux") {
        let [overhead, total, threads] = &told[..] else { panic!("{told:#?}") };
        for (told, name) in [(total, "total"), (overhead, "overhead")] {
            let start = format!(r#"agent.background.cpu.{name}.pct task="tower-apm" gauge "#);
            let share = told.strip_prefix(&start).unwrap_or_else(|| panic!("{start} in {told}"));
            assert!((0.0..=1.0).contains(&share.parse::<f64>().unwrap()), "{told}");
        }
        assert_eq!(threads, r#"agent.background.threads.count task="tower-apm" gauge 1"#);
    } else {
        assert_eq!(told, Vec::<String>::new());
    }
}

// spec: metrics.md
#[tokio::test]
async fn metrics_are_sent_and_reset_each_interval() {
    let apm = TestAgent::builder().configure(|agent| agent.metrics_interval(Duration::from_millis(20))).start().await;
    let breakdown = |apm: &TestAgent| {
        let sets = apm.events(Kind::Metricset).into_iter().filter(|set| set.get("transaction").is_some());
        told(&sets.collect::<Vec<_>>())
    };
    for n in 1..=2 {
        work(&apm);
        let began = std::time::Instant::now();
        while breakdown(&apm).iter().filter(|told| *told == "scheduled settle: db/redis 1 4000us").count() < n {
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
