//! Reads all options from their sources into one [`Config`].

use std::{borrow::Cow, fmt, ops::Range};

use super::{
    env::EnvVars,
    live::Central,
    not_offered::replacement_for,
    options::for_each_option,
    value::{
        BacklogBytes, Bool, Boundaries, CaptureBody, CaptureLogErrors, CaptureSpanFields, CloudProvider, Count,
        Credential, Exporter, GranularDuration, HeaderList, Labels, Limit, LogEcsReformatting, LogLevel, Milliseconds,
        NonNegativeDuration, NonZeroDuration, OptionType, OtlpCompression, OtlpProtocol, OtlpUrl, Parsed, Path,
        Patterns, QueueBytes, RequestSize, SampleRate, ServiceName, StackTraceMinDuration, Text,
        TraceContinuationStrategy, Url, Urls,
    },
};

/// A row of the option table.
#[derive(Debug)]
pub(crate) struct OptionRow {
    pub(crate) name: &'static str,
    /// The variables that set the option. The first one is the option's own variable.
    pub(crate) variables: &'static [&'static str],
    /// The OpenTelemetry resource attributes that are used if neither the environment nor code sets the option.
    pub(crate) attributes: &'static [&'static str],
    /// The default as it would be written in the environment. Empty if the option has no default.
    pub(crate) default: &'static str,
    pub(crate) secret: bool,
    /// Whether central configuration can change the option.
    pub(crate) live: bool,
    /// The documentation of the option, and the allowed values.
    #[cfg(test)]
    pub(super) doc: &'static str,
    #[cfg(test)]
    pub(super) allowed: &'static str,
}

impl OptionRow {
    /// Returns the names of the option in central configuration.
    pub(super) fn central_names(&self) -> impl Iterator<Item = String> {
        let names = if self.live { self.variables } else { &[] };
        names.iter().filter_map(|variable| variable.strip_prefix(PREFIX)).map(str::to_lowercase)
    }
}

const PREFIX: &str = "ELASTIC_APM_";

/// Variables that begin like options but are read elsewhere.
const OTHER_VARIABLES: [&str; 1] = ["ELASTIC_APM_ACTIVATION_METHOD"];

/// Returns a warning about variables that look like options but are not: misspelt options, or options of other agents.
pub(crate) fn unknown_variables(environment: &EnvVars) -> Option<String> {
    let known = |name: &&str| OPTIONS.iter().any(|row| row.variables.contains(name)) || OTHER_VARIABLES.contains(name);
    let mut unknown: Vec<_> = environment.names().filter(|name| name.starts_with(PREFIX) && !known(name)).collect();
    unknown.sort_unstable();
    let listed = unknown.iter().map(|name| match replacement_for(&name[PREFIX.len()..].to_lowercase()) {
        Some(instead) => format!("{name} ({instead})"),
        None => (*name).to_owned(),
    });
    let listed = listed.collect::<Vec<_>>().join(", ");
    (!unknown.is_empty()).then(|| format!("this agent has no such option: {listed}"))
}

