//! Lines into a batch: JSON, compressed in large pieces, no line longer than the server reads.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use super::{json, truncate_event::shorten};
use crate::{elastic::model::Line, pipeline::Batch};

/// The server skips a longer line.
const MAX_LINE: usize = 300 * 1024;
/// Each write into the compressor costs thousands of instructions, however small it is.
const CHUNK: usize = 16 * 1024;

/// Collects the lines of one batch at a time.
pub(super) struct Encoder {
    /// The first line of every batch.
    metadata: Vec<u8>,
    gzip: bool,
    plain: Vec<u8>,
    /// The end of the last whole line in `plain`; a panic while a line is written leaves a part of it behind.
    whole: usize,
    compressed: Option<GzEncoder<Vec<u8>>>,
    events: u64,
}

impl Encoder {
    pub(super) fn new(metadata: &Line<'_>, gzip: bool) -> Result<Self, serde_json::Error> {
        Ok(Self { metadata: first_line(metadata)?, gzip, plain: Vec::new(), whole: 0, compressed: None, events: 0 })
    }

    /// Changes the first line, from the next batch on. What cannot be written leaves the former one.
    pub(super) fn describe(&mut self, metadata: &Line<'_>) {
        if let Ok(line) = first_line(metadata) {
            self.metadata = line;
        }
    }

    /// Adds one event; one that is too long loses what it can best do without, step by step. Gives what that was at last.
    pub(super) fn add(&mut self, line: &mut Line<'_>) -> Result<Option<&'static str>, String> {
        if self.events == 0 {
            self.plain.clear();
            self.plain.extend_from_slice(&self.metadata);
            self.whole = self.plain.len();
        }
        let start = self.whole;
        self.plain.truncate(start);
        let (mut step, mut cut) = (0, None);
        loop {
            let written = json::write(&mut self.plain, &*line);
            let length = self.plain.len() - start;
            if written.is_ok() && length < MAX_LINE {
                break;
            }
            self.plain.truncate(start);
            written.map_err(|error| format!("an event could not be written as JSON: {error}"))?;
            cut = shorten(line, &mut step);
            if cut.is_none() {
                return Err(format!("an event of {length} bytes is over the server's limit of {MAX_LINE}"));
            }
        }
        self.plain.push(b'\n');
        self.whole = self.plain.len();
        self.events += 1;
        if self.gzip && self.plain.len() >= CHUNK {
            self.compress().map_err(|error| error.to_string())?;
        }
        Ok(cut)
    }

    fn compress(&mut self) -> io::Result<()> {
        let encoder = self.compressed.get_or_insert_with(gzip);
        encoder.write_all(&self.plain)?;
        self.plain.clear();
        self.whole = 0;
        Ok(())
    }

    /// Bytes of the open batch as it would be sent, roughly.
    pub(super) fn size(&self) -> usize {
        match self.events {
            0 => 0,
            _ => self.plain.len() + self.compressed.as_ref().map_or(0, |encoder| encoder.get_ref().len()),
        }
    }

    pub(super) fn close(&mut self) -> Option<IntakeBatch> {
        let events = std::mem::take(&mut self.events);
        if events == 0 {
            return None;
        }
        self.plain.truncate(self.whole);
        if !self.gzip {
            return Some(IntakeBatch::plain(std::mem::take(&mut self.plain), events));
        }
        let done = self.compress().and_then(|()| self.compressed.take().map(GzEncoder::finish).transpose());
        Some(IntakeBatch::compressed(done.ok().flatten().unwrap_or_default(), events))
    }
}

fn first_line(metadata: &Line<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = Vec::new();
    json::write(&mut line, metadata)?;
    line.push(b'\n');
    Ok(line)
}

fn gzip() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::fast())
}

fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = gzip();
    encoder.write_all(plain)?;
    encoder.finish()
}

/// A closed batch. Cheap to clone.
#[derive(Clone)]
pub(crate) struct IntakeBatch {
    body: Bytes,
    /// `body` is compressed.
    is_compressed: bool,
    /// The request's body is compressed.
    gzip: bool,
    /// Bytes of the request's body.
    bytes: usize,
    events: u64,
}

impl std::fmt::Debug for IntakeBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntakeBatch").field("events", &self.events).field("bytes", &self.bytes).finish()
    }
}

impl IntakeBatch {
    fn plain(body: Vec<u8>, events: u64) -> Self {
        Self { bytes: body.len(), body: body.into(), is_compressed: false, gzip: false, events }
    }

    fn compressed(mut body: Vec<u8>, events: u64) -> Self {
        // it may wait for long
        body.shrink_to_fit();
        Self { bytes: body.len(), body: body.into(), is_compressed: true, gzip: true, events }
    }

    /// The body of the request, and whether it is compressed.
    pub(super) fn request(&self) -> (Bytes, bool) {
        if self.is_compressed == self.gzip {
            return (self.body.clone(), self.gzip);
        }
        match self.text() {
            Ok(text) => (text.into(), false),
            Err(_) => (self.body.clone(), self.is_compressed),
        }
    }

