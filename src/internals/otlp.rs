//! The development server's decoder of OTLP without a server around it.

use std::sync::Arc;

use crate::devserver::{Event, Ingestion, Limits, Protocol, Query, Signal, Store, receive};

/// What is stored of a message, the oldest first, metadata included; an error where it cannot be read. `signal` is 0 for
/// traces, 1 for metrics, anything else for logs.
pub fn otlp(signal: u8, message: &[u8]) -> Result<Vec<Arc<Event>>, String> {
    let store = Store::new(Limits { events: usize::MAX, bytes: usize::MAX });
    let signal = match signal {
        0 => Signal::Traces,
        1 => Signal::Metrics,
        _ => Signal::Logs,
    };
    let read = receive(signal, message, Protocol::OtlpHttp, &store, Ingestion::Stored);
    let mut stored = store.query(&Query::new()).events;
    stored.reverse();
    assert!(read.is_ok() || stored.is_empty(), "nothing is stored of a message that cannot be read");
    read.map(|_| stored)
}
