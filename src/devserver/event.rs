//! One stored event: as it was received, with the few values by which it is found.

use std::{fmt, sync::Arc, time::SystemTime};

use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::{Value, value::RawValue};

use super::json;

/// What an event is: the key under which it stands in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The first line of a stream: service, process, host.
    Metadata,
    /// A request, or a piece of background work.
    Transaction,
    /// An operation within a transaction.
    Span,
    /// An exception or an error log.
    Error,
    /// Samples of metrics.
    Metricset,
    /// A log line.
    Log,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Transaction, Self::Span, Self::Error, Self::Metricset, Self::Log, Self::Metadata];

    /// The key of its lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Transaction => "transaction",
            Self::Span => "span",
            Self::Error => "error",
            Self::Metricset => "metricset",
            Self::Log => "log",
        }
    }

    /// The kind that stands under this key.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// As [`named`](Self::named), but metadata, which may only stand in the first line, is none.
    pub(crate) fn of_event(name: &str) -> Option<Self> {
        Self::named(name).filter(|kind| *kind != Self::Metadata)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By which protocol an event has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Elastic's own: it is shown as it came.
    Intake,
    /// OTLP over HTTP: it is shown as the APM Server understands it.
    OtlpHttp,
    /// OTLP over gRPC: the same.
    OtlpGrpc,
}

impl Protocol {
    /// As the JSON interface names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::OtlpHttp => "otlp/http",
            Self::OtlpGrpc => "otlp/grpc",
        }
    }

    /// Either way of it.
    #[must_use]
    pub const fn is_otlp(self) -> bool {
        matches!(self, Self::OtlpHttp | Self::OtlpGrpc)
    }
}

/// The metadata of a stream and what its events need of it, read once: it can be as large as a thousand events.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    raw: Arc<RawValue>,
    service: Option<Arc<str>>,
}

impl Metadata {
    pub(crate) fn new(raw: Arc<RawValue>) -> Self {
        let service = json::text_at(&raw, &["service", "name"]).map(Arc::from);
        Self { raw, service }
    }

    pub(crate) fn raw(&self) -> &Arc<RawValue> {
        &self.raw
    }
}

/// An event that the server has accepted.
pub struct Event {
    protocol: Protocol,
    kind: Kind,
    received_at: SystemTime,
    metadata: Arc<RawValue>,
    body: Arc<RawValue>,
    service: Option<Arc<str>>,
    trace_id: Option<Box<str>>,
    names: Vec<Box<str>>,
}

impl Event {
    pub(crate) fn new(
        protocol: Protocol,
        kind: Kind,
        received_at: SystemTime,
        metadata: &Metadata,
        body: Arc<RawValue>,
    ) -> Self {
        let boxed = |path: &[&str]| json::text_at(&body, path).map(Box::from);
        let service = match kind {
            Kind::Metadata => None,
            Kind::Log => boxed(&["service.name"]).or_else(|| boxed(&["service", "name"])),
            _ => boxed(&["context", "service", "name"]).or_else(|| boxed(&["service", "name"])),
        };
        let service = service.map(Arc::from).or_else(|| metadata.service.clone());
        let trace_id = boxed(&["trace_id"]).or_else(|| boxed(&["trace.id"]));
        let names = match kind {
            Kind::Transaction | Kind::Span => boxed(&["name"]).into_iter().collect(),
            Kind::Error => [&["exception", "type"], &["exception", "message"], &["log", "message"]]
                .into_iter()
                .filter_map(|path| boxed(path))
                .collect(),
            Kind::Metricset => json::at(&body, &["samples"])
                .map(|samples| json::members(samples).into_iter().map(|(name, _)| Box::from(name)).collect())
                .unwrap_or_default(),
            Kind::Log => boxed(&["message"]).into_iter().collect(),
            Kind::Metadata => service.iter().map(|name| Box::from(&**name)).collect(),
        };
        let metadata = metadata.raw.clone();
        Self { protocol, kind, received_at, metadata, body, service, trace_id, names }
    }

    /// By which protocol it has come.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// When its line was complete at the server.
    #[must_use]
    pub fn received_at(&self) -> SystemTime {
        self.received_at
    }

    /// The event as JSON, what stands under the key of its kind. Null where `serde_json` cannot hold it (a number
    /// beyond `f64`, more than 128 levels).
    #[must_use]
    pub fn body(&self) -> Value {
        json::value(self.body.get())
    }

    /// The event in the very characters that came by intake; what OTLP says is translated.
    #[must_use]
    pub fn raw(&self) -> &str {
        self.body.get()
    }

