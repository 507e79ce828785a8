//! One OTLP request: its bytes in, stored events out, and the account that becomes the answer.

use std::{sync::Arc, time::SystemTime};

use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
    metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse},
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
};
use prost::Message as _;
use serde_json::{Map, Value, value::RawValue};

use super::{
    budget, expansion,
    map::{self, Told},
    message::{Message, Unreadable},
};
use crate::{
    devserver::{
        event::{Kind, Metadata, Protocol},
        script::Ingestion,
        store::Store,
        work::{OnTheSpot, Slice, Task, Unfinished, Workers},
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

/// What to do with one message.
pub(super) struct Export {
    signal: Signal,
    protocol: Protocol,
    store: Store,
    ingestion: Ingestion,
}

impl Export {
    pub(super) fn new(signal: Signal, protocol: Protocol, store: &Store, ingestion: Ingestion) -> Self {
        Self { signal, protocol, store: store.clone(), ingestion }
    }

    /// Reads the message and stores its events; a small one here, others on a worker.
    pub(super) async fn run(
        self,
        message: Message,
        workers: &Workers,
        mut left: OnTheSpot,
    ) -> Result<Account, Unreadable> {
        let work = Work { export: self, message, result: None };
        let Work { result, .. } = workers.run(work, &mut left).await?;
        result.unwrap_or(Err(Unreadable::Unfinished(Unfinished)))
    }
}

struct Work {
    export: Export,
    message: Message,
    result: Option<Result<Account, Unreadable>>,
}

impl Task for Work {
    fn advance(&mut self, slice: &Slice) -> bool {
        if !slice.allows(self.message.bytes().len()) {
            return false;
        }
        let Self { export: Export { signal, protocol, store, ingestion }, message, result } = self;
        let signal = *signal;
        // the message, decoded, is in memory until its events are stored
        let leased = budget::check(signal, message.bytes()).map(|decoded| message.lease_more(decoded));
        let read = match leased {
            Ok(Ok(())) => {
                store_events(signal, message.bytes(), *protocol, store, ingestion.clone()).map_err(Unreadable::Message)
            }
            Ok(Err(over_budget)) => Err(over_budget.into()),
            Err(why) => Err(Unreadable::Message(why)),
        };
        if let Err(why) = &read {
            store.reject(None, &why.to_string());
        }
        *result = Some(read);
        true
    }
}

/// Reads one message and stores its events. An error, and nothing stored, where it cannot be read: OTLP is taken or
/// refused as a whole.
#[cfg(feature = "_internals")]
pub(crate) fn receive(
    signal: Signal,
    message: &[u8],
    protocol: Protocol,
    store: &Store,
    ingestion: Ingestion,
) -> Result<Account, String> {
    budget::check(signal, message)?;
    store_events(signal, message, protocol, store, ingestion)
}

/// As `receive`, for a message within the budget.
fn store_events(
    signal: Signal,
    message: &[u8],
    protocol: Protocol,
    store: &Store,
    ingestion: Ingestion,
) -> Result<Account, String> {
    let unreadable = |error: prost::DecodeError| {
        let hint = if message.starts_with(b"{") { " (it looks like JSON; only binary protobuf is taken)" } else { "" };
        format!("cannot read the message: {error}{hint}")
    };
    let mut keeper = Keeper { store, ingestion, protocol, metadata: None, account: Account::default() };
    let received = SystemTime::now();
    let mut ids = TraceId::random().0;
    let mut each = |told: Told| keeper.keep(told);
    match signal {
        Signal::Traces => {
            let request = ExportTraceServiceRequest::decode(message).map_err(unreadable)?;
            expansion::check_traces(&request)?;
            map::traces(&request, received, &mut ids, &mut each);
        }
        Signal::Metrics => {
            let request = ExportMetricsServiceRequest::decode(message).map_err(unreadable)?;
            expansion::check_metrics(&request)?;
            map::metrics(&request, received, &mut each);
        }
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(message).map_err(unreadable)?;
            expansion::check_logs(&request)?;
            map::logs(&request, received, &mut ids, &mut each);
        }
    }
    Ok(keeper.account)
}

/// Stores the events of a message, as far as the scripted response allows.
struct Keeper<'a> {
    store: &'a Store,
    ingestion: Ingestion,
    protocol: Protocol,
    metadata: Option<Metadata>,
    account: Account,
}

impl Keeper<'_> {
    fn keep(&mut self, told: Told) {
        match told {
            Told::Metadata(metadata) => {
                let metadata = raw(&metadata).map(Metadata::new);
                if let Some(metadata) = metadata.as_ref().filter(|_| self.ingestion.stores()) {
                    self.store.accept(self.protocol, Kind::Metadata, metadata, metadata.raw().clone());
                }
                self.metadata = metadata;
            }
            Told::Event(kind, event) => match (self.ingestion.of_next(), &self.metadata, raw(&event)) {
                (Ok(true), Some(metadata), Some(event)) => self.store.accept(self.protocol, kind, metadata, event),
                (Ok(_), ..) => {}
                (Err(message), ..) => self.refuse(kind, 1, message),
            },
            Told::Unsupported(points) => {
                if self.ingestion.stores() {
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
