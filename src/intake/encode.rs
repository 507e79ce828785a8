//! Lines into a batch: JSON, compressed in large pieces, no line longer than the server reads.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use super::{json, model::Line, shorten::shorten};
use crate::pipeline::Batch;

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
        let body = if self.gzip {
            let done = self.compress().and_then(|()| self.compressed.take().map(GzEncoder::finish).transpose());
            done.ok().flatten().unwrap_or_default()
        } else {
            std::mem::take(&mut self.plain)
        };
        Some(IntakeBatch { body: body.into(), gzip: self.gzip, events })
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

/// A closed batch. Cheap to clone.
#[derive(Clone)]
pub(crate) struct IntakeBatch {
    pub(super) body: Bytes,
    pub(super) gzip: bool,
    events: u64,
}

impl std::fmt::Debug for IntakeBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntakeBatch").field("events", &self.events).field("bytes", &self.body.len()).finish()
    }
}

impl IntakeBatch {
    fn plain(&self) -> io::Result<Vec<u8>> {
        if !self.gzip {
            return Ok(self.body.to_vec());
        }
        let mut plain = Vec::new();
        GzDecoder::new(&*self.body).read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn try_without(&self, taken: u64) -> io::Result<Self> {
        let plain = self.plain()?;
        let mut lines = plain.split_inclusive(|byte| *byte == b'\n');
        let mut kept = lines.next().unwrap_or_default().to_vec();
        let skip = usize::try_from(taken).unwrap_or(usize::MAX);
        lines.skip(skip).for_each(|line| kept.extend_from_slice(line));
        let body = if self.gzip {
            let mut encoder = gzip();
            encoder.write_all(&kept)?;
            encoder.finish()?
        } else {
            kept
        };
        Ok(Self { body: body.into(), gzip: self.gzip, events: self.events.saturating_sub(taken) })
    }
}

impl Batch for IntakeBatch {
    fn events(&self) -> u64 {
        self.events
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.body.len() as u64)
    }

    fn without(self, taken: u64) -> Self {
        // what was compressed here decompresses; were it not so, sending all again loses nothing
        self.try_without(taken).unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        intake::{map, tests::records},
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
        let text = String::from_utf8(batch.plain().unwrap()).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn section_2_1_trap_14_every_batch_begins_with_the_metadata() {
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
    fn the_first_events_can_be_taken_out() {
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

    #[test]
    fn a_line_that_is_too_long_is_shortened_not_lost() {
        let mut encoder = encoder(false);
        assert_eq!(add(&mut encoder, &record(1, 4)), Ok(None));
        assert_eq!(add(&mut encoder, &record(2, 6)), Ok(Some("its custom context")));
        let lines = lines(&encoder.close().unwrap());
        assert_eq!(lines[1]["transaction"]["context"]["custom"].as_object().unwrap().len(), 4);
        let custom = &lines[2]["transaction"]["context"]["custom"];
        assert_eq!(custom, &serde_json::json!({ "tower_apm": "left out: the event was over 300 KiB" }));
    }

    #[test]
    fn a_span_that_is_too_long_does_without_most_of_its_stack() {
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
    fn an_event_that_cannot_be_shortened_enough_leaves_no_trace() {
        let mut encoder = encoder(true);
        add(&mut encoder, &record(1, 0)).unwrap();
        let samples =
            (0..10_000).map(|n| (format!("a.metric.with.a.long.name.{n}").into(), Sample::Gauge(0.5))).collect();
        let huge = MetricsRecord { timestamp: 1, samples, labels: Vec::new(), breakdown: None };
        let error =
            encoder.add(&mut Line::Metricset(map::metricset(&huge, &Sanitizer::default()).unwrap())).unwrap_err();
        assert!(error.contains("over the server's limit of 307200"), "{error}");
        assert_eq!(encoder.events, 1);
        assert_eq!(lines(&encoder.close().unwrap()).len(), 2);
    }

    /// As a panic in the middle of a line would leave it.
    #[test]
    fn half_a_line_is_cut_off() {
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
