//! The exporter for OTLP: the events of intake v2, told in OpenTelemetry's words as the APM Server reads them.
//!
//! ```text
//! record ─▶ elastic's map ─▶ project: SpanData ─▶ batch ─▶ opentelemetry-otlp ─▶ http or grpc ─▶ server
//!           │                └─ dialect: attributes │    └─ errors become events of their span
//!           └─▶ messages: metrics and log lines ────┘
//! ```
//!
//! What is told is decided once, in Elastic's terms, by the native mapping: names, types, sanitising and limits are the
//! same on both ways. Here it is only said again in attributes, of the conventions up to 1.27 that the server knows.

mod answer;
mod batch;
mod deliver;
mod dialect;
mod divide;
mod exporter;
mod flatten;
mod grpc;
mod http;
mod messages;
mod pack;
mod pause;
mod project;
mod requests;
mod resource;
mod signal;
mod size;
mod stack_text;
mod wire;

pub(crate) use self::exporter::OtlpExporter;