macro_rules! define_config {
    ([] $(
        $(#[doc = $doc:literal])+
        $(@$live:ident)? $name:ident: $option_type:ty, $env:literal $(| $alias:literal)*
        $(, default $default:literal)?
        $(, otel $($attribute:literal)|+)?
        , set($argument:ident: $type:ty) = $code:expr;
    )+) => {
        /// The values of all options. Every value is allowed.
        #[derive(Debug, Clone)]
        pub(crate) struct Config {
            $($(#[doc = $doc])+ pub(crate) $name: <$option_type as OptionType>::Value,)+
            origins: Vec<Origin>,
        }

        /// The values that code set on the builder, not yet checked.
        #[derive(Clone, Default)]
        pub(crate) struct CodeOptions {
            $(pub(crate) $name: Option<<$option_type as OptionType>::Code>,)+
        }

        /// Prints the options that are set, without secrets and without user and password of URLs.
        impl fmt::Debug for CodeOptions {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut set = f.debug_map();
                $(
                    if let Some(code) = &self.$name {
                        let shown = if <$option_type as OptionType>::SECRET { REDACTED.to_owned() } else { <$option_type as OptionType>::show_code(code) };
                        set.entry(&stringify!($name), &shown);
                    }
                )+
                set.finish()
            }
        }

        /// Every option, in the order of [`Config`]'s fields.
        pub(crate) const OPTIONS: &[OptionRow] = &[$(OptionRow {
            name: stringify!($name),
            variables: &[$env $(, $alias)*],
            attributes: &[$($($attribute),+)?],
            default: concat!($($default)?),
            secret: <$option_type as OptionType>::SECRET,
            live: !concat!($(stringify!($live))?).is_empty(),
            #[cfg(test)]
            doc: concat!($($doc),+),
            #[cfg(test)]
            allowed: <$option_type as OptionType>::ALLOWED,
        },)+];

        /// Reads every option from the environment, code, OpenTelemetry's variables, or its default. A value that is not
        /// allowed adds a warning, and the next source is used.
        pub(crate) fn resolve(code: &CodeOptions, environment: &EnvVars) -> (Config, Vec<Warning>) {
            resolve_with(&Central::new(), code, environment)
        }

        /// Reads every option like [`resolve`], but central configuration takes precedence. `central` contains only names of
        /// [`OptionRow::central_names`].
        pub(super) fn resolve_with(
            central: &Central,
            code: &CodeOptions,
            environment: &EnvVars,
        ) -> (Config, Vec<Warning>) {
            let (origins, warnings) = (Vec::new(), Vec::new());
            let mut reader = Reader { central, environment, rows: OPTIONS.iter(), origins, warnings };
            let config = Config {
                $($name: reader.option::<$option_type>(code.$name.as_ref()),)+
                origins: reader.origins,
            };
            (config, reader.warnings)
        }

        impl Config {
            /// Returns every value as text, in the order of the table.
            pub(crate) fn shown(&self) -> Vec<String> {
                vec![$(<$option_type as OptionType>::show(&self.$name),)+]
            }
        }
    };
}
for_each_option!(define_config);

impl Default for Config {
    /// Returns the defaults of all options. The environment is not read.
    fn default() -> Self {
        resolve(&CodeOptions::default(), &EnvVars::empty()).0
    }
}

/// Replaces a secret in the start-up line.
pub(crate) const REDACTED: &str = "[REDACTED]";

impl Config {
    /// Returns whether the endpoint of OTLP is for traces only.
    pub(crate) fn otlp_is_of_traces(&self) -> bool {
        self.otlp_endpoint.as_ref().is_some_and(|endpoint| endpoint.is_for_traces_only)
    }

    /// Returns whether only spans are sent, because OTLP is the only protocol and its endpoint is for traces only.
    pub(crate) fn sends_spans_only(&self) -> bool {
        self.exporter == super::Exporter::Otlp && self.otlp_is_of_traces()
    }

    /// Returns the options for the start-up line, each with its source: all options that are not at their default, and a
    /// few other options. Secrets are hidden.
    pub(crate) fn describe(&self) -> String {
        const ALWAYS: [&str; 4] = ["server_url", "service_name", "service_version", "log_level"];
        let listed = OPTIONS.iter().zip(self.shown()).zip(&self.origins);
        let listed = listed.filter(|((row, _), origin)| **origin != Origin::Default || ALWAYS.contains(&row.name));
        let text = listed.map(|((row, value), origin)| {
            let value = if row.secret && !value.is_empty() { REDACTED } else { &value };
            format!("{}={value:?} ({origin})", row.name)
        });
        text.collect::<Vec<_>>().join(", ")
    }

    /// Returns the value of an option and its source, for a warning.
    pub(super) fn used(&self, option: &str) -> String {
        let shown = OPTIONS.iter().zip(self.shown()).zip(&self.origins);
        let found = shown.into_iter().find(|((row, _), _)| row.name == option);
        found.map_or_else(String::new, |((_, value), origin)| used(&value, *origin))
    }

    #[cfg(any(test, feature = "otlp"))]
    pub(crate) fn origin(&self, option: &str) -> Option<Origin> {
        OPTIONS.iter().zip(&self.origins).find(|(row, _)| row.name == option).map(|(_, origin)| *origin)
    }
}

/// The source of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    Code,
    /// Central configuration.
    Central,
    /// The name of the variable.
    Environment(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Default => "default",
            Origin::Code => "code",
            Origin::Central => "central configuration",
            Origin::Environment(name) => name,
        })
    }
}

