//! Selects the `tracing` spans that the agent records, by level and by target.

use tracing::{Metadata, level_filters::LevelFilter};

use crate::config::{Config, Wildcard};

/// `tracing-opentelemetry` must not see this target: the transaction itself is the OpenTelemetry span.
pub(crate) const REQUEST_TARGET: &str = "tower_apm::request";

/// The options `span_level` and `ignore_spans` of the agent that a layer belongs to.
#[derive(Debug)]
pub(crate) struct SpanSelection {
    level: LevelFilter,
    ignored: Vec<Wildcard>,
}

/// The defaults of the options, for a layer that belongs to no agent.
impl Default for SpanSelection {
    fn default() -> Self {
        Self { level: LevelFilter::INFO, ignored: Vec::new() }
    }
}

impl SpanSelection {
    pub(crate) fn of(config: &Config) -> Self {
        Self { level: config.span_level.into(), ignored: config.ignore_spans.clone() }
    }

    pub(crate) fn level(&self) -> LevelFilter {
        self.level
    }

    /// Returns true if the span is recorded. The span of a request is not, because the transaction is recorded instead.
    #[inline]
    pub(crate) fn records(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
            && *metadata.level() <= self.level
            && metadata.target() != REQUEST_TARGET
            && (self.ignored.is_empty() || !self.ignores(metadata))
    }

    fn ignores(&self, metadata: &Metadata<'_>) -> bool {
        let path = format!("{}::{}", metadata.target(), metadata.name());
        self.ignored.iter().any(|pattern| pattern.matches(metadata.target()) || pattern.matches(&path))
    }
}

#[cfg(test)]
mod tests {
    use tracing::{Metadata, Span, debug_span, info_span, trace_span, warn_span};

    use super::*;
    use crate::config::{CodeOptions, EnvVars, resolve};

    fn selection(variables: &[(&str, &str)]) -> SpanSelection {
        let (config, warnings) = resolve(&CodeOptions::default(), &EnvVars::from_iter(variables.iter().copied()));
        assert_eq!(warnings, []);
        SpanSelection::of(&config)
    }

    fn metadata(span: impl Fn() -> Span) -> &'static Metadata<'static> {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || span().metadata().unwrap())
    }

    #[test]
    fn span_level_selects_spans_by_level() {
        let of_levels = [
            metadata(|| warn_span!("s")),
            metadata(|| info_span!("s")),
            metadata(|| debug_span!("s")),
            metadata(|| trace_span!("s")),
        ];
        for (level, recorded) in [("off", 0), ("error", 0), ("warning", 1), ("info", 2), ("debug", 3), ("trace", 4)] {
            let selection = selection(&[("ELASTIC_APM_SPAN_LEVEL", level)]);
            let found = of_levels.map(|metadata| selection.records(metadata));
            assert_eq!(found, [0, 1, 2, 3].map(|index| index < recorded), "{level}");
        }
        assert_eq!(selection(&[]).level(), SpanSelection::default().level());
    }

    #[test]
    fn ignore_spans_matches_the_target_and_the_path_of_a_span() {
        let call = metadata(|| info_span!(target: "tower_sessions::service", "call"));
        for (patterns, ignored) in [
            ("tower_sessions*", true),
            ("tower_sessions::service", true),
            ("tower_sessions::service::call", true),
            ("*::call", true),
            ("sqlx*, TOWER_SESSIONS::*", true),
            ("tower_sessions", false),
            ("call", false),
            ("*::get_record", false),
        ] {
            let selection = selection(&[("ELASTIC_APM_IGNORE_SPANS", patterns)]);
            assert_eq!(selection.records(call), !ignored, "{patterns}");
        }
    }

    #[test]
    fn span_of_a_request_is_never_selected() {
        let request = metadata(|| info_span!(target: "tower_apm::request", "request"));
        assert!(!selection(&[("ELASTIC_APM_SPAN_LEVEL", "trace")]).records(request));
    }
}
