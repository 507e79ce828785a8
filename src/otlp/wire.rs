//! What both transports say of who sends, and how their exporters compress.

use opentelemetry_otlp::{Compression, OTEL_EXPORTER_OTLP_COMPRESSION, OTEL_EXPORTER_OTLP_TRACES_COMPRESSION};

/// `elastic-otel-rust/1.2.3 OTel-OTLP-Exporter-Rust/4.5.6`, as Elastic's distributions of OpenTelemetry do it.
pub(super) fn user_agent(theirs: &str) -> String {
    let ours = concat!("elastic-otel-rust/", env!("CARGO_PKG_VERSION"));
    format!("{ours} {theirs}").trim_end().to_owned()
}

/// What an exporter is told. Where it is told nothing it looks into the process's environment, and what it finds there
/// and cannot do would cost every batch: then it compresses after all.
pub(super) fn compression(gzip: bool) -> Option<Compression> {
    let variables = [OTEL_EXPORTER_OTLP_TRACES_COMPRESSION, OTEL_EXPORTER_OTLP_COMPRESSION];
    let told_elsewhere = || variables.iter().any(|variable| std::env::var_os(variable).is_some());
    (gzip || told_elsewhere()).then_some(Compression::Gzip)
}
