//! The filter of the log lines that `install()` prints.
//!
//! `EnvFilter` is behind a feature because `tracing_subscriber/env-filter` changes `tracing_subscriber::fmt::init()` in
//! the whole process: without `RUST_LOG` that function prints INFO lines, and with the feature only ERROR lines.

#[cfg(not(feature = "env-filter"))]
use tracing_subscriber::filter::Targets;

#[cfg(feature = "env-filter")]
pub(crate) type LogFilter = tracing_subscriber::EnvFilter;
#[cfg(not(feature = "env-filter"))]
pub(crate) type LogFilter = Targets;

/// The variable that takes precedence over the filter from code.
pub(crate) const RUST_LOG: &str = "RUST_LOG";

/// Parses a list such as `info,my_crate=debug`. Empty directives are skipped.
///
/// # Errors
///
/// Returns the reason, for a log line.
#[cfg(feature = "env-filter")]
pub(crate) fn parse(directives: &str) -> Result<LogFilter, String> {
    LogFilter::try_new(directives).map_err(|error| error.to_string())
}

/// Parses a list such as `info,my_crate=debug`. Empty directives are skipped.
///
/// # Errors
///
/// Returns the reason, for a log line.
#[cfg(not(feature = "env-filter"))]
pub(crate) fn parse(directives: &str) -> Result<LogFilter, String> {
    let directives: Vec<_> = directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    if let Some(directive) = directives.iter().find(|directive| directive.contains(['[', ']', '{', '}'])) {
        return Err(format!(
            "{directive:?} filters by span or field, which needs the feature `env-filter` of tower-apm"
        ));
    }
    // `Targets` accepts any text as a target
    if let Some(directive) = directives.iter().find(|directive| directive.contains(char::is_whitespace)) {
        return Err(format!("{directive:?} contains a blank"));
    }
    directives.join(",").parse::<Targets>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_directives_are_parsed_and_empty_ones_are_skipped() {
        for valid in ["info", "warn,my_crate=debug,", ",,INFO", "my_crate::module", "a=off,b=0", "my-target=trace"] {
            assert!(parse(valid).is_ok(), "{valid}");
        }
        // an empty directive would enable every target
        assert_eq!(parse("a=warn,,").unwrap().to_string(), "a=warn");
    }

    #[test]
    fn invalid_directives_are_errors() {
        for invalid in ["info,my_crate=loud", "a=b=c", "my crate=info]["] {
            assert!(parse(invalid).is_err(), "{invalid}");
        }
    }

    #[cfg(not(feature = "env-filter"))]
    #[test]
    fn span_directive_error_contains_the_missing_feature() {
        for directive in ["[request]=debug", "my_crate[{id=7}]=debug"] {
            assert!(parse(directive).unwrap_err().contains("feature `env-filter`"), "{directive}");
        }
    }
}
