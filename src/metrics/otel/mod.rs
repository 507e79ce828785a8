//! Metrics that the service makes through OpenTelemetry's API and SDK, told to Elastic (agent-spec 10.6).

mod exporter;
mod provider;
mod sets;

pub use self::{exporter::ApmMetricExporter, provider::ApmMeterProvider};

#[cfg(test)]
mod tests;
