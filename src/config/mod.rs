//! The agent's options: from central configuration, else the environment, else code, else their defaults, and never a
//! reason not to start.
//!
//! [`options`] is the table; [`Config`] is what holds after [`resolve`]; [`LiveConfig`] is the one that holds now. A value that is not allowed is named in one
//! [`Warning`], and the next source is used.

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
