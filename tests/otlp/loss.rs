//! The tables of the OTLP guide list exactly the fields that OTLP loses.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use tower_apm::{CaptureBody, EnvVars, Exporter, OtlpProtocol};
use tracing_subscriber::layer::SubscriberExt;

use crate::{
    decoder::{DEADLINE, Decoder, agent},
    document::{Document, Kind},
    traffic,
};

const GUIDE: &str = include_str!("../../src/docs/otlp.md");

/// A field of the guide with its subfields. A field that ends with `*` is a prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    /// `None` for every document.
    kind: Option<Kind>,
    field: String,
}

impl Row {
    fn covers(&self, kind: Kind, field: &str) -> bool {
        let covered = match self.field.strip_suffix('*') {
            Some(begin) => field.starts_with(begin),
            None => field.strip_prefix(&self.field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        };
        covered && self.kind.is_none_or(|own| own == kind)
    }
}

fn guide() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut kind = None;
    for line in GUIDE.lines() {
        match line {
            "### Every document" => kind = Some(None),
            "### Transactions" => kind = Some(Some(Kind::Transaction)),
            "### Spans" => kind = Some(Some(Kind::Span)),
            "### Errors" => kind = Some(Some(Kind::Error)),
            "### Metrics" => kind = Some(Some(Kind::Metrics)),
            "### Log lines" => kind = Some(Some(Kind::Line)),
            line if line.starts_with('#') => kind = None,
            _ => {}
        }
        let (Some(kind), Some(cell)) = (kind, line.strip_prefix("| `").and_then(|rest| rest.split(" |").next())) else {
            continue;
        };
        let fields = cell.split(',').map(|field| field.trim().trim_matches('`').to_owned());
        rows.extend(fields.map(|field| Row { kind, field }));
    }
    let mut seen = BTreeSet::new();
    let doubles: Vec<_> = rows.iter().filter(|row| !seen.insert(*row)).collect();
    assert!(doubles.is_empty(), "the guide has two rows for one field: {doubles:#?}");
    rows
}

/// The fields of one event whose values differ.
fn differing(native: &Document, otlp: &Document) -> BTreeMap<String, (Value, Value)> {
    let (native, otlp) = (native.fields(), otlp.fields());
    let names: BTreeSet<_> = native.keys().chain(otlp.keys()).collect();
    let value = |fields: &BTreeMap<String, Value>, name: &String| fields.get(name).cloned().unwrap_or_default();
    let both = names.into_iter().map(|name| (name.clone(), (value(&native, name), value(&otlp, name))));
    both.filter(|(_, (native, otlp))| !is_same(native, otlp)).collect()
}

/// Durations of intake are fractional milliseconds, so they may differ by a nanosecond.
fn is_same(native: &Value, otlp: &Value) -> bool {
    native == otlp || matches!((native.as_u64(), otlp.as_u64()), (Some(one), Some(other)) if one + 1 == other)
}

/// The variables of a pod in Azure App Service.
fn variables() -> EnvVars {
    EnvVars::from_iter([
        ("KUBERNETES_NAMESPACE", "shops"),
        ("KUBERNETES_NODE_NAME", "node-7"),
        ("KUBERNETES_POD_NAME", "shop-7d9"),
        ("KUBERNETES_POD_UID", "e11ebedc"),
        ("WEBSITE_INSTANCE_ID", "instance"),
        ("WEBSITE_SITE_NAME", "site"),
        ("WEBSITE_RESOURCE_GROUP", "group"),
        ("WEBSITE_OWNER_NAME", "7657426d+group-westus2webspace"),
    ])
}

/// Compares intake documents with OTLP documents. Returns the rows of the guide that were needed.
fn compare(native: &[Document], otlp: &mut BTreeMap<(Kind, String), Document>, rows: &[Row]) -> BTreeSet<Row> {
    let (mut undocumented, mut met) = (Vec::new(), BTreeSet::new());
    for document in native {
        let (kind, key) = document.key();
        let Some(other) = otlp.remove(&(kind, key.clone())) else { panic!("{kind:?} {key} is missing over OTLP") };
        for (field, values) in differing(document, &other) {
            let covering: Vec<_> = rows.iter().filter(|row| row.covers(kind, &field)).collect();
            if covering.is_empty() {
                undocumented.push(format!("{kind:?} {field}: {} / {}", values.0, values.1));
            }
            met.extend(covering.into_iter().cloned());
        }
    }
    undocumented.sort();
    undocumented.dedup();
    assert!(undocumented.is_empty(), "differences that the guide omits (native / OTLP):\n{}", undocumented.join("\n"));
    met
}

fn assert_met(rows: &[Row], met: &BTreeSet<Row>) {
    let idle: Vec<_> = rows.iter().filter(|row| !met.contains(row)).collect();
    assert!(idle.is_empty(), "the guide lists differences that do not exist: {idle:#?}");
}

