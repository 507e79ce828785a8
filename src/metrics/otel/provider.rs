//! A meter provider of OpenTelemetry's SDK whose histograms have Elastic's boundaries.

use std::{fmt, sync::Arc};

use opentelemetry::{
    InstrumentationScope,
    metrics::{
        AsyncInstrumentBuilder, Counter, Gauge, Histogram, HistogramBuilder, InstrumentBuilder, InstrumentProvider,
        Meter, MeterProvider, ObservableCounter, ObservableGauge, ObservableUpDownCounter, UpDownCounter,
    },
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider},
};

use super::ApmMetricExporter;
use crate::config::Config;

/// What [`Agent::meter_provider`](crate::Agent::meter_provider) gives: the SDK's provider, read each `metrics_interval`,
/// with Elastic's boundaries for histograms that have none of their own.
///
/// Cheap to clone; every clone is the same provider. The metrics of the last interval are read when it is shut down or
/// when its last clone is dropped, and the one in OpenTelemetry's globals is never dropped: keep a clone, and call
/// [`shutdown`](Self::shutdown) before [`Agent::shutdown`](crate::Agent::shutdown).
#[derive(Clone)]
pub struct ApmMeterProvider {
    sdk: SdkMeterProvider,
    boundaries: Arc<[f64]>,
}

impl ApmMeterProvider {
    /// Without an exporter nothing is read, nor kept for being read.
    pub(crate) fn new(
        exporter: Option<ApmMetricExporter>,
        config: &Config,
        configure: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder,
    ) -> Self {
        let mut builder = SdkMeterProvider::builder();
        if let Some(exporter) = exporter {
            builder =
                builder.with_reader(PeriodicReader::builder(exporter).with_interval(config.metrics_interval).build());
        }
        Self {
            sdk: configure(builder).build(),
            boundaries: config.custom_metrics_histogram_boundaries.as_slice().into(),
        }
    }

    /// Reads all instruments and offers what they tell to the agent's queue; [`Agent::flush`](crate::Agent::flush) then
    /// delivers it. Waits for the reader's thread, which calls the callbacks of observable instruments.
    ///
    /// # Errors
    ///
    /// When it was shut down before, or the reader's thread has ended: a callback that panics ends it.
    pub fn force_flush(&self) -> OTelSdkResult {
        self.sdk.force_flush()
    }

    /// Reads all instruments for the last time and ends the reader's thread. To be called before
    /// [`Agent::shutdown`](crate::Agent::shutdown), which delivers what was read.
    ///
    /// # Errors
    ///
    /// When it was shut down before, or the reader's thread has ended or takes more than 5 s.
    pub fn shutdown(&self) -> OTelSdkResult {
        self.sdk.shutdown()
    }
}

impl fmt::Debug for ApmMeterProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApmMeterProvider").field("sdk", &self.sdk).finish_non_exhaustive()
    }
}

impl MeterProvider for ApmMeterProvider {
    fn meter_with_scope(&self, scope: InstrumentationScope) -> Meter {
        let meter = self.sdk.meter_with_scope(scope);
        Meter::new(Arc::new(Instruments { meter, boundaries: self.boundaries.clone() }))
    }
}

/// The SDK's instruments. A view in place of this would override the boundaries that an instrument asks for, and would
/// stand beside the views of the user's.
struct Instruments {
    meter: Meter,
    boundaries: Arc<[f64]>,
}

impl Instruments {
    /// The way to what a meter is made of that the API leaves open.
    fn sdk(&self) -> &dyn InstrumentProvider {
        self.meter.u64_counter("").instrument_provider
    }

    fn with_boundaries<'a, T>(&self, mut builder: HistogramBuilder<'a, T>) -> HistogramBuilder<'a, T> {
        builder.boundaries.get_or_insert_with(|| self.boundaries.to_vec());
        builder
    }
}

macro_rules! as_they_are {
    ($($name:ident: $builder:ident<$($type:ty),+> => $instrument:ty;)+) => {$(
        fn $name(&self, builder: $builder<'_, $($type),+>) -> $instrument {
            self.sdk().$name(builder)
        }
    )+};
}

impl InstrumentProvider for Instruments {
    as_they_are! {
        u64_counter: InstrumentBuilder<Counter<u64>> => Counter<u64>;
        f64_counter: InstrumentBuilder<Counter<f64>> => Counter<f64>;
        u64_observable_counter: AsyncInstrumentBuilder<ObservableCounter<u64>, u64> => ObservableCounter<u64>;
        f64_observable_counter: AsyncInstrumentBuilder<ObservableCounter<f64>, f64> => ObservableCounter<f64>;
        i64_up_down_counter: InstrumentBuilder<UpDownCounter<i64>> => UpDownCounter<i64>;
        f64_up_down_counter: InstrumentBuilder<UpDownCounter<f64>> => UpDownCounter<f64>;
        i64_observable_up_down_counter: AsyncInstrumentBuilder<ObservableUpDownCounter<i64>, i64>
            => ObservableUpDownCounter<i64>;
        f64_observable_up_down_counter: AsyncInstrumentBuilder<ObservableUpDownCounter<f64>, f64>
            => ObservableUpDownCounter<f64>;
        u64_gauge: InstrumentBuilder<Gauge<u64>> => Gauge<u64>;
        f64_gauge: InstrumentBuilder<Gauge<f64>> => Gauge<f64>;
        i64_gauge: InstrumentBuilder<Gauge<i64>> => Gauge<i64>;
        u64_observable_gauge: AsyncInstrumentBuilder<ObservableGauge<u64>, u64> => ObservableGauge<u64>;
        i64_observable_gauge: AsyncInstrumentBuilder<ObservableGauge<i64>, i64> => ObservableGauge<i64>;
        f64_observable_gauge: AsyncInstrumentBuilder<ObservableGauge<f64>, f64> => ObservableGauge<f64>;
    }

    fn f64_histogram(&self, builder: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
        self.sdk().f64_histogram(self.with_boundaries(builder))
    }

    fn u64_histogram(&self, builder: HistogramBuilder<'_, Histogram<u64>>) -> Histogram<u64> {
        self.sdk().u64_histogram(self.with_boundaries(builder))
    }
}
