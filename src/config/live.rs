//! The current options: the local options, overridden by central configuration.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::{ArcSwap, Guard};

use super::{
    env::EnvVars,
    resolve::{CodeOptions, Config, OPTIONS, Origin, Warning, resolve, resolve_with},
};

/// The values of central configuration by the names of the options, as text.
pub(crate) type Central = BTreeMap<String, String>;

/// The current options of an agent. Clones are cheap and share the options.
///
/// A change replaces the whole [`Config`], so a reader never sees a partial change. A transaction keeps the [`Config`]
/// with which it started.
#[derive(Debug, Clone)]
pub(crate) struct LiveConfig {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    current: ArcSwap<Config>,
    code: CodeOptions,
    environment: EnvVars,
    /// The last allowed values of central configuration.
    accepted: Mutex<Central>,
}

impl Default for LiveConfig {
    /// Returns every option at its default.
    fn default() -> Self {
        Self::new(CodeOptions::default(), EnvVars::empty()).0
    }
}

/// The result of applying central configuration.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Applied {
    /// Values that are not allowed. The previous values stay in use.
    pub(crate) warnings: Vec<Warning>,
    /// Names that are not options of this agent, or of options that cannot change while it runs.
    pub(crate) unknown: Vec<String>,
}

impl LiveConfig {
    pub(crate) fn new(code: CodeOptions, environment: EnvVars) -> (Self, Vec<Warning>) {
        let (config, warnings) = resolve(&code, &environment);
        let current = ArcSwap::from_pointee(config);
        let inner = Inner { current, code, environment, accepted: Mutex::default() };
        (Self { inner: Arc::new(inner) }, warnings)
    }

    /// Returns the options, for a short use.
    pub(crate) fn load(&self) -> Guard<Arc<Config>> {
        self.inner.current.load()
    }

    /// Returns the options, to store them.
    pub(crate) fn snapshot(&self) -> Arc<Config> {
        self.inner.current.load_full()
    }

    pub(crate) fn environment(&self) -> &EnvVars {
        &self.inner.environment
    }

    /// Replaces central configuration. Options that it no longer sets get their local values again. An option with a value
    /// that is not allowed keeps its current value.
    pub(crate) fn apply(&self, central: Central) -> Applied {
        let Inner { current, code, environment, accepted } = &*self.inner;
        let mut accepted = accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<String> = OPTIONS.iter().flat_map(|row| row.central_names()).collect();
        let (mut central, unknown): (Central, Central) =
            central.into_iter().partition(|(name, _)| known.contains(name));
        let (_, mut warnings) = resolve_with(&central, code, environment);
        warnings.retain(|warning| warning.origin == Origin::Central);
        for Warning { name, .. } in &warnings {
            // another name of the option can have an allowed value
            match accepted.get(name) {
                Some(former) => central.insert(name.clone(), former.clone()),
                None => central.remove(name),
            };
        }
        let (config, _) = resolve_with(&central, code, environment);
        for warning in &mut warnings {
            warning.used = config.used(warning.option);
        }
        current.store(Arc::new(config));
        *accepted = central;
        Applied { warnings, unknown: unknown.into_keys().collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn live(variables: &[(&'static str, &'static str)]) -> LiveConfig {
        LiveConfig::new(CodeOptions::default(), variables.iter().copied().collect()).0
    }

    fn central(values: &[(&str, &str)]) -> Central {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn central_value_takes_precedence_and_reverts_when_removed() {
        let live = live(&[("ELASTIC_APM_TRANSACTION_SAMPLE_RATE", "0.5")]);
        let begun_before = live.snapshot();
        assert_eq!(live.apply(central(&[("transaction_sample_rate", "0.2")])), Applied::default());
        assert_eq!(live.load().transaction_sample_rate, 0.2);
        assert_eq!(live.load().origin("transaction_sample_rate"), Some(Origin::Central));
        assert_eq!(begun_before.transaction_sample_rate, 0.5);
        live.apply(Central::new());
        assert_eq!(live.load().transaction_sample_rate, 0.5);
    }

    #[test]
    fn invalid_central_value_keeps_the_previous_central_value() {
        let live = live(&[]);
        live.apply(central(&[("transaction_max_spans", "7"), ("capture_body", "all")]));
        let applied = live.apply(central(&[("transaction_max_spans", "many"), ("capture_body", "errors")]));
        assert_eq!(live.load().transaction_max_spans, 7);
        assert_eq!(live.load().capture_body, crate::config::CaptureBody::Errors);
        let [warning] = &applied.warnings[..] else { panic!("{applied:?}") };
        assert_eq!(
            warning.to_string(),
            "transaction_max_spans=\"many\" of the central configuration is not allowed: transaction_max_spans is a \
             whole number; 0 for none, -1 for no limit; using \"7\" (central configuration)"
        );
    }

    #[test]
    fn invalid_first_central_value_keeps_the_local_value() {
        let live = live(&[("ELASTIC_APM_CAPTURE_BODY", "all"), ("ELASTIC_APM_SERVER_TIMEOUT", "soon")]);
        let applied = live.apply(central(&[("capture_body", "some")]));
        assert_eq!(live.load().capture_body, crate::config::CaptureBody::All);
        assert_eq!(applied.warnings.len(), 1, "the invalid local value was reported before: {applied:?}");
        assert!(applied.warnings[0].used.contains("ELASTIC_APM_CAPTURE_BODY"), "{applied:?}");
    }

    #[test]
    fn options_that_cannot_change_at_run_time_are_reported() {
        let live = live(&[]);
        let applied = live.apply(central(&[("server_url", "http://elsewhere"), ("recording", "false"), ("x", "1")]));
        assert_eq!(applied.unknown, ["server_url", "x"]);
        assert!(!live.load().recording);
    }

    #[test]
    fn central_alias_is_parsed_by_its_own_rules() {
        let live = live(&[]);
        live.apply(central(&[("span_frames_min_duration", "-1ms")]));
        assert_eq!(live.load().span_stack_trace_min_duration, Some(Duration::ZERO));
        live.apply(central(&[("span_frames_min_duration", "-1ms"), ("span_stack_trace_min_duration", "-1ms")]));
        assert_eq!(live.load().span_stack_trace_min_duration, None);
    }

    #[test]
    fn invalid_central_value_does_not_hide_a_valid_alias() {
        let live = live(&[]);
        let both = [("span_stack_trace_min_duration", "soon"), ("span_frames_min_duration", "7ms")];
        let applied = live.apply(central(&both));
        assert_eq!(live.load().span_stack_trace_min_duration, Some(Duration::from_millis(7)));
        let [warning] = &applied.warnings[..] else { panic!("{applied:?}") };
        assert!(warning.to_string().ends_with("using \"7ms\" (central configuration)"), "{warning}");

        let applied = live.apply(central(&[("span_frames_min_duration", "soon")]));
        assert_eq!(
            live.load().span_stack_trace_min_duration,
            Some(Duration::from_millis(7)),
            "the previous value stays in use"
        );
        assert!(applied.warnings[0].to_string().starts_with("span_frames_min_duration=\"soon\""), "{applied:?}");
    }
}
