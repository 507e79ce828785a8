//! The `tracing` side: our layers, and the subscriber that `install()` sets.

use std::{
    io::IsTerminal,
    sync::{Arc, OnceLock},
};

use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::filter_fn,
    fmt,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

use crate::{
    capture::ErrorEventsLayer,
    config::LogLevel,
    error::BuildError,
    span::ApmTracer,
    transaction::{REQUEST_TARGET, Recorder, RequestSpanLayer, SupplyParentLayer},
};

/// How `install()` prints the service's log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LogFormat {
    /// One line with span, target and fields.
    #[default]
    Full,
    /// One line, shorter.
    Compact,
    /// One JSON object a line.
    Json,
    /// Nothing is printed.
    Off,
}

/// Where the filter of log lines may come from; the environment is asked first.
pub(super) struct LogFilters {
    pub(super) from_env: Option<String>,
    pub(super) from_code: Option<String>,
}

/// Keeps the agent's own log lines to `log_level`, as it holds, for whichever layer prints them. The subscriber that
/// [`set_global`] makes does so by its filter, over which `RUST_LOG` has the last word.
pub(super) struct OwnLogs {
    recorder: Arc<Recorder>,
}

impl OwnLogs {
    pub(super) fn of(recorder: Arc<Recorder>) -> Self {
        Self { recorder }
    }

    fn is_own(metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "tower_apm"
    }
}

impl<S: Subscriber> Layer<S> for OwnLogs {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // asked each time: the level can change
        if Self::is_own(metadata) { Interest::sometimes() } else { Interest::always() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        !Self::is_own(metadata) || LevelFilter::from(self.recorder.config().log_level) >= *metadata.level()
    }

    /// Adds nothing to what others want to see.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::OFF)
    }
}

type SetLevel = Box<dyn Fn(LogLevel) + Send + Sync>;

/// Changes `log_level` while the service runs, once [`set_global`] has set up what prints.
#[derive(Clone, Default)]
pub(super) struct LogLevelSwitch {
    set: Arc<OnceLock<SetLevel>>,
}

impl LogLevelSwitch {
    pub(super) fn set(&self, level: LogLevel) {
        if let Some(set) = self.set.get() {
            set(level);
        }
    }
}

/// Spans up to INFO become Elastic's: below that crates describe their inner workings.
fn is_recorded_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO && metadata.target() != REQUEST_TARGET
}

pub(super) fn tracing_layer<S>(recorder: Option<Arc<Recorder>>) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let for_errors = recorder.clone();
    let spans = filter_fn(is_recorded_span).with_max_level_hint(LevelFilter::INFO);
    // what tracing-opentelemetry adds of its own costs more than the span and tells less
    let bridge = tracing_opentelemetry::layer()
        .with_tracer(ApmTracer::new(recorder))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false);
    // the bridge comes before the request's span layer, which looks at what it attaches. The last one's level hint is
    // taken for all.
    let bridge = SupplyParentLayer.and_then(bridge.with_filter(spans));
    bridge.and_then(ErrorEventsLayer::new(for_errors)).and_then(RequestSpanLayer)
}

/// For spans that come another way.
pub(super) fn without_spans<S>(recorder: Arc<Recorder>) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    ErrorEventsLayer::new(Some(recorder)).and_then(RequestSpanLayer)
}

/// The layer that belongs to no agent: each span finds its own through its transaction.
#[cfg(feature = "testkit")]
pub(crate) fn routing_layer<S>() -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    tracing_layer(None)
}

/// Sets the global subscriber: our layers, and a printer behind a filter of its own.
pub(super) fn set_global(
    recorder: Arc<Recorder>,
    format: LogFormat,
    filters: LogFilters,
    switch: &LogLevelSwitch,
) -> Result<(), BuildError> {
    // the span that goes with each request says nothing that the line does not
    let own = |level: LogLevel| format!("{REQUEST_TARGET}=off,tower_apm={}", LevelFilter::from(level));
    let began_with = recorder.config().log_level;
    let parse = |filter: &str| EnvFilter::try_new(format!("{},{filter}", own(began_with)));
    let LogFilters { from_env, from_code } = filters;
    let from_code = from_code.unwrap_or_else(|| "info".to_owned());
    let mut fault = None;
    let (text, filter) = match from_env.as_deref().map(parse) {
        Some(Ok(filter)) => (from_env.clone().unwrap_or_default(), filter),
        wrong_or_none => {
            fault = wrong_or_none.and_then(Result::err).map(|error| error.to_string());
            match parse(&from_code) {
                Ok(filter) => (from_code, filter),
                Err(error) => return Err(BuildError::LogFilter { filter: from_code, reason: error.to_string() }),
            }
        }
    };
    let (filter, handle) = reload::Layer::new(filter);
    let level = std::sync::Mutex::new(began_with);
    let set = move |now: LogLevel| {
        let before = level.lock().map_or(now, |mut level| std::mem::replace(&mut *level, now));
        if let (true, Ok(filter)) = (before != now, EnvFilter::try_new(format!("{},{text}", own(now)))) {
            // fails only when the subscriber is gone
            let _ = handle.reload(filter);
        }
    };
    // an agent is installed once
    let _ = switch.set.set(Box::new(set));
    let printer = fmt::layer().with_ansi(std::io::stdout().is_terminal());
    let printer = match format {
        LogFormat::Full => Some(printer.boxed()),
        LogFormat::Compact => Some(printer.compact().boxed()),
        LogFormat::Json => Some(printer.json().boxed()),
        LogFormat::Off => None,
    };
    tracing_subscriber::registry()
        .with(tracing_layer(Some(recorder)))
        .with(printer.map(|printer| printer.with_filter(filter)))
        .try_init()
        .map_err(|_| BuildError::SubscriberAlreadySet)?;
    if let Some(reason) = fault {
        tracing::warn!(
            target: "tower_apm",
            value = from_env, reason,
            "RUST_LOG is not valid, it must be a list such as `info,my_crate=debug`; the filter from code is used"
        );
    }
    Ok(())
}
