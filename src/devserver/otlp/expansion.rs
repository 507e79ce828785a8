//! Estimates the size of the events of a message: the common data of a group is copied into each of its events.
//!
//! For example, a scope name of 1 MiB with a thousand spans produces 1 GiB of events.

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    metrics::v1::{Metric, metric::Data},
    trace::v1::Span,
};
use prost::Message;

/// The largest size of the events of one message. The events of an SDK's message are two or three times as long as it.
const MAX_EXPANDED: usize = 64 * 1024 * 1024;

pub(super) fn check_traces(request: &ExportTraceServiceRequest) -> Result<(), String> {
    let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
    check(scopes.map(|scope| {
        let events = scope.spans.iter().map(|span| 1 + span.events.len()).sum::<usize>();
        let common = scope.scope.as_ref().map_or(0, Message::encoded_len).saturating_mul(events);
        scope.spans.iter().map(span).fold(common, usize::saturating_add)
    }))
}

/// Each event of a span repeats the request data and the links of the span.
fn span(span: &Span) -> usize {
    let events = span.events.iter().map(Message::encoded_len).sum::<usize>();
    let own = span.encoded_len().saturating_sub(events);
    own.saturating_mul(1 + span.events.len()).saturating_add(events)
}

pub(super) fn check_logs(request: &ExportLogsServiceRequest) -> Result<(), String> {
    let scopes = request.resource_logs.iter().flat_map(|group| &group.scope_logs);
    check(scopes.map(|scope| {
        let common = scope.scope.as_ref().map_or(0, Message::encoded_len).saturating_mul(scope.log_records.len());
        scope.log_records.iter().map(Message::encoded_len).fold(common, usize::saturating_add)
    }))
}

pub(super) fn check_metrics(request: &ExportMetricsServiceRequest) -> Result<(), String> {
    let scopes = request.resource_metrics.iter().flat_map(|group| &group.scope_metrics);
    check(scopes.map(|scope| {
        let all = scope.metrics.iter().map(points).sum::<usize>();
        let common = scope.scope.as_ref().map_or(0, Message::encoded_len).saturating_mul(all);
        let named = |metric: &Metric| metric.name.len().saturating_mul(points(metric));
        let own = scope.metrics.iter().map(|metric| metric.encoded_len().saturating_add(named(metric)));
        own.fold(common, usize::saturating_add)
    }))
}

fn points(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(all)) => all.data_points.len(),
        Some(Data::Sum(all)) => all.data_points.len(),
        Some(Data::Histogram(all)) => all.data_points.len(),
        Some(Data::ExponentialHistogram(all)) => all.data_points.len(),
        Some(Data::Summary(all)) => all.data_points.len(),
        None => 0,
    }
}

fn check(scopes: impl Iterator<Item = usize>) -> Result<(), String> {
    if scopes.fold(0, usize::saturating_add) <= MAX_EXPANDED {
        return Ok(());
    }
    Err(format!("the message would produce more than {MAX_EXPANDED} bytes of events"))
}
