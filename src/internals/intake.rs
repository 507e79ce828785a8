//! The development server's decoder without a server around it.

use std::sync::Arc;

use bytes::Bytes;

use crate::devserver::{Event, Ingestion, Limits, Query, Slice, Store, Stream, Task};

/// What became of one body.
#[derive(Debug)]
pub struct Judged {
    pub accepted: u64,
    /// The refused documents that the sender is told of, each as it came, with what is wrong.
    pub refused: Vec<(String, String)>,
    pub status: u16,
    /// What was stored, the oldest first, metadata included.
    pub stored: Vec<Arc<Event>>,
}

/// Reads a body as it arrives: piece by piece, until it cannot be read any further.
pub fn intake<'a>(encoding: Option<&str>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Judged {
    let store = Store::new(Limits { events: usize::MAX, bytes: usize::MAX });
    let mut stream = Stream::new(encoding, store.clone(), Ingestion::Stored);
    for piece in pieces {
        stream.feed(Bytes::copy_from_slice(piece));
        stream.advance(&Slice::unbounded());
        if stream.is_broken() {
            break;
        }
    }
    stream.end();
    stream.advance(&Slice::unbounded());
    let account = stream.into_account();
    let mut stored = store.query(&Query::new()).events;
    stored.reverse();
    let status = account.status();
    let refused = account.errors.into_iter().map(|error| (error.document, error.message)).collect();
    Judged { accepted: account.accepted, refused, status, stored }
}