async fn check(protocol: OtlpProtocol) {
    let decoder = Decoder::start("hunter2");
    let agent = agent(|agent| {
        let agent = agent
            .env_vars(variables())
            .server_url(&*decoder.http)
            .secret_token("hunter2")
            .capture_body(CaptureBody::All);
        let agent = agent.exporter(Exporter::IntakeAndOtlp).otlp_protocol(protocol).global_labels([("team", "market")]);
        // every span has a stack and no metrics are sent, so that the result does not depend on time
        let agent = agent.span_stack_trace_min_duration(Duration::ZERO).metrics_interval(Duration::ZERO);
        let agent = agent.service_version("1.2").environment("test").service_node_name("node-1").gzip(true);
        match protocol {
            OtlpProtocol::Grpc => agent.otlp_endpoint(&*decoder.grpc),
            _ => agent,
        }
    });
    traffic::run(&agent).await;
    agent.shutdown(DEADLINE).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.dropped.total()), (stats.recorded, 0, 0), "{stats}");
    assert_eq!((stats.copies.accepted, stats.copies.dropped), (stats.recorded, 0), "{stats}");

    let documents = decoder.documents();
    let (otlp, native): (Vec<_>, Vec<_>) = documents.into_iter().partition(Document::is_otlp);
    let mut otlp: BTreeMap<_, _> = otlp.into_iter().map(|document| (document.key(), document)).collect();
    assert_eq!(native.len() as u64, stats.recorded);
    let mut rows = guide();
    rows.retain(|row| !matches!(row.kind, Some(Kind::Metrics | Kind::Line)));
    let met = compare(&native, &mut otlp, &rows);
    assert_met(&rows, &met);

    // only placeholder spans of errors are left; spans of HTTP/2 are not recorded
    let placeholders: Vec<_> = otlp.values().map(|document| (document.kind(), document.text("/span/name"))).collect();
    assert_eq!(placeholders, [(Kind::Span, "exception")]);
}

/// Checks metrics and log records.
async fn check_metrics_and_logs(protocol: OtlpProtocol) {
    let decoder = Decoder::start("hunter2");
    let agent = agent(|agent| {
        let agent = agent.env_vars(variables()).server_url(&*decoder.http).secret_token("hunter2").log_sending(true);
        let agent = agent.exporter(Exporter::IntakeAndOtlp).otlp_protocol(protocol).metrics_interval(DEADLINE);
        match protocol {
            OtlpProtocol::Grpc => agent.otlp_endpoint(&*decoder.grpc),
            _ => agent,
        }
    });
    {
        let subscriber = tracing_subscriber::registry().with(agent.tracing_layer()).with(agent.log_layer());
        let _default = tracing::subscriber::set_default(subscriber);
        tracing::warn!(token_id = 42, shop = "a.b", "outside");
        agent.start_transaction("settle", "scheduled").in_scope(|| {
            tracing::info!("in the transaction");
            tracing::info_span!("price").in_scope(|| tracing::error!(error = "no funds", "in a span"));
        });
    }
    agent.shutdown(DEADLINE).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.dropped.total()), (stats.recorded, 0, 0), "{stats}");
    assert_eq!((stats.copies.rejected, stats.copies.dropped), (0, 0), "{stats}");

    let is_metric_or_line = |document: &Document| matches!(document.kind(), Kind::Metrics | Kind::Line);
    let documents = decoder.documents().into_iter().filter(is_metric_or_line);
    let (otlp, mut native): (Vec<_>, Vec<_>) = documents.partition(Document::is_otlp);
    native.retain(|document| document.text("/metricset/name") != "span_breakdown");
    let mut otlp: BTreeMap<_, _> = otlp.into_iter().map(|document| (document.key(), document)).collect();
    assert_eq!(native.iter().filter(|document| document.kind() == Kind::Line).count(), 3);
    let rows = guide();
    let met = compare(&native, &mut otlp, &rows);
    let rows: Vec<_> = rows.into_iter().filter(|row| matches!(row.kind, Some(Kind::Metrics | Kind::Line))).collect();
    assert_met(&rows, &met);
    let only: Vec<_> = otlp.into_keys().map(|(_, key)| key).collect();
    assert_eq!(only, ["system.cpu.utilization system.memory.utilization"]);
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn losses_over_otlp_http_match_the_guide() {
    check(OtlpProtocol::HttpProtobuf).await;
    check_metrics_and_logs(OtlpProtocol::HttpProtobuf).await;
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn losses_over_otlp_grpc_match_the_guide() {
    check(OtlpProtocol::Grpc).await;
    check_metrics_and_logs(OtlpProtocol::Grpc).await;
}

#[tokio::test]
#[ignore = "needs APM_SERVER_DECODER"]
async fn no_secret_is_sent_over_otlp() {
    let decoder = Decoder::start("");
    let agent = agent(|agent| agent.server_url(&*decoder.http).exporter(Exporter::Otlp).capture_body(CaptureBody::All));
    traffic::run(&agent).await;
    agent.shutdown(DEADLINE).await.unwrap();
    let documents = decoder.documents();
    assert!(documents.len() > 10);
    assert!(documents.iter().all(Document::is_otlp));
    for Document(json) in documents {
        assert!(!json.to_string().contains(traffic::SECRET), "{json:#}");
    }
}
