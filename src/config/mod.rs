//! The agent's options: from central configuration, the environment, code, or their defaults.
//!
//! [`options`] is the table of all options. [`resolve`] reads them into a [`Config`], and [`LiveConfig`] holds the current
//! one. A value that is not allowed is reported in one [`Warning`], and the next source is used, so options never prevent
//! the start of the agent.

mod env;
mod live;
mod not_offered;
mod options;
mod resolve;
mod value;

pub use self::{
    env::EnvVars,
    value::{
        CaptureBody, CaptureLogErrors, CaptureSpanFields, CloudProvider, Exporter, LogEcsReformatting, LogLevel,
        OtlpCompression, OtlpProtocol, TraceContinuationStrategy,
    },
};
pub(crate) use self::{
    live::{Applied, Central, LiveConfig},
    options::{define_setters, for_each_option, live_note, option_setters},
    resolve::{CodeOptions, Config, REDACTED, unknown_variables},
    value::{Secret, ServerUrl, Wildcard},
};

#[cfg(feature = "otlp")]
pub(crate) use self::resolve::Origin;

#[cfg(feature = "_internals")]
pub(crate) use self::resolve::OPTIONS;
#[cfg(any(test, feature = "_internals"))]
pub(crate) use self::resolve::resolve;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
