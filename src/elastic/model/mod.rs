//! The events of intake v2 as its JSON schemas describe them: structs that serialise, and nothing else.
//!
//! Everything is borrowed from the record that it tells of. Absent fields are not written.

mod cloud;
mod context;
mod error;
mod faas;
mod log;
mod metadata;
mod metricset;
mod span;
mod stacktrace;
mod transaction;
mod value;

pub(crate) use self::{
    cloud::{Cloud, Machine, Named},
    context::{Age, Context, Custom, Headers, Message, Queue, Request, Response, Service, ServiceTarget, Socket, Url},
    error::{Error, ErrorTransaction, Exception, Log as ErrorLog},
    log::LogLine,
    metadata::{
        Agent, Container, Framework, Kubernetes, KubernetesNode, Language, Metadata, MetadataService, Node, Pod,
        Process, Runtime, System, User,
    },
    metricset::{Metricset, MetricsetSpan, MetricsetTransaction, Sample},
    span::{Composite, Db, Destination, DestinationService, Http, HttpResponse, Span, SpanContext},
    stacktrace::Frame,
    transaction::{DroppedDuration, DroppedSpanStats, DroppedSum, Link, Marks, Otel, SpanCount, Transaction},
    value::{Entries, HeaderValue, Json, RAW_JSON, Scalar, Tags},
};

/// One line of a batch. The first key of a line names its type.
#[derive(serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line<'a> {
    Metadata(Box<Metadata<'a>>),
    Transaction(Transaction<'a>),
    Span(Span<'a>),
    Error(Error<'a>),
    Metricset(Metricset<'a>),
    Log(LogLine<'a>),
}

/// Declares a struct whose absent fields are not written.
macro_rules! model {
    ($($(#[$meta:meta])* struct $name:ident $(<$life:lifetime>)? { $($(#[$of:meta])* $field:ident: $type:ty,)* })+) => {$(
        #[derive(serde::Serialize)]
        $(#[$meta])*
        pub(crate) struct $name $(<$life>)? {
            $(
                #[serde(skip_serializing_if = "crate::elastic::model::value::Absent::is_absent")]
                $(#[$of])*
                pub(crate) $field: $type,
            )*
        }
    )+};
}
use model;

#[cfg(test)]
mod tests;
