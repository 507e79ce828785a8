//! The parts of the protocol that nothing in the agent tells yet are valid all the same.

use std::borrow::Cow;

use super::{
    cloud::{Cloud, Machine, Named},
    context::{Age, CloudOrigin, Message, ServiceOrigin},
    faas::{Faas, FaasTrigger},
    log::LogLine,
    metadata::{Connection, Container, Kubernetes, KubernetesNode, Network, Pod, Runtime},
    span::{Composite, HttpRequest},
    transaction::{DroppedDuration, DroppedSpanStats, DroppedSum, Session},
    *,
};
use crate::{
    elastic::{
        map,
        tests::{records, schemas::valid},
    },
    record::{SpanId, TraceId},
    sanitize::Sanitizer,
};

fn cloud<'a>() -> Cloud<'a> {
    Cloud {
        provider: Some("aws"),
        region: Some("eu-west-1".into()),
        availability_zone: Some("eu-west-1a".into()),
        account: Some(Named { id: Some("1".into()), name: None }),
        instance: Some(Named { id: Some("i".into()), name: Some("n".into()) }),
        project: Some(Named::default()),
        machine: Some(Machine { r#type: "t3".into() }),
        service: Some(Named { id: None, name: Some("ec2".into()) }),
    }
}

fn faas<'a>() -> Faas<'a> {
    Faas {
        id: Some("arn"),
        coldstart: Some(true),
        trigger: Some(FaasTrigger { r#type: Some("http"), request_id: Some("1") }),
        ..Faas::default()
    }
}

#[test]
fn full_metadata_matches_the_schema() {
    let resource = records::resource();
    let mut metadata = map::metadata(&resource);
    metadata.cloud = Some(cloud());
    metadata.network = Some(Network { connection: Connection { r#type: "wired" } });
    metadata.service.runtime = Some(Runtime { name: "rust", version: "1.90.0" });
    let system = metadata.system.get_or_insert_default();
    system.container = Some(Container { id: "c".into() });
    system.kubernetes = Some(Kubernetes {
        namespace: Some("shop".into()),
        node: Some(KubernetesNode { name: "n".into() }),
        pod: Some(Pod { name: Some("p".into()), uid: Some("u".into()) }),
    });
    let event = valid(&Line::Metadata(Box::new(metadata)));
    assert_eq!(event["system"]["kubernetes"]["pod"]["uid"], "u");
}

#[test]
fn function_and_session_of_a_transaction_are_serialized() {
    let record = records::transaction();
    let mut transaction = map::transaction(&record, &Sanitizer::default());
    transaction.session = Some(Session { id: "s", sequence: Some(1) });
    transaction.faas = Some(faas());
    transaction.dropped_spans_stats = vec![DroppedSpanStats {
        destination_service_resource: "sqlite".into(),
        service_target_type: Some("sqlite".into()),
        service_target_name: None,
        outcome: "success",
        duration: DroppedDuration { count: 2, sum: DroppedSum { us: 7 } },
    }];
    if let Some(context) = &mut transaction.context {
        context.cloud = Some(CloudOrigin { origin: Cloud { provider: Some("aws"), ..Cloud::default() } });
        context.message = Some(Message { age: Some(Age { ms: 3 }), ..Message::default() });
        let origin = ServiceOrigin { id: Some("i"), name: Some("n"), version: None };
        context.service = Some(Service { origin: Some(origin), ..Service::default() });
    }
    let event = valid(&Line::Transaction(transaction));
    assert_eq!(event["dropped_spans_stats"][0]["duration"]["sum"]["us"], 7);
}

#[test]
fn composite_of_a_span_is_serialized() {
    let record = records::span("GET", opentelemetry::trace::SpanKind::Client, Vec::new());
    let mut span = map::span(&record, &[], &Sanitizer::default());
    span.composite = Some(Composite { compression_strategy: "same_kind", count: 2, sum: 1.5 });
    let request = HttpRequest { id: Some("1"), body: Some("b") };
    span.context.get_or_insert_default().http = Some(Http { request: Some(request), ..Http::default() });
    assert_eq!(valid(&Line::Span(span))["composite"]["count"], 2);
}

/// The published schemas have none for it.
#[test]
fn log_record_is_serialized_as_flat_ecs() {
    let line = LogLine {
        timestamp: 7,
        message: Cow::Borrowed("sold"),
        level: "info",
        logger: Some("marketplace".into()),
        file: Some("src/main.rs"),
        line: Some(3),
        function: None,
        trace_id: Some(TraceId(1)),
        transaction_id: Some(SpanId(2)),
        span_id: None,
        error_type: None,
        error_message: None,
        error_stack_trace: None,
        thread: None,
        dataset: None,
        labels: Tags::default(),
    };
    let want = serde_json::json!({ "log": {
        "@timestamp": 7, "message": "sold", "log.level": "info", "log.logger": "marketplace",
        "log.origin.file.name": "src/main.rs", "log.origin.file.line": 3,
        "trace.id": "00000000000000000000000000000001", "transaction.id": "0000000000000002",
    } });
    assert_eq!(serde_json::to_value(Line::Log(line)).unwrap(), want);
}
