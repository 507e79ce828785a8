//! Lines of the `log` crate, printed with their own target.
//!
//! `tracing_log` gives each of them the target `log`, and puts the real one into a field. The formats of
//! `tracing_subscriber` undo this with the feature `tracing-log` only, and that feature changes `init()` in the service.

use std::{
    collections::HashMap,
    fmt,
    sync::{LazyLock, Mutex},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::{Callsite, Identifier},
    field::{Field, FieldSet, Value, Visit},
    metadata::Kind,
    subscriber::Interest,
};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Targets that are kept for the life of the process. Lines of further ones have the target `log`.
const MAX_TARGETS: usize = 1000;
const UNKNOWN: &str = "log";

/// Wraps a format of `tracing_subscriber`.
#[derive(Debug, Clone)]
pub(crate) struct WithLogTargets<F>(pub(crate) F);

impl<S, N, F> FormatEvent<S, N> for WithLogTargets<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if !event.is_log() {
            return self.0.format_event(context, writer, event);
        }
        let mut line = Line::default();
        event.record(&mut line);
        let metadata = metadata(*event.metadata().level(), line.target.as_deref().unwrap_or(UNKNOWN));
        let fields = metadata.fields();
        let Some(field) = fields.field("message") else { return Ok(()) };
        let message = line.message.as_str();
        let values = [(&field, Some(&message as &dyn Value))];
        self.0.format_event(context, writer, &Event::new(metadata, &fields.value_set(&values)))
    }
}

#[derive(Default)]
struct Line {
    message: String,
    target: Option<String>,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            "log.target" => self.target = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

type Known = HashMap<(Level, String), &'static Metadata<'static>>;

/// `tracing` wants the metadata of an event to live as long as the process.
fn metadata(level: Level, target: &str) -> &'static Metadata<'static> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let key = (level, target.to_owned());
    if let Some(metadata) = known.get(&key) {
        return metadata;
    }
    if known.len() >= MAX_TARGETS && target != UNKNOWN {
        drop(known);
        return metadata(level, UNKNOWN);
    }
    let target: &'static str = Box::leak(target.into());
    let fields = FieldSet::new(&["message"], Identifier(&CALLSITE));
    let made = Metadata::new("log event", target, level, None, None, None, fields, Kind::EVENT);
    let made: &'static Metadata<'static> = Box::leak(Box::new(made));
    known.insert(key, made);
    made
}

/// The place of all such events, as far as `tracing` is concerned.
struct LogCallsite;

static CALLSITE: LogCallsite = LogCallsite;

impl Callsite for LogCallsite {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        metadata(Level::INFO, UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_shared_by_target_and_level_and_bounded() {
        let of = |level, target: &str| metadata(level, target);
        let sqlx = of(Level::WARN, "sqlx::query");
        assert!(std::ptr::eq(sqlx, of(Level::WARN, "sqlx::query")));
        assert_eq!((sqlx.target(), *of(Level::INFO, "sqlx::query").level()), ("sqlx::query", Level::INFO));
        let targets = (0..2 * MAX_TARGETS).map(|n| of(Level::INFO, &format!("target {n}")).target());
        let unknown = targets.filter(|target| *target == UNKNOWN).count();
        assert!((MAX_TARGETS..=MAX_TARGETS + 4).contains(&unknown), "{unknown}");
    }
}