    fn text(&self) -> io::Result<Vec<u8>> {
        if !self.is_compressed {
            return Ok(self.body.to_vec());
        }
        let mut text = Vec::new();
        GzDecoder::new(&*self.body).read_to_end(&mut text)?;
        Ok(text)
    }

    /// The same batch with `count` of its events, after the first `skip` ones.
    fn part(&self, skip: u64, count: u64) -> io::Result<Self> {
        let text = self.text()?;
        let mut lines = text.split_inclusive(|byte| *byte == b'\n');
        let mut kept = lines.next().unwrap_or_default().to_vec();
        let [skip, take] = [skip, count].map(|events| usize::try_from(events).unwrap_or(usize::MAX));
        lines.skip(skip).take(take).for_each(|line| kept.extend_from_slice(line));
        let events = self.events.saturating_sub(skip as u64).min(count);
        Ok(match self.gzip {
            true => Self::compressed(compress(&kept)?, events),
            false => Self::plain(kept, events),
        })
    }
}

// What was compressed here can be decompressed. If it could not, a batch would be sent as it is: that loses nothing.
impl Batch for IntakeBatch {
    fn events(&self) -> u64 {
        self.events
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.bytes as u64)
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + self.body.len()
    }

    fn without(self, taken: u64) -> Self {
        self.part(taken, u64::MAX).unwrap_or(self)
    }

    fn pack(self) -> Self {
        if self.is_compressed {
            return self;
        }
        match compress(&self.body) {
            Ok(mut body) => {
                body.shrink_to_fit();
                Self { body: body.into(), is_compressed: true, ..self }
            }
            Err(_) => self,
        }
    }

    fn split(self) -> (Self, Option<Self>) {
        let half = self.events / 2;
        match (self.part(0, half), self.part(half, u64::MAX)) {
            (Ok(first), Ok(rest)) if half > 0 => (first, Some(rest)),
            _ => (self, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        elastic::{map, tests::records},
        record::{Context, Custom, MetricsRecord, Name, Outcome, Resource, Sample, SpanId, TraceId, TransactionRecord},
        sanitize::Sanitizer,
    };

    fn record(n: u64, custom: usize) -> TransactionRecord {
        let custom = (0..custom).map(|i| Custom {
            key: format!("c{i}").into(),
            json: serde_json::to_string(&"x".repeat(60_000)).unwrap_or_default().into(),
        });
        TransactionRecord {
            sample_rate: Some(1.0),
            duration: std::time::Duration::from_millis(1),
            outcome: Outcome::Success,
            context: Context { custom: custom.collect(), ..Context::default() },
            ..TransactionRecord::new(TraceId(1), SpanId(n), "request".into(), Name::Text("GET /".into()), 1)
        }
    }

    fn encoder(gzip: bool) -> Encoder {
        let resource = Resource { service_name: "shop".into(), ..Resource::default() };
        Encoder::new(&Line::Metadata(Box::new(map::metadata(&resource))), gzip).unwrap()
    }

    fn add(encoder: &mut Encoder, record: &TransactionRecord) -> Result<Option<&'static str>, String> {
        encoder.add(&mut Line::Transaction(map::transaction(record, &Sanitizer::default())))
    }

    fn lines(batch: &IntakeBatch) -> Vec<serde_json::Value> {
        let text = String::from_utf8(batch.text().unwrap()).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    // spec: transport.md
    #[test]
    fn every_batch_begins_with_the_metadata() {
        for gzip in [false, true] {
            let mut encoder = encoder(gzip);
            assert!(encoder.close().is_none(), "an empty batch is none");
            for round in 0..3 {
                assert_eq!((encoder.size(), encoder.events), (0, 0));
                (0..2000).for_each(|n| assert_eq!(add(&mut encoder, &record(n, 0)), Ok(None)));
                assert!(encoder.size() > 1000);
                let batch = encoder.close().unwrap();
                assert_eq!((batch.events(), batch.gzip), (2000, gzip), "round {round}");
                let lines = lines(&batch);
                assert_eq!(lines.len(), 2001);
                assert_eq!(lines[0]["metadata"]["service"]["name"], "shop");
                assert_eq!(lines[2000]["transaction"]["id"], format!("{:016x}", 1999));
            }
        }
    }

    #[test]
    fn first_events_of_a_batch_can_be_removed() {
        for gzip in [false, true] {
            let mut encoder = encoder(gzip);
            (0..5).for_each(|n| assert_eq!(add(&mut encoder, &record(n, 0)), Ok(None)));
            let batch = encoder.close().unwrap();
            for taken in [0, 2, 5, 9] {
                let rest = batch.clone().without(taken);
                assert_eq!(rest.events(), 5_u64.saturating_sub(taken));
                let lines = lines(&rest);
                assert!(lines[0].get("metadata").is_some());
                assert_eq!(lines.len() as u64, 1 + rest.events());
                if let Some(first) = lines.get(1) {
                    assert_eq!(first["transaction"]["id"], format!("{taken:016x}"));
                }
            }
        }
    }

    fn ids(batch: &IntakeBatch) -> Vec<u64> {
        let lines = lines(batch);
        assert!(lines[0].get("metadata").is_some());
        let id =
            |line: &serde_json::Value| u64::from_str_radix(line["transaction"]["id"].as_str().unwrap(), 16).unwrap();
        lines[1..].iter().map(id).collect()
    }

    #[test]
    fn batch_divides_into_halves_down_to_single_events() {
        for (gzip, packed) in [(false, false), (false, true), (true, false)] {
            let mut encoder = encoder(gzip);
            (0..5).for_each(|n| assert_eq!(add(&mut encoder, &record(n, 0)), Ok(None)));
            let batch = encoder.close().unwrap();
            let (first, rest) = if packed { batch.pack().split() } else { batch.split() };
            let rest = rest.unwrap();
            assert_eq!((ids(&first), first.events()), (vec![0, 1], 2));
            assert_eq!((ids(&rest), rest.events()), (vec![2, 3, 4], 3));
            let (single, none) = first.split().0.split();
            assert_eq!((ids(&single), single.events(), none.is_none()), (vec![0], 1, true));
        }
    }

    #[test]
    fn packed_batch_is_small_and_produces_the_same_request() {
        for gzip in [false, true] {
            let mut encoder = encoder(gzip);
            (0..2000).for_each(|n| assert_eq!(add(&mut encoder, &record(n, 0)), Ok(None)));
            let batch = encoder.close().unwrap();
            let (request, bytes) = (batch.request(), batch.bytes());
            assert_eq!(request.1, gzip);
            let packed = batch.pack();
            assert!(packed.memory() < 2000 * 60, "{}", packed.memory());
            assert_eq!((packed.request(), packed.bytes()), (request, bytes));
            let rest = packed.without(1999);
            assert_eq!((ids(&rest), rest.request().1), (vec![1999], gzip));
        }
    }

    #[test]
    fn too_long_line_is_truncated_and_sent() {
        let mut encoder = encoder(false);
        assert_eq!(add(&mut encoder, &record(1, 4)), Ok(None));
        assert_eq!(add(&mut encoder, &record(2, 6)), Ok(Some("its custom context")));
        let lines = lines(&encoder.close().unwrap());
        assert_eq!(lines[1]["transaction"]["context"]["custom"].as_object().unwrap().len(), 4);
        let custom = &lines[2]["transaction"]["context"]["custom"];
        assert_eq!(custom, &serde_json::json!({ "tower_apm": "left out: the event was over 300 KiB" }));
    }

    #[test]
    fn too_long_span_loses_most_of_its_stack() {
        let attributes = vec![opentelemetry::KeyValue::new("shop", 1)];
        let span = records::span("load", opentelemetry::trace::SpanKind::Internal, attributes);
        let frame = crate::stack::Frame { function: Some("f".repeat(1000)), ..Default::default() };
        let mut encoder = encoder(false);
        for (frames, kept) in [(100, 100..=100), (1000, 1..=500)] {
            let frames = vec![frame.clone(); frames];
            encoder.add(&mut Line::Span(map::span(&span, &frames, &Sanitizer::default()))).unwrap();
            let lines = lines(&encoder.close().unwrap());
            let sent = &lines[1]["span"];
            assert!(kept.contains(&sent["stacktrace"].as_array().map_or(0, Vec::len)), "{sent}");
            assert_eq!(sent["context"]["tags"]["shop"], 1);
        }
    }

    #[test]
    fn event_that_cannot_be_truncated_enough_is_left_out() {
        let mut encoder = encoder(true);
        add(&mut encoder, &record(1, 0)).unwrap();
        let samples =
            (0..10_000).map(|n| (format!("a.metric.with.a.long.name.{n}").into(), Sample::Gauge(0.5))).collect();
        let huge = MetricsRecord { timestamp: 1, samples, labels: Vec::new(), breakdown: None };
        let error =
            encoder.add(&mut Line::Metricset(map::metricset(&huge, &Sanitizer::default()).unwrap())).unwrap_err();
        assert!(error.contains("307200"), "{error}");
        assert_eq!(encoder.events, 1);
        assert_eq!(lines(&encoder.close().unwrap()).len(), 2);
    }

    /// As a panic in the middle of a line would leave it.
    #[test]
    fn incomplete_line_is_removed() {
        for gzip in [false, true] {
            let mut encoder = encoder(gzip);
            for n in 0..3 {
                encoder.plain.extend_from_slice(br#"{"transaction":{"id":"#);
                add(&mut encoder, &record(n, 0)).unwrap();
            }
            encoder.plain.extend_from_slice(b"{");
            let batch = encoder.close().unwrap();
            assert_eq!((batch.events(), lines(&batch).len()), (3, 4));
        }
    }
}
