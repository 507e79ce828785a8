//! The environment variables as a value, so that a test can pass other variables.

use std::{collections::HashMap, fmt};

use percent_encoding::percent_decode_str;

/// The environment variables from which the agent reads its options.
///
/// By default, the builder reads the variables of the process. To pass other variables:
///
/// ```
/// use tower_apm::EnvVars;
///
/// let environment = EnvVars::from_iter([("ELASTIC_APM_SERVICE_NAME", "marketplace")]);
/// ```
///
/// A variable that is empty or blank counts as not set. `Debug` prints only names, because values can be secret.
#[derive(Clone, Default)]
pub struct EnvVars {
    variables: HashMap<String, String>,
}

impl EnvVars {
    /// Returns the current variables of this process. Bytes that are not valid UTF-8 are replaced.
    #[must_use]
    pub fn process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// Returns an empty set of variables.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Returns the value of a variable that is set and not blank.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// Returns the names of the variables that are set and not blank.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str).filter(|name| self.get(name).is_some())
    }

    /// Returns an attribute of OpenTelemetry's resource and the name of its variable: `OTEL_RESOURCE_ATTRIBUTES`, or for
    /// `service.name` preferably `OTEL_SERVICE_NAME`. Values in the list are percent-encoded.
    pub(crate) fn otel_attribute(&self, attribute: &str) -> Option<(&'static str, String)> {
        if attribute == "service.name"
            && let Some(name) = self.get("OTEL_SERVICE_NAME")
        {
            return Some(("OTEL_SERVICE_NAME", name.to_owned()));
        }
        let mut pairs = self.get(OTEL_ATTRIBUTES)?.split(',').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, value)| key.trim() == attribute && !value.trim().is_empty())?;
        Some((OTEL_ATTRIBUTES, percent_decode_str(value.trim()).decode_utf8_lossy().into_owned()))
    }

    /// Returns a warning about invalid entries of `OTEL_RESOURCE_ATTRIBUTES`. The warning contains only their positions,
    /// because the entries can be secret.
    pub(crate) fn broken_otel_attributes(&self) -> Option<String> {
        let parts = self.get(OTEL_ATTRIBUTES)?.split(',').enumerate();
        let is_broken =
            |part: &str| !part.trim().is_empty() && part.split_once('=').is_none_or(|(key, _)| key.trim().is_empty());
        let broken: Vec<_> =
            parts.filter(|(_, part)| is_broken(part)).map(|(at, _)| (at + 1).to_string()).take(MAX_NAMED).collect();
        let broken = broken.join(", ");
        (!broken.is_empty())
            .then(|| format!("{OTEL_ATTRIBUTES}: entry number {broken} is not a key=value pair and is ignored"))
    }
}

const OTEL_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
/// The maximum number of entries in the warning.
const MAX_NAMED: usize = 10;

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for EnvVars {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

impl fmt::Debug for EnvVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
