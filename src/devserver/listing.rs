//! The answer to `GET /api/events`: found in slices, written event by event, and bounded in events and bytes.

use std::{collections::VecDeque, sync::Arc};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::{
    memory::Lease,
    query::Query,
    reply,
    server::Shared,
    store::Store,
    work::{OnTheSpot, Slice, Task},
};

/// The most events of one answer.
pub(crate) const MAX_EVENTS: usize = 10_000;
/// Once an answer has this many bytes, no further event is added.
pub(crate) const MAX_BYTES: usize = 8 * 1024 * 1024;
/// The largest piece that is handed to the connection at a time.
const PIECE: usize = 64 * 1024;

/// Finds the events of an answer and writes them while they are read.
pub(crate) async fn answer(shared: &Shared, lease: Lease, query: Query, parameters: Vec<(String, String)>) -> Response {
    let search = Search::new(shared.store.clone(), query);
    let Ok(found) = shared.workers.run(search, &mut OnTheSpot::default()).await else {
        return reply::try_again(reply::empty(StatusCode::SERVICE_UNAVAILABLE));
    };
    let (pieces, mut rest) = mpsc::channel(1);
    // ends with the connection, which then receives no more pieces
    tokio::spawn(write(found, parameters, lease, Pieces(pieces)));
    let (mut start, mut length) = (VecDeque::new(), 0);
    while length < PIECE {
        match rest.recv().await {
            Some(piece) => {
                length += piece.len();
                start.push_back(piece);
            }
            None => return reply::stream(Body::from(Vec::from(start).concat())),
        }
    }
    reply::stream(Body::new(Written { start, rest }))
}

/// The search for events that match.
struct Search {
    store: Store,
    query: Query,
    /// The number of the last event that was looked at.
    at: u64,
    /// How many match.
    total: usize,
    /// The numbers of those that are wanted.
    found: Vec<u64>,
}

impl Search {
    fn new(store: Store, query: Query) -> Self {
        Self { at: query.end(), store, query, total: 0, found: Vec::new() }
    }

    /// Whether the server lists fewer events than were asked for.
    fn is_capped(&self) -> bool {
        self.query.most() > MAX_EVENTS && self.total > MAX_EVENTS
    }
}

impl Task for Search {
    /// Keeps no events between slices, because that would keep evicted events in memory.
    fn advance(&mut self, slice: &Slice) -> bool {
        loop {
            let batch = self.store.before(self.at);
            if batch.is_empty() {
                return true;
            }
            for (number, event) in batch {
                if !slice.allows(event.raw().len()) {
                    return false;
                }
                self.at = number;
                if self.query.matches(&event) {
                    self.total += 1;
                    if self.found.len() < self.query.most().min(MAX_EVENTS) {
                        self.found.push(number);
                    }
                }
            }
        }
    }
}

/// The connection has ended.
struct Closed;

/// Takes the answer piece by piece, as fast as the client reads.
struct Pieces(mpsc::Sender<Bytes>);

impl Pieces {
    async fn send(&self, mut bytes: Bytes) -> Result<(), Closed> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.0.send(piece).await.map_err(|_| Closed)?;
        }
        Ok(())
    }
}

async fn write(
    found: Search,
    parameters: Vec<(String, String)>,
    mut lease: Lease,
    pieces: Pieces,
) -> Result<(), Closed> {
    pieces.send(format!(r#"{{"total":{},"events":["#, found.total).into()).await?;
    let (mut written, mut listed, mut last) = (0, 0, None);
    let mut is_cut = found.is_capped();
    for number in &found.found {
        // it may have made room meanwhile
        let Some(event) = found.store.event(*number) else { continue };
        let size = event.raw().len() + event.raw_metadata().len();
        if listed > 0 && written + size > MAX_BYTES || lease.set(size).is_err() {
            is_cut = true;
            break;
        }
        let comma = if listed > 0 { "," } else { "" };
        pieces.send(format!("{comma}{}", event.head()).into()).await?;
        pieces.send(shared_bytes(event.shared_metadata())).await?;
        pieces.send(Bytes::from_static(br#","event":"#)).await?;
        pieces.send(shared_bytes(event.shared_body())).await?;
        pieces.send(Bytes::from_static(b"}")).await?;
        (written, listed, last) = (written + size, listed + 1, Some(*number));
    }
    let mut end = "]".to_owned();
    if is_cut {
        end += r#","truncated":true"#;
    }
    if is_cut || found.total > listed {
        // without a first event there was no memory for it: from the same place
        let before = last.unwrap_or(found.query.end());
        end += &format!(r#","next":"{}""#, next(parameters, before));
    }
    end.push('}');
    pieces.send(end.into()).await
}

/// The same request for the events before this one.
fn next(parameters: Vec<(String, String)>, before: u64) -> String {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let others = parameters.iter().filter(|(name, value)| name != "before" && !value.is_empty());
    let others: String = others.map(|(name, value)| format!("{name}={}&", encode(value))).collect();
    format!("/api/events?{others}before={before}")
}

/// The bytes of a text without a copy.
fn shared_bytes(raw: Arc<RawValue>) -> Bytes {
    struct Shared(Arc<RawValue>);

    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            self.0.get().as_bytes()
        }
    }

    Bytes::from_owner(Shared(raw))
}

/// The body that the pieces become; an answer of one piece has a length instead.
struct Written {
    start: VecDeque<Bytes>,
    rest: mpsc::Receiver<Bytes>,
}

impl http_body::Body for Written {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.start.pop_front() {
            Some(piece) => std::task::Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => self.rest.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::devserver::{
        event::{Kind, Metadata, Protocol},
        store::Limits,
    };

    fn raw(json: String) -> Arc<RawValue> {
        RawValue::from_string(json).unwrap().into()
    }

    fn store(texts: &[&str]) -> Store {
        let store = Store::new(Limits { events: 1_000, bytes: usize::MAX });
        let metadata = Metadata::new(raw("{}".to_owned()));
        for text in texts {
            store.accept(Protocol::Intake, Kind::Span, &metadata, raw(format!(r#"{{"name":"{text}"}}"#)));
        }
        store
    }

    #[test]
    fn search_resumes_at_the_end_of_its_slice() {
        let long = "x".repeat(20_000);
        let mut texts = vec!["a"; 400];
        texts[100] = &long;
        texts[300] = &long;
        let mut search = Search::new(store(&texts), Query::new().text("A\"").limit(3));
        let minute = Duration::from_secs(60);
        assert!(!search.advance(&Slice::on_the_spot(minute)), "a long event is looked at by a worker");
        assert_eq!(search.total, 99);
        assert!(!search.advance(&Slice::on_the_spot(Duration::ZERO)), "its time is over");
        assert!(search.advance(&Slice::unbounded()));
        assert_eq!((search.total, search.found), (398, vec![399, 398, 397]));
    }

    #[test]
    fn next_page_repeats_the_filters() {
        let parameters = [("q", "a b&c"), ("type", ""), ("before", "9"), ("limit", "5")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(next(parameters, 3), "/api/events?q=a%20b%26c&limit=5&before=3");
    }
}
