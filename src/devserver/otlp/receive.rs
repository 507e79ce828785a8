//! One OTLP request: its bytes in, stored events out, and the account that becomes the answer.

use std::{sync::Arc, time::SystemTime};

use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
    metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse},
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
};
use prost::Message;
use serde_json::{Map, Value, value::RawValue};

use super::{
    budget,
    map::{self, Told},
};
use crate::{
    devserver::{
        event::{Kind, Protocol},
        script::Fate,
        store::Store,
    },
    record::TraceId,
};

/// What a request tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
    Logs,
}

/// What became of a request that could be read.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Spans, data points or records that were refused, and why.
    rejected: u64,
    message: String,
}

/// Reads one message and stores its events. An error, and nothing stored, where it cannot be read: OTLP is taken or
/// refused as a whole.
pub(crate) fn receive(
    signal: Signal,
    message: &[u8],
    protocol: Protocol,
    store: &Store,
    fate: Fate,
) -> Result<Account, String> {
    let unreadable = |error: prost::DecodeError| {
        let hint = if message.starts_with(b"{") { " (it looks like JSON; only binary protobuf is taken)" } else { "" };
        format!("cannot read the message: {error}{hint}")
    };
    let mut keeper = Keeper { store, fate, protocol, metadata: None, account: Account::default() };
    let received = SystemTime::now();
    let mut ids = TraceId::random().0;
    let read = budget::check(signal, message).and_then(|()| {
        let mut each = |told: Told| keeper.keep(told);
        match signal {
            Signal::Traces => {
                let request = ExportTraceServiceRequest::decode(message).map_err(unreadable)?;
                map::traces(&request, received, &mut ids, &mut each);
            }
            Signal::Metrics => {
                let request = ExportMetricsServiceRequest::decode(message).map_err(unreadable)?;
                map::metrics(&request, received, &mut each);
            }
            Signal::Logs => {
                let request = ExportLogsServiceRequest::decode(message).map_err(unreadable)?;
                map::logs(&request, received, &mut ids, &mut each);
            }
        }
        Ok(())
    });
    match read {
        Ok(()) => Ok(keeper.account),
        Err(why) => {
            store.reject(None, &why);
            Err(why)
        }
    }
}

/// Stores what a message tells, as far as the fate of the request allows.
struct Keeper<'a> {
    store: &'a Store,
    fate: Fate,
    protocol: Protocol,
    metadata: Option<Arc<RawValue>>,
    account: Account,
}

impl Keeper<'_> {
    fn keep(&mut self, told: Told) {
        match told {
            Told::Metadata(metadata) => {
                let metadata = raw(&metadata);
                if let Some(metadata) = metadata.as_ref().filter(|_| self.fate.stores()) {
                    self.store.accept(self.protocol, Kind::Metadata, metadata, metadata.clone());
                }
                self.metadata = metadata;
            }
            Told::Event(kind, event) => match (self.fate.of_next(), &self.metadata, raw(&event)) {
                (Ok(true), Some(metadata), Some(event)) => self.store.accept(self.protocol, kind, metadata, event),
                (Ok(_), ..) => {}
                (Err(message), ..) => self.refuse(kind, 1, message),
            },
            Told::Unsupported(points) => {
                if self.fate.stores() {
                    self.refuse(Kind::Metricset, points, "unsupported data points".to_owned());
                }
            }
        }
    }

    fn refuse(&mut self, kind: Kind, count: u64, message: String) {
        self.store.reject_many(kind, count, &message);
        self.account.rejected += count;
        if self.account.message.is_empty() {
            self.account.message = message;
        }
    }
}

fn raw(json: &Map<String, Value>) -> Option<Arc<RawValue>> {
    serde_json::value::to_raw_value(json).ok().map(Into::into)
}

impl Account {
    /// The answer's message, in protobuf: empty, or a partial success.
    pub(super) fn answer(self, signal: Signal) -> Vec<u8> {
        let Self { rejected, message: error_message } = self;
        if rejected == 0 {
            return Vec::new();
        }
        let rejected = i64::try_from(rejected).unwrap_or(i64::MAX);
        match signal {
            Signal::Traces => {
                let partial_success = Some(ExportTracePartialSuccess { rejected_spans: rejected, error_message });
                ExportTraceServiceResponse { partial_success }.encode_to_vec()
            }
            Signal::Metrics => {
                let partial_success =
                    Some(ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message });
                ExportMetricsServiceResponse { partial_success }.encode_to_vec()
            }
            Signal::Logs => {
                let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records: rejected, error_message });
                ExportLogsServiceResponse { partial_success }.encode_to_vec()
            }
        }
    }
}
