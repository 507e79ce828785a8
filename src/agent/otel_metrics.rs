//! Metrics that the service records through OpenTelemetry's API.

use opentelemetry_sdk::metrics::MeterProviderBuilder;

use super::Agent;
use crate::metrics::{ApmMeterProvider, ApmMetricExporter, can_be_sent};

impl Agent {
    /// Returns a meter provider for your own metrics through OpenTelemetry's API.
    ///
    /// The agent sends the values every `metrics_interval`. Each call creates a new provider. The global provider does not
    /// change.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let agent = tower_apm::Agent::builder().build()?;
    /// opentelemetry::global::set_meter_provider(agent.meter_provider());
    ///
    /// let orders = opentelemetry::global::meter("shop").u64_counter("shop.orders").build();
    /// orders.add(1, &[opentelemetry::KeyValue::new("currency", "ETH")]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Keep a clone of the provider, and call [`ApmMeterProvider::shutdown`] before [`Agent::shutdown`]. Otherwise, the values
    /// after the last interval are lost. See the guide [`opentelemetry`](crate::docs::opentelemetry).
    ///
    /// If no metrics are sent (`metrics_interval=0s`, `enabled=false`, `disable_send=true`, OTLP to an endpoint for traces
    /// only), the provider measures nothing and starts no thread.
    #[must_use]
    pub fn meter_provider(&self) -> ApmMeterProvider {
        self.meter_provider_with(|builder| builder)
    }

    /// Returns a meter provider with views and further readers of your own. See [`meter_provider`](Self::meter_provider).
    ///
    /// The builder already contains the agent's reader.
    ///
    /// ```
    /// use opentelemetry_sdk::metrics::{Aggregation, Instrument, Stream};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let agent = tower_apm::Agent::builder().build()?;
    /// let seconds = Aggregation::ExplicitBucketHistogram { boundaries: vec![0.1, 1.0, 10.0], record_min_max: false };
    /// let provider = agent.meter_provider_with(|builder| {
    ///     builder.with_view(move |instrument: &Instrument| {
    ///         let stream = Stream::builder().with_aggregation(seconds.clone());
    ///         (instrument.name() == "shop.settlement.duration").then(|| stream.build().ok())?
    ///     })
    /// });
    /// # let _ = provider;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn meter_provider_with(
        &self,
        configure: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder,
    ) -> ApmMeterProvider {
        let config = self.inner.recorder.snapshot();
        let reads = self.inner.worker.is_some() && can_be_sent(&config);
        ApmMeterProvider::new(reads.then(|| self.metric_exporter()), &config, configure)
    }

    /// Returns an exporter for a service that has its own meter provider.
    ///
    /// The exporter sends the provider's metrics to the APM Server. The boundaries of histograms are then those of the provider.
    ///
    /// ```
    /// use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let agent = tower_apm::Agent::builder().build()?;
    /// let provider = SdkMeterProvider::builder() // .with_reader(…), as before
    ///     .with_reader(PeriodicReader::builder(agent.metric_exporter()).build())
    ///     .build();
    /// # let _ = provider;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn metric_exporter(&self) -> ApmMetricExporter {
        ApmMetricExporter::new(self.inner.queue.clone(), self.inner.recorder.live().clone())
    }
}