/// A warning about a value that is not allowed. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) option: &'static str,
    /// The name of the option in the source, which can be an older name.
    pub(crate) name: String,
    pub(crate) origin: Origin,
    /// `***` for a secret.
    pub(crate) value: String,
    pub(crate) allowed: &'static str,
    /// The value that is used instead, and its source.
    pub(crate) used: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, name, origin, value, allowed, used } = self;
        match origin {
            Origin::Environment(name) => write!(f, "{name}={value:?}")?,
            Origin::Central => write!(f, "{name}={value:?} of the central configuration")?,
            Origin::Code | Origin::Default => write!(f, "{option}({value:?})")?,
        }
        write!(f, " is not allowed: {option} is {allowed}; using {used}")
    }
}

fn used(shown: &str, origin: Origin) -> String {
    if shown.is_empty() { format!("none ({origin})") } else { format!("{shown:?} ({origin})") }
}

/// The maximum number of characters of a value in a warning.
const MAX_SHOWN: usize = 200;

/// A value that is set for an option, not yet checked.
enum Source<'a> {
    Code,
    Text {
        /// The name of the variable or attribute.
        name: Cow<'a, str>,
        origin: Origin,
        text: Cow<'a, str>,
        /// True if the text belongs to an older or another name of the option.
        is_alias: bool,
    },
}

struct Reader<'a> {
    central: &'a Central,
    environment: &'a EnvVars,
    rows: std::slice::Iter<'static, OptionRow>,
    origins: Vec<Origin>,
    warnings: Vec<Warning>,
}

/// Searches the sources for the value of one option of the type `K`.
struct Search<'a, K: OptionType> {
    code: Option<&'a K::Code>,
    found: Option<K::Value>,
}

