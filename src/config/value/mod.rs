//! The kinds of values that options have: how each is written, checked and shown.
//!
//! One kind per subject. A kind says in [`OptionType::ALLOWED`] what it takes, and a value that it does not take is never
//! bent into one that it does; the only exception, a service name, is told to the user.

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
