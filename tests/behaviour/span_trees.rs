//! Random trees of spans under random limits: every parent that an event names has arrived.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    prop_assert, prop_assert_eq,
    sample::{Index, select},
    test_runner::{Config, RngSeed, TestCaseError, TestRunner},
};
use tower_apm::{Transaction, devserver::Kind, testkit::TestAgent, trace_context};

const CASES: u32 = 150;

#[derive(Debug, Clone)]
struct Limits {
    max_spans: i64,
    compresses: bool,
    same_kind: u64,
    shortest: u64,
    /// 0: no filter, 1: it keeps, 2: it drops.
    filter: u8,
    sampled: bool,
    timed: bool,
    otlp: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Begin {
        parent: Index,
        kind: Exit,
        took: u64,
    },
    End(Index),
    /// The context of the span is dropped.
    Release(Index),
    Fail(Index),
    /// A call passes the context on.
    Inject(Index),
    /// The transaction ends. Spans may continue.
    Finish,
}

#[derive(Debug, Clone, Copy)]
enum Exit {
    Internal,
    Select,
    Insert,
    Other,
    Http,
    Message,
}

impl Exit {
    fn attributes(self) -> (SpanKind, &'static str, Vec<KeyValue>) {
        match self {
            Exit::Internal => (SpanKind::Internal, "load", Vec::new()),
            Exit::Select => (SpanKind::Client, "SELECT", vec![KeyValue::new("db.system", "mysql")]),
            Exit::Insert => (SpanKind::Client, "INSERT", vec![KeyValue::new("db.system", "mysql")]),
            Exit::Other => (SpanKind::Client, "GET", vec![KeyValue::new("db.system", "redis")]),
            Exit::Http => (SpanKind::Client, "GET", vec![KeyValue::new("url.full", "http://chain.example/rpc")]),
            Exit::Message => (SpanKind::Producer, "SEND", vec![KeyValue::new("messaging.system", "kafka")]),
        }
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let numbers = (select(&[-1, 0, 1, 2, 3, 5, 10, 40][..]), select(&[0_u64, 3][..]), select(&[0_u64, 2, 9][..]));
    let switches = (any::<bool>(), 0_u8..3, prop_oneof![9 => select(&[true][..]), 1 => select(&[false][..])]);
    (numbers, switches, any::<bool>(), any::<bool>()).prop_map(
        |((max_spans, same_kind, shortest), (compresses, filter, sampled), timed, otlp)| {
            let otlp = otlp && cfg!(feature = "otlp");
            Limits { max_spans, compresses, same_kind, shortest, filter, sampled, timed, otlp }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    const EXITS: &[Exit] = &[Exit::Internal, Exit::Select, Exit::Insert, Exit::Other, Exit::Http, Exit::Message];
    let kind = prop_oneof![select(EXITS), select(&[Exit::Select][..]), select(&[Exit::Internal][..])];
    prop_oneof![
        40 => (any::<Index>(), kind, 0_u64..6).prop_map(|(parent, kind, took)| Step::Begin { parent, kind, took }),
        30 => any::<Index>().prop_map(Step::End),
        15 => any::<Index>().prop_map(Step::Release),
        4 => any::<Index>().prop_map(Step::Fail),
        4 => any::<Index>().prop_map(Step::Inject),
        1 => select(&[Step::Finish][..]),
    ]
}

/// A span's context, and when it ends.
type Held = (Context, SystemTime);

/// Runs the steps and returns the ids of spans that were propagated.
fn run(apm: &TestAgent, steps: &[Step]) -> Vec<String> {
    let tracer = apm.agent().tracer_provider().tracer("trees");
    let mut work = Some(apm.agent().start_transaction("work", "scheduled"));
    let root = Context::from(work.as_deref().unwrap().clone());
    let mut held: Vec<Held> = vec![(root, SystemTime::UNIX_EPOCH)];
    let mut passed_on = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Begin { parent, kind, took } => {
                let (kind, name, attributes) = kind.attributes();
                let start = SystemTime::UNIX_EPOCH + Duration::from_millis(number as u64 * 10);
                let span = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
                let parent = &parent.get(&held).0;
                let span = span.with_start_time(start).start_with_context(&tracer, parent);
                held.push((parent.with_span(span), start + Duration::from_millis(*took)));
            }
            Step::End(at) => {
                let (context, end) = at.get(&held);
                context.span().end_with_timestamp(*end);
            }
            Step::Release(at) if held.len() > 1 => drop(held.swap_remove(1 + at.index(held.len() - 1))),
            Step::Fail(at) => {
                let _attached = at.get(&held).0.clone().attach();
                Transaction::current().capture_error(&std::io::Error::other(format!("error {number}")));
            }
            Step::Inject(at) => {
                let _attached = at.get(&held).0.clone().attach();
                let mut headers = http::HeaderMap::new();
                trace_context::inject(&mut headers);
                passed_on.push(headers["traceparent"].to_str().unwrap()[36..52].to_owned());
            }
            Step::Finish => drop(work.take()),
            Step::Release(_) => {}
        }
    }
    // the last begun ends first, the transaction last of all
    while held.len() > 1 {
        drop(held.pop());
    }
    passed_on
}

async fn check(limits: Limits, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let Limits { max_spans, compresses, same_kind, shortest, filter, sampled, timed, otlp } = limits;
    let builder = TestAgent::builder();
    let builder = if otlp { builder.otlp(tower_apm::OtlpProtocol::HttpProtobuf) } else { builder };
    let builder = builder.configure(move |agent| {
        let agent = agent
            .transaction_max_spans(max_spans)
            .span_compression_enabled(compresses)
            .span_compression_same_kind_max_duration(Duration::from_millis(same_kind))
            .exit_span_min_duration(Duration::from_millis(shortest))
            .transaction_sample_rate(if sampled { 1.0 } else { 0.0 })
            // self times are collected, and no metrics are sent
            .metrics_interval(if timed { Duration::from_secs(3600) } else { Duration::ZERO });
        match filter {
            0 => agent,
            _ => agent.transaction_filter(move |_| filter == 1),
        }
    });
    let apm = builder.start().await;
    let passed_on = run(&apm, &steps);
    apm.flush().await;

    let (transactions, spans) = (apm.events(Kind::Transaction), apm.events(Kind::Span));
    let stats = apm.agent().stats();
    prop_assert_eq!(stats.accepted + stats.dropped.total(), stats.recorded, "{}", stats);
    if !sampled || filter == 2 {
        // errors are sent all the same, with the id of the transaction
        prop_assert!(otlp || spans.is_empty(), "{:?}", spans);
        return Ok(());
    }
    let ids: HashSet<&str> = transactions.iter().chain(&spans).map(|event| event["id"].as_str().unwrap()).collect();
    prop_assert_eq!(ids.len(), transactions.len() + spans.len());
    for event in spans.iter().chain(&apm.events(Kind::Error)) {
        prop_assert!(ids.contains(event["parent_id"].as_str().unwrap()), "orphan: {}", event);
    }
    for id in passed_on {
        prop_assert!(ids.contains(&*id), "{} was passed on", id);
    }
    if !otlp {
        let [transaction] = &transactions[..] else { panic!("{transactions:?}") };
        let started = transaction["span_count"]["started"].as_u64().unwrap();
        prop_assert!(started <= spans.len() as u64, "{} of {}", started, spans.len());
        prop_assert!(max_spans < 0 || spans.len() as i64 <= max_spans, "{} spans", spans.len());
    }
    Ok(())
}

#[test]
fn random_span_trees_have_no_missing_parents() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let trees = (limits(), vec(step(), 0..200));
    let tested = TestRunner::new(config).run(&trees, |(limits, steps)| runtime.block_on(check(limits, steps)));
    if let Err(error) = tested {
        panic!("{error}");
    }
}
