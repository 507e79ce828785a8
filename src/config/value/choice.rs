//! Options with a few named values.

use tracing::level_filters::LevelFilter;

use super::{OptionType, Parsed};

macro_rules! choice {
    ($choice:ty, $allowed:literal, $($value:path => $name:literal $(| $alias:literal)*),+ $(,)?) => {
        impl $choice {
            /// The word in the environment, in any case.
            fn parse(text: &str) -> Option<Self> {
                let text = text.trim().to_ascii_lowercase();
                match text.as_str() {
                    $($name $(| $alias)* => Some($value),)+
                    _ => None,
                }
            }

            /// The word in the environment.
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

/// For which requests the body is captured (`capture_body`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CaptureBody {
    /// For none.
    #[default]
    Off,
    /// For errors only.
    Errors,
    /// For transactions only.
    Transactions,
    /// For transactions and errors.
    All,
}
choice!(CaptureBody, "`off`, `errors`, `transactions` or `all`",
    CaptureBody::Off => "off",
    CaptureBody::Errors => "errors",
    CaptureBody::Transactions => "transactions",
    CaptureBody::All => "all",
);

/// Whether the fields of spans become labels (`capture_span_fields`).
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

/// Which log lines of level ERROR become errors (`capture_log_errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CaptureLogErrors {
    /// No lines. Lines with a field `error` or `err` are recorded nevertheless.
    Off,
    /// At most one line of each failed transaction, if no other error was captured in it.
    #[default]
    FailedRequests,
    /// All lines of level ERROR. Lines of lower levels are recorded as with [`FailedRequests`](Self::FailedRequests).
    All,
}
choice!(CaptureLogErrors, "`off`, `failed_requests` or `all`",
    CaptureLogErrors::Off => "off",
    CaptureLogErrors::FailedRequests => "failed_requests",
    CaptureLogErrors::All => "all",
);

/// How much the agent says about itself (`log_level`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// What helps to find a mistake.
    Debug,
    /// The start-up line and what was sent at the end.
    #[default]
    Info,
    /// What should not be, but does no harm.
    Warning,
    /// What was lost.
    Error,
    /// `tracing` has no such level: the same as [`LogLevel::Error`].
    Critical,
    /// Nothing.
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

/// Which cloud is asked for its metadata (`cloud_provider`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CloudProvider {
    /// All of them; the one that answers is it.
    #[default]
    Auto,
    /// Amazon Web Services.
    Aws,
    /// Google Cloud Platform.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// None.
    None,
}
choice!(CloudProvider, "`auto`, `aws`, `gcp`, `azure` or `none`",
    CloudProvider::Auto => "auto",
    CloudProvider::Aws => "aws",
    CloudProvider::Gcp => "gcp",
    CloudProvider::Azure => "azure",
    CloudProvider::None => "none",
);

/// What becomes of a trace that the caller has begun (`trace_continuation_strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TraceContinuationStrategy {
    /// It goes on here.
    #[default]
    Continue,
    /// A new one begins, with a link to the caller's.
    Restart,
    /// It goes on where an Elastic agent sent it, and begins anew where anyone else did.
    RestartExternal,
}
choice!(TraceContinuationStrategy, "`continue`, `restart` or `restart_external`",
    TraceContinuationStrategy::Continue => "continue",
    TraceContinuationStrategy::Restart => "restart",
    TraceContinuationStrategy::RestartExternal => "restart_external",
);

/// Whether log lines are printed in the Elastic Common Schema (`log_ecs_reformatting`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LogEcsReformatting {
    /// As the code says.
    #[default]
    Off,
    /// They are, whatever the code says.
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