    /// The metadata of its stream, what stands under `metadata`.
    #[must_use]
    pub fn metadata(&self) -> Value {
        json::value(self.metadata.get())
    }

    /// The metadata in the very characters that came by intake; what OTLP says is translated.
    #[must_use]
    pub fn raw_metadata(&self) -> &str {
        self.metadata.get()
    }

    /// The name of its service: its own if it gives one, else its metadata's.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// Its trace id.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// What it is called: a transaction's or span's name, an error's type and message, the names of a metric set's
    /// samples, a log's message, a metadata's service.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    pub(crate) fn shared_body(&self) -> Arc<RawValue> {
        self.body.clone()
    }

    pub(crate) fn shared_metadata(&self) -> Arc<RawValue> {
        self.metadata.clone()
    }

    /// Everything of its JSON before the metadata.
    pub(crate) fn head(&self) -> String {
        let (kind, protocol) = (self.kind.as_str(), self.protocol.as_str());
        format!(
            r#"{{"type":"{kind}","protocol":"{protocol}","received_at":"{}","metadata":"#,
            rfc3339(self.received_at)
        )
    }

    /// Roughly the bytes that it holds.
    pub(crate) fn size(&self) -> usize {
        /// A pointer, a length, and what the allocator adds.
        const PER_TEXT: usize = 32;
        let texts = self.names.iter().chain(&self.trace_id).map(|text| PER_TEXT + text.len()).sum::<usize>();
        // metadata is shared by its stream and counted where it is an event itself
        size_of::<Self>() + PER_TEXT + texts + self.body.get().len()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, service, trace_id, names, .. } = self;
        f.debug_struct("Event")
            .field("kind", kind)
            .field("service", service)
            .field("trace_id", trace_id)
            .field("names", names)
            .finish_non_exhaustive()
    }
}

/// As the JSON interface shows it.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut event = serializer.serialize_struct("Event", 5)?;
        event.serialize_field("type", self.kind.as_str())?;
        event.serialize_field("protocol", self.protocol.as_str())?;
        event.serialize_field("received_at", &rfc3339(self.received_at))?;
        event.serialize_field("metadata", &*self.metadata)?;
        event.serialize_field("event", &*self.body)?;
        event.end()
    }
}

/// UTC with milliseconds.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // civil date from days since the epoch, in eras of 400 years that begin in March
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_shown_as_rfc_3339_dates() {
        for (seconds, want) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.007Z"),
            (1_787_220_000, "2026-08-20T10:00:00.007Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7);
            assert_eq!(rfc3339(time), want);
        }
    }

    fn event(kind: Kind, body: &str) -> Event {
        let metadata = RawValue::from_string(r#"{"service":{"name":"shop"}}"#.to_owned()).unwrap();
        let body = RawValue::from_string(body.to_owned()).unwrap();
        Event::new(Protocol::Intake, kind, SystemTime::UNIX_EPOCH, &Metadata::new(metadata.into()), body.into())
    }

    #[test]
    fn event_has_service_trace_id_and_names_for_search() {
        let cases = [
            (Kind::Transaction, r#"{"name":"GET /","trace_id":"t"}"#, "shop", Some("t"), vec!["GET /"]),
            (Kind::Span, r#"{"name":"q","context":{"service":{"name":"other"}}}"#, "other", None, vec!["q"]),
            (Kind::Error, r#"{"exception":{"type":"E","message":"m"}}"#, "shop", None, vec!["E", "m"]),
            (Kind::Metricset, r#"{"samples":{"a":{},"b":{}}}"#, "shop", None, vec!["a", "b"]),
            (Kind::Log, r#"{"message":"hi","trace.id":"t","service.name":"own"}"#, "own", Some("t"), vec!["hi"]),
            (Kind::Metadata, r#"{"service":{"name":"shop"}}"#, "shop", None, vec!["shop"]),
        ];
        for (kind, body, service, trace_id, names) in cases {
            let event = event(kind, body);
            assert_eq!(event.service(), Some(service), "{body}");
            assert_eq!(event.trace_id(), trace_id, "{body}");
            assert_eq!(event.names().collect::<Vec<_>>(), names, "{body}");
        }
    }

    #[test]
    fn event_is_serialized_as_it_was_received() {
        let shown = serde_json::to_string(&event(Kind::Span, r#"{"duration": 7.0}"#)).unwrap();
        assert_eq!(
            shown,
            r#"{"type":"span","protocol":"intake","received_at":"1970-01-01T00:00:00.000Z","metadata":{"service":{"name":"shop"}},"event":{"duration": 7.0}}"#
        );
    }
}
