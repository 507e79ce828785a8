//! The ids of the trace, for whatever else formats lines.

use std::{collections::HashMap, fmt};

use serde::de::IgnoredAny;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::line::place;
use crate::record::LogPlace;

/// Adds `trace.id`, `transaction.id` and `span.id` to the lines of another format, so that Kibana (or a `grep`) finds the
/// lines of a request, and the request of a line. Lines that are written outside of any trace stay as they are.
///
/// Needs no agent: the ids are those of whatever transaction the line is written in. Source: Elastic's agent
/// specification, log correlation.
///
/// ```
/// use tower_apm::WithTraceIds;
/// use tracing_subscriber::{Registry, layer::SubscriberExt};
///
/// # fn main() -> Result<(), tower_apm::BuildError> {
/// # let agent = tower_apm::Agent::builder().build()?;
/// let text = tracing_subscriber::fmt::layer().with_ansi(false).map_event_format(WithTraceIds::text);
/// let subscriber = Registry::default().with(agent.tracing_layer()).with(text);
/// // 2026-11-25T21:04:05.067Z  INFO market: sold trace.id=0af76519… transaction.id=b7ad6b71…
///
/// let json = tracing_subscriber::fmt::layer().json().map_event_format(WithTraceIds::json);
/// # let _ = (subscriber, Registry::default().with(json));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct WithTraceIds<F> {
    format: F,
    style: Style,
}

#[derive(Debug, Clone, Copy)]
enum Style {
    Text,
    Json,
}

impl<F> WithTraceIds<F> {
    /// For lines of text, which get the ids at their end. Meant for a printer without colours (`with_ansi(false)`).
    #[must_use]
    pub fn text(format: F) -> Self {
        Self { format, style: Style::Text }
    }

    /// For lines that are JSON objects, which get the ids as fields. A line that is none stays as it is.
    #[must_use]
    pub fn json(format: F) -> Self {
        Self { format, style: Style::Json }
    }
}

impl<S, N, F> FormatEvent<S, N> for WithTraceIds<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(place) = place() else { return self.format.format_event(context, writer, event) };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&self.style.with_ids(line, place))
    }
}

impl Style {
    fn says(self, line: &str, name: &str) -> bool {
        match self {
            Style::Text => line.contains(&format!(" {name}=")),
            Style::Json if line.contains(&format!("\"{name}\"")) => {
                serde_json::from_str::<HashMap<String, IgnoredAny>>(line).is_ok_and(|line| line.contains_key(name))
            }
            Style::Json => false,
        }
    }

    fn with_ids(self, mut line: String, place: LogPlace) -> String {
        let LogPlace { trace_id, transaction_id, span_id } = place;
        let (transaction_id, span_id) = (transaction_id.map(|id| id.to_string()), span_id.map(|id| id.to_string()));
        let ids = [("transaction.id", transaction_id), ("span.id", span_id)];
        let ids = ids.into_iter().filter_map(|(name, id)| Some((name, id?)));
        let ids = [("trace.id", trace_id.to_string())].into_iter().chain(ids);
        let whole = line.trim_end().len();
        let end = line.split_off(whole);
        // what the service says itself holds
        let ids: Vec<_> = ids.filter(|(name, _)| !self.says(&line, name)).collect();
        match self {
            Style::Text => ids.into_iter().for_each(|(name, id)| line.extend([" ", name, "=", &id])),
            Style::Json if line.starts_with('{') && line.ends_with('}') => {
                line.pop();
                for (name, id) in ids {
                    let comma = if line.trim_end().ends_with('{') { "" } else { "," };
                    line.extend([comma, "\"", name, "\":\"", &id, "\""]);
                }
                line.push('}');
            }
            Style::Json => {}
        }
        line + &end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{SpanId, TraceId};

    fn with_ids(style: Style, line: &str, span_id: Option<SpanId>) -> String {
        let place = LogPlace { trace_id: TraceId(1), transaction_id: Some(SpanId(2)), span_id };
        style.with_ids(line.to_owned(), place)
    }

    const TRACE: &str = "00000000000000000000000000000001";
    const TWO: &str = "0000000000000002";

    // spec: log-correlation.md
    #[test]
    fn trace_ids_are_appended_to_the_line() {
        let text = with_ids(Style::Text, "INFO sold\n", Some(SpanId(3)));
        assert_eq!(text, format!("INFO sold trace.id={TRACE} transaction.id={TWO} span.id=0000000000000003\n"));
        let json = with_ids(Style::Json, "{\"message\":\"{}\"}\n", None);
        assert_eq!(json, format!(r#"{{"message":"{{}}","trace.id":"{TRACE}","transaction.id":"{TWO}"}}"#) + "\n");
        let empty = with_ids(Style::Json, "{}\n", None);
        assert_eq!(empty, format!(r#"{{"trace.id":"{TRACE}","transaction.id":"{TWO}"}}"#) + "\n");
    }

    // spec: log-correlation.md
    #[test]
    fn trace_ids_logged_by_the_service_are_kept() {
        let line = "INFO sold trace.id=mine\n";
        assert_eq!(with_ids(Style::Text, line, None), format!("INFO sold trace.id=mine transaction.id={TWO}\n"));
        let line = r#"{"trace.id":"mine","fields":{"transaction.id":"theirs"}}"#;
        let told = format!(r#"{{"trace.id":"mine","fields":{{"transaction.id":"theirs"}},"transaction.id":"{TWO}"}}"#);
        assert_eq!(with_ids(Style::Json, line, None), told);
    }

    #[test]
    fn invalid_json_line_is_not_changed() {
        for line in ["", "\n", "sold\n", "{ sold\n", "sold }"] {
            assert_eq!(with_ids(Style::Json, line, None), line);
        }
    }
}