/// A [`Search`] of any option type. [`Reader::find`] uses this trait, so that it is compiled once and not for each type.
trait AnySearch {
    /// Reads a source, and keeps its value if it is allowed.
    fn read(&mut self, source: &Source<'_>) -> Parsed<()>;

    /// Returns the value of a source in the form in which warnings show it.
    fn show(&self, source: &Source<'_>) -> String;
}

impl<K: OptionType> AnySearch for Search<'_, K> {
    fn read(&mut self, source: &Source<'_>) -> Parsed<()> {
        let parsed = match (source, self.code) {
            (Source::Code, None) => Parsed::Unset,
            (Source::Code, Some(code)) => K::check(code),
            (Source::Text { text, is_alias: false, .. }, _) => K::read(text),
            (Source::Text { text, is_alias: true, .. }, _) => K::read_alias(text),
        };
        let (found, parsed) = match parsed {
            Parsed::Valid(value) => (Some(value), Parsed::Valid(())),
            Parsed::Corrected(value) => (Some(value), Parsed::Corrected(())),
            Parsed::Invalid => (None, Parsed::Invalid),
            Parsed::Unset => (None, Parsed::Unset),
        };
        self.found = found;
        parsed
    }

    fn show(&self, source: &Source<'_>) -> String {
        match (source, self.code) {
            (Source::Text { text, .. }, _) => K::show_text(text),
            (Source::Code, Some(code)) => K::show_code(code),
            (Source::Code, None) => String::new(),
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads the next row's option.
    fn option<K: OptionType>(&mut self, code: Option<&K::Code>) -> K::Value {
        let Some(row) = self.rows.next() else { return K::Value::default() };
        let warned_before = self.warnings.len();
        let mut search = Search::<K> { code, found: None };
        let origin = self.find(row, K::ALIASES_LAST, K::ALLOWED, &mut search);
        let value = search.found.unwrap_or_else(|| K::default_value(row.default));
        self.note_origin(origin, warned_before, || K::show(&value));
        value
    }

    /// Returns the origin of the first allowed value of the option. Each value that is not allowed adds a warning.
    fn find(
        &mut self,
        row: &OptionRow,
        aliases_last: bool,
        allowed: &'static str,
        search: &mut dyn AnySearch,
    ) -> Origin {
        for source in self.sources(row, aliases_last) {
            let parsed = search.read(&source);
            let origin = match &source {
                Source::Code => Origin::Code,
                Source::Text { origin, .. } => *origin,
            };
            match parsed {
                Parsed::Valid(()) => return origin,
                Parsed::Unset => continue,
                Parsed::Corrected(()) | Parsed::Invalid => {}
            }
            let shown = search.show(&source);
            let name = match source {
                Source::Text { name, .. } => name.into_owned(),
                Source::Code => row.name.to_owned(),
            };
            self.warn(row, name, origin, &shown, allowed);
            if parsed == Parsed::Corrected(()) {
                return origin;
            }
        }
        Origin::Default
    }

    /// Stores the origin of an option's value, and adds the value to the option's warnings.
    fn note_origin(&mut self, origin: Origin, warned_before: usize, show: impl FnOnce() -> String) {
        self.origins.push(origin);
        if let Some(warnings @ [_, ..]) = self.warnings.get_mut(warned_before..) {
            let used = used(&show(), origin);
            warnings.iter_mut().for_each(|warning| warning.used.clone_from(&used));
        }
    }

    /// Returns the option's sources in the order of their precedence: central configuration, the environment, code, and
    /// OpenTelemetry's resource attributes. With `aliases_last`, other names of the option come after code.
    fn sources(&self, row: &OptionRow, aliases_last: bool) -> Vec<Source<'a>> {
        let end = row.variables.len();
        let split = if aliases_last { 1 } else { end };
        let mut sources = self.named(row, 0..split);
        sources.push(Source::Code);
        sources.extend(self.named(row, split..end));
        for attribute in row.attributes {
            if let Some((name, text)) = self.environment.otel_attribute(attribute) {
                let origin = Origin::Environment(name);
                sources.push(Source::Text { name: name.into(), origin, text: text.into(), is_alias: false });
            }
        }
        sources
    }

    /// Returns the values that central configuration and the environment have for some of the option's names.
    fn named(&self, row: &OptionRow, names: Range<usize>) -> Vec<Source<'a>> {
        let central = row.central_names().enumerate().filter(|(index, _)| names.contains(index));
        let central = central.filter_map(|(index, name)| {
            let text = self.central.get(&name).filter(|text| !text.trim().is_empty())?;
            Some((index, Cow::Owned(name), Origin::Central, text.as_str()))
        });
        let environment = row.variables.iter().enumerate().filter(|(index, _)| names.contains(index));
        let environment = environment.filter_map(|(index, name)| {
            let text = self.environment.get(name)?;
            Some((index, Cow::Borrowed(*name), Origin::Environment(name), text))
        });
        let text = |(index, name, origin, text)| {
            // the first name is the option's own name
            Source::Text { name, origin, text: Cow::Borrowed(text), is_alias: index > 0 }
        };
        central.chain(environment).map(text).collect()
    }

    fn warn(&mut self, row: &OptionRow, name: String, origin: Origin, shown: &str, allowed: &'static str) {
        self.warnings.push(Warning {
            option: row.name,
            name,
            origin,
            value: shown.chars().take(MAX_SHOWN).collect(),
            allowed,
            used: String::new(),
        });
    }
}
