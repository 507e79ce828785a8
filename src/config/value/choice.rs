//! Options with a few named values.

use tracing::level_filters::LevelFilter;

use super::{OptionType, Parsed};

macro_rules! choice {
    ($choice:ty, $allowed:literal, $($value:path => $name:literal $(| $alias:literal)*),+ $(,)?) => {
        impl $choice {
            /// Parses the value of the environment, in any case.
            fn parse(text: &str) -> Option<Self> {
                let text = text.trim().to_ascii_lowercase();
                match text.as_str() {
                    $($name $(| $alias)* => Some($value),)+
                    _ => None,
                }
            }

            /// Returns the value as it is written in the environment.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $($value => $name,)+
                }
            }
        }

        impl OptionType for $choice {
            type Value = $choice;
            type Code = $choice;
            const ALLOWED: &'static str = $allowed;

            fn read(text: &str) -> Parsed<$choice> {
                Parsed::from_option(<$choice>::parse(text))
            }

            fn check(code: &$choice) -> Parsed<$choice> {
                Parsed::Valid(*code)
            }

            fn show(value: &$choice) -> String {
                value.as_str().to_owned()
            }

            fn show_code(code: &$choice) -> String {
                code.as_str().to_owned()
            }
        }
    };
}
pub(super) use choice;

/// The requests whose body is captured (option `capture_body`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CaptureBody {
    /// No body is captured.
    #[default]
    Off,
    /// Bodies are captured for errors only.
    Errors,
    /// Bodies are captured for transactions only.
    Transactions,
    /// Bodies are captured for transactions and errors.
    All,
}
choice!(CaptureBody, "`off`, `errors`, `transactions` or `all`",
    CaptureBody::Off => "off",
    CaptureBody::Errors => "errors",
    CaptureBody::Transactions => "transactions",
    CaptureBody::All => "all",
);

/// Whether the fields of spans become labels (option `capture_span_fields`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CaptureSpanFields {
    /// All fields become labels. Their values are redacted.
    #[default]
    On,
    /// No field becomes a label.
    Off,
}
choice!(CaptureSpanFields, "`on` or `off`",
    CaptureSpanFields::On => "on" | "true",
    CaptureSpanFields::Off => "off" | "false",
);

/// The log lines of level ERROR that become errors (option `capture_log_errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CaptureLogErrors {
    /// No lines are recorded. Lines with a field `error` or `err` are recorded nevertheless.
    Off,
    /// At most one line of each failed transaction is recorded, if no other error was captured in the transaction.
    #[default]
    FailedRequests,
    /// All lines of level ERROR are recorded. Lines of lower levels are recorded as with
    /// [`FailedRequests`](Self::FailedRequests).
    All,
}
choice!(CaptureLogErrors, "`off`, `failed_requests` or `all`",
    CaptureLogErrors::Off => "off",
    CaptureLogErrors::FailedRequests => "failed_requests",
    CaptureLogErrors::All => "all",
);

/// A log level, for the options `log_level` and `span_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LogLevel {
    /// All lines.
    Trace,
    /// Lines that help to debug the agent, and more important lines.
    Debug,
    /// The start-up line and the summary at shutdown, and more important lines.
    #[default]
    Info,
    /// Problems that lose no data, and errors.
    Warning,
    /// Lost data.
    Error,
    /// The same as [`LogLevel::Error`], because `tracing` has no such level.
    Critical,
    /// No lines.
    Off,
}
choice!(LogLevel, "`trace`, `debug`, `info`, `warning`, `error`, `critical` or `off`",
    LogLevel::Trace => "trace",
    LogLevel::Debug => "debug",
    LogLevel::Info => "info",
    LogLevel::Warning => "warning" | "warn",
    LogLevel::Error => "error",
    LogLevel::Critical => "critical",
    LogLevel::Off => "off",
);

/// The cloud provider whose metadata is read (option `cloud_provider`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CloudProvider {
    /// The agent requests the metadata of all providers, and uses the response that it gets. If the server is on this
    /// machine, it requests nothing.
    #[default]
    Auto,
    /// Amazon Web Services.
    Aws,
    /// Google Cloud Platform.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// No metadata is read.
    None,
}
choice!(CloudProvider, "`auto`, `aws`, `gcp`, `azure` or `none`",
    CloudProvider::Auto => "auto",
    CloudProvider::Aws => "aws",
    CloudProvider::Gcp => "gcp",
    CloudProvider::Azure => "azure",
    CloudProvider::None => "none",
);

/// Whether a caller's trace is continued (option `trace_continuation_strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TraceContinuationStrategy {
    /// The caller's trace is continued.
    #[default]
    Continue,
    /// A new trace starts, with a link to the caller's trace.
    Restart,
    /// The trace of an Elastic agent is continued. For any other caller, a new trace starts, with a link to the caller's
    /// trace.
    RestartExternal,
}
choice!(TraceContinuationStrategy, "`continue`, `restart` or `restart_external`",
    TraceContinuationStrategy::Continue => "continue",
    TraceContinuationStrategy::Restart => "restart",
    TraceContinuationStrategy::RestartExternal => "restart_external",
);

/// Whether log lines are printed in the Elastic Common Schema (option `log_ecs_reformatting`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LogEcsReformatting {
    /// The format that is set in code is used.
    #[default]
    Off,
    /// The Elastic Common Schema is used, whatever format is set in code.
    Override,
}
choice!(LogEcsReformatting, "`off` or `override`",
    LogEcsReformatting::Off => "off",
    LogEcsReformatting::Override => "override",
);

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Trace => LevelFilter::TRACE,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warning => LevelFilter::WARN,
            LogLevel::Error | LogLevel::Critical => LevelFilter::ERROR,
            LogLevel::Off => LevelFilter::OFF,
        }
    }
}
