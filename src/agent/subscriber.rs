//! The subscriber that `install()` sets.

use std::{
    io::IsTerminal,
    sync::{Arc, OnceLock},
};

use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_log::AsLog;
use tracing_subscriber::{
    Layer,
    fmt::{self, FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::{Identity, SubscriberExt},
    registry::LookupSpan,
    reload,
};

use super::{
    layer::{SubscriberOwner, with_spans},
    log_filter,
};
use crate::{
    config::{LogEcsReformatting, LogLevel},
    error::BuildError,
    log::{EcsFormat, LogSender, WithLogTargets, WithTraceIds},
    otel::{REQUEST_TARGET, enable_statements},
    transaction::Recorder,
};

/// The format in which [`install`](crate::AgentBuilder::install) prints the service's log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LogFormat {
    /// One line of text with spans, target and fields. The line ends with the trace ids unless stdout is a terminal.
    #[default]
    Full,
    /// One shorter line of text. The line ends with the trace ids unless stdout is a terminal.
    Compact,
    /// One JSON object per line, with the trace ids.
    Json,
    /// One JSON object per line in the Elastic Common Schema, with the trace ids. See [`EcsFormat`]. The option
    /// `log_ecs_reformatting` selects this format without a change of the code.
    Ecs,
    /// No lines are printed. Lines are still sent if `log_sending` is on when the agent starts.
    Off,
}

/// The sources of the filter of log lines. The environment takes precedence.
pub(super) struct LogFilters {
    pub(super) from_env: Option<String>,
    pub(super) from_code: Option<String>,
}

type SetLevel = Box<dyn Fn(LogLevel) + Send + Sync>;

/// Changes `log_level` while the service runs. It has no effect before [`set_global`] is called.
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

/// Sets the global subscriber: the agent's layers, and a printer with a filter of its own.
pub(super) fn set_global(
    recorder: Arc<Recorder>,
    format: LogFormat,
    filters: LogFilters,
    switch: &LogLevelSwitch,
) -> Result<(), BuildError> {
    // not printed: the span of each request, which would repeat on every line, and OpenTelemetry's INFO lines
    let own =
        |level: LogLevel| format!("{REQUEST_TARGET}=off,opentelemetry=warn,tower_apm={}", LevelFilter::from(level));
    let began_with = recorder.config().log_level;
    let parse = |filter: &str| log_filter::parse(&format!("{},{filter}", own(began_with)));
    let LogFilters { from_env, from_code } = filters;
    let from_code = from_code.unwrap_or_else(|| "info".to_owned());
    let mut fault = None;
    let (text, filter) = match from_env.as_deref().map(parse) {
        Some(Ok(filter)) => (from_env.clone().unwrap_or_default(), filter),
        wrong_or_none => {
            fault = wrong_or_none.and_then(Result::err);
            match parse(&from_code) {
                Ok(filter) => (from_code, filter),
                Err(reason) => return Err(BuildError::LogFilter { filter: from_code, reason }),
            }
        }
    };
    let (filter, handle) = reload::Layer::new(filter);
    let level = std::sync::Mutex::new(began_with);
    let set = move |now: LogLevel| {
        let before = level.lock().map_or(now, |mut level| std::mem::replace(&mut *level, now));
        if let (true, Ok(filter)) = (before != now, log_filter::parse(&format!("{},{text}", own(now)))) {
            // fails only if the subscriber was dropped
            let _ = handle.reload(filter);
        }
    };
    // an agent is installed once
    let _ = switch.set.set(Box::new(set));
    let config = recorder.config();
    let format = match config.log_ecs_reformatting {
        LogEcsReformatting::Override if format != LogFormat::Off => LogFormat::Ecs,
        _ => format,
    };
    let is_terminal = std::io::stdout().is_terminal();
    // colours need `tracing-subscriber/ansi`; without it `with_ansi(true)` panics
    let printer = fmt::layer();
    let printer = if is_terminal { printer } else { printer.with_ansi(false) };
    let printer = match format {
        LogFormat::Full if is_terminal => printer.map_event_format(|full| AnyFormat::of(WithLogTargets(full))).boxed(),
        LogFormat::Full => {
            printer.map_event_format(|full| AnyFormat::of(WithTraceIds::text(WithLogTargets(full)))).boxed()
        }
        LogFormat::Compact if is_terminal => {
            printer.map_event_format(|full| AnyFormat::of(WithLogTargets(full.compact()))).boxed()
        }
        LogFormat::Compact => {
            printer.map_event_format(|full| AnyFormat::of(WithTraceIds::text(WithLogTargets(full.compact())))).boxed()
        }
        LogFormat::Json => {
            printer.json().map_event_format(|json| AnyFormat::of(WithTraceIds::json(WithLogTargets(json)))).boxed()
        }
        LogFormat::Ecs => printer.json().event_format(AnyFormat::of(EcsFormat::new(recorder.clone()))).boxed(),
        LogFormat::Off => Identity::new().boxed(),
    };
    // a layer with a filter adds a cost to every span, so it is left out if it is not needed
    let is_needed = format != LogFormat::Off || config.log_sending;
    let output = is_needed.then(|| printer.and_then(LogSender::new(recorder.clone())).with_filter(filter));
    drop(config);
    let subscriber =
        tracing_subscriber::registry().with(with_spans(Some(recorder), SubscriberOwner::Agent, None)).with(output);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| BuildError::SubscriberAlreadySet)?;
    // after the subscriber, whose level is the limit for lines of the `log` crate
    if tracing_log::LogTracer::builder().with_max_level(LevelFilter::current().as_log()).init().is_err() {
        tracing::warn!(
            target: "tower_apm",
            "the process already has a logger of the `log` crate: lines of that crate are neither printed nor sent by the \
             agent, unless the logger forwards them to `tracing`"
        );
    }
    // set after the logger, which must not get the level of sqlx's statements
    enable_statements();
    if let Some(reason) = fault {
        tracing::warn!(
            target: "tower_apm",
            value = from_env, reason,
            "RUST_LOG is not valid, it must be a list such as `info,my_crate=debug`; the filter from code is used"
        );
    }
    Ok(())
}

/// A boxed line format. With a single type for all formats, the printer's layer is compiled only once for each of the two
/// formats of fields.
struct AnyFormat<S, N>(Box<dyn FormatEvent<S, N> + Send + Sync>);

impl<S, N> AnyFormat<S, N>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn of(format: impl FormatEvent<S, N> + Send + Sync + 'static) -> Self {
        Self(Box::new(format))
    }
}

impl<S, N> FormatEvent<S, N> for AnyFormat<S, N>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        self.0.format_event(context, writer, event)
    }
}
