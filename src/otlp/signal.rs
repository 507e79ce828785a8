//! What is told in requests of its own: spans, metrics and log lines.

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::InstrumentationScope,
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{Metric, ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
};
use opentelemetry_sdk::trace::SpanData;

/// Those of OpenTelemetry's signals that a server may not take although it takes traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Metrics,
    Logs,
}

impl Signal {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "log lines",
        }
    }

    pub(super) fn says(self, words: &str) -> String {
        format!("{}: {words}", self.name())
    }

    /// Of OTLP over HTTP.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }
}

/// The contents of one request.
pub(super) enum Payload {
    Traces(Vec<SpanData>),
    Metrics(Vec<Metric>),
    Logs(Vec<LogRecord>),
}

/// Who sends, in OTLP's own messages.
#[derive(Clone, Default)]
pub(super) struct Sender {
    pub(super) resource: Resource,
    pub(super) scope: InstrumentationScope,
}

impl Sender {
    pub(super) fn metrics(self, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
        let scope_metrics = vec![ScopeMetrics { scope: Some(self.scope), metrics, ..ScopeMetrics::default() }];
        let resource = Some(self.resource);
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
        }
    }

    pub(super) fn logs(self, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
        let scope_logs = vec![ScopeLogs { scope: Some(self.scope), log_records, ..ScopeLogs::default() }];
        let resource = Some(self.resource);
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }],
        }
    }
}
