//! The types of option values: how each type is parsed, checked and shown.
//!
//! [`OptionType::ALLOWED`] describes the allowed values. A value that is not allowed is never corrected, except for the
//! service name, for which a warning is logged.

mod boundaries;
mod choice;
mod duration;
mod exporter;
mod headers;
mod labels;
mod number;
mod option_type;
mod otlp_url;
mod secret;
mod server_url;
mod size;
mod text;
mod wildcard;

pub(crate) use self::{
    boundaries::Boundaries,
    duration::{GranularDuration, Milliseconds, NonNegativeDuration, NonZeroDuration, StackTraceMinDuration},
    headers::HeaderList,
    labels::Labels,
    number::{Bool, Count, Limit, SampleRate},
    option_type::{OptionType, Parsed},
    otlp_url::OtlpUrl,
    secret::{Credential, HIDDEN, Secret},
    server_url::{ServerUrl, Url, Urls},
    size::{BacklogBytes, QueueBytes, RequestSize},
    text::{Path, ServiceName, Text},
    wildcard::{Patterns, Wildcard},
};
pub use self::{
    choice::{
        CaptureBody, CaptureLogErrors, CaptureSpanFields, CloudProvider, LogEcsReformatting, LogLevel,
        TraceContinuationStrategy,
    },
    exporter::{Exporter, OtlpCompression, OtlpProtocol},
};

#[cfg(test)]
mod tests;
