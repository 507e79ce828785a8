//! Decompresses a body while it arrives, piece by piece.

use std::io;

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

/// How many decompressed bytes are produced at a time.
pub(crate) const PIECE: usize = 16 * 1024;
/// The state of a decompressor: a window of 32 KiB, tables, and the output that waits.
const STATE_BYTES: usize = 64 * 1024;
/// The `window_bits` of the largest window, which takes all smaller ones.
const WINDOW_BITS: u8 = 15;

/// A body that may be compressed. As the APM Server does, the first two bytes decide where no header does.
#[derive(Debug)]
pub(crate) struct Inflate {
    state: State,
    /// Bytes that were produced so far.
    produced: u64,
    /// The most that may be produced.
    max: u64,
    /// What broke after the last bytes that could be read.
    broken: Option<io::Error>,
}

#[derive(Debug)]
enum State {
    /// At most one byte.
    Unknown(Vec<u8>),
    Plain,
    Packed(Packed),
}

#[derive(Debug)]
struct Packed {
    decoder: Decompress,
    is_gzip: bool,
    /// Any byte has come: a body without one is empty, not cut short.
    started: bool,
    ended: bool,
}

/// What came of the bytes that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    /// Some of them were used; there may be more to come.
    Some,
    /// All of them were used.
    NeedsInput,
}

impl Inflate {
    /// `encoding` is the `Content-Encoding`: `gzip`, `deflate` (zlib), or anything else to look at the bytes. `max` is
    /// the most that the body may hold, decompressed.
    pub(crate) fn new(encoding: Option<&str>, max: u64) -> Self {
        let state = match encoding {
            Some("gzip") => State::packed(true),
            Some("deflate") => State::packed(false),
            _ => State::Unknown(Vec::new()),
        };
        Self { state, produced: 0, max, broken: None }
    }

    /// Takes bytes from `input` and appends at most [`PIECE`] plain ones to `out`. What came before an error is appended.
    pub(crate) fn fill(&mut self, input: &mut Bytes, out: &mut Vec<u8>) -> io::Result<Filled> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let before = out.len();
        let filled = self.produce(input, out);
        self.produced += (out.len() - before) as u64;
        if self.produced > self.max {
            return Err(io::Error::other(format!("the body holds more than {} MiB", self.max / (1024 * 1024))));
        }
        match filled {
            Err(error) if out.len() > before => {
                self.broken = Some(error);
                Ok(Filled::Some)
            }
            other => other,
        }
    }

    fn produce(&mut self, input: &mut Bytes, out: &mut Vec<u8>) -> io::Result<Filled> {
        match &mut self.state {
            State::Unknown(start) => {
                if start.len() + input.len() < 2 {
                    start.extend_from_slice(input);
                    input.clear();
                    return Ok(Filled::NeedsInput);
                }
                if !start.is_empty() {
                    *input = [&start[..], &input[..]].concat().into();
                }
                self.state = match input[..] {
                    [0x1f, 0x8b, ..] => State::packed(true),
                    [first, ..] if first & 0x0f == 8 => State::packed(false),
                    _ => State::Plain,
                };
                Ok(Filled::Some)
            }
            State::Plain => {
                let taken = input.split_to(input.len().min(PIECE));
                out.extend_from_slice(&taken);
                Ok(if taken.is_empty() { Filled::NeedsInput } else { Filled::Some })
            }
            State::Packed(packed) => packed.produce(input, out),
        }
    }

    /// The body has ended. An error if the compressed stream has not.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match &self.state {
            State::Unknown(start) => out.extend_from_slice(start),
            State::Packed(packed) if packed.started && !packed.ended => return Err(truncated()),
            State::Plain | State::Packed(_) => {}
        }
        Ok(())
    }

    /// The bytes that it keeps.
    pub(crate) fn memory(&self) -> usize {
        if matches!(self.state, State::Packed(_)) { STATE_BYTES } else { 0 }
    }
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the compressed body is cut short or corrupt")
}

impl State {
    fn packed(is_gzip: bool) -> Self {
        Self::Packed(Packed { decoder: decoder(is_gzip), is_gzip, started: false, ended: false })
    }
}

fn decoder(is_gzip: bool) -> Decompress {
    if is_gzip { Decompress::new_gzip(WINDOW_BITS) } else { Decompress::new(true) }
}

impl Packed {
    fn produce(&mut self, input: &mut Bytes, out: &mut Vec<u8>) -> io::Result<Filled> {
        self.started |= !input.is_empty();
        if self.ended {
            if !self.is_gzip || input.is_empty() {
                // what follows the one stream of zlib is not looked at
                input.clear();
                return Ok(Filled::NeedsInput);
            }
            // the next member of a gzip file
            self.decoder = decoder(true);
            self.ended = false;
        }
        let (taken, produced) = (self.decoder.total_in(), self.decoder.total_out());
        let before = out.len();
        out.resize(before + PIECE, 0);
        let status = self.decoder.decompress(input, out.get_mut(before..).unwrap_or_default(), FlushDecompress::None);
        let (taken, produced) = (self.decoder.total_in() - taken, self.decoder.total_out() - produced);
        out.truncate(before + (produced as usize).min(PIECE));
        input.advance((taken as usize).min(input.len()));
        match status {
            Err(_) => Err(truncated()),
            Ok(Status::StreamEnd) => {
                self.ended = true;
                Ok(Filled::Some)
            }
            Ok(_) if taken > 0 || produced > 0 => Ok(Filled::Some),
            Ok(_) if input.is_empty() => Ok(Filled::NeedsInput),
            Ok(_) => Err(truncated()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &str) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// Everything that comes of these bytes.
    fn push(inflate: &mut Inflate, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut input = Bytes::copy_from_slice(bytes);
        while inflate.fill(&mut input, out)? == Filled::Some {}
        assert!(input.is_empty());
        Ok(())
    }

    fn unpack(encoding: Option<&str>, body: &[u8], chunk: usize) -> (String, io::Result<()>) {
        let (mut inflate, mut text) = (Inflate::new(encoding, 1024 * 1024), Vec::new());
        let result = body
            .chunks(chunk)
            .try_for_each(|chunk| push(&mut inflate, chunk, &mut text))
            .and_then(|()| inflate.finish(&mut text));
        (String::from_utf8(text).unwrap(), result)
    }

    #[test]
    fn compression_is_recognised_by_header_or_first_bytes() {
        let text = "{\"a\":1}\n".repeat(20_000);
        let cases = [
            (Some("gzip"), gzip(&text)),
            (Some("deflate"), zlib(&text)),
            (None, gzip(&text)),
            (None, zlib(&text)),
            (None, text.clone().into_bytes()),
            (Some("identity"), text.clone().into_bytes()),
            (Some("gzip"), [gzip(&text[..100]), gzip(&text[100..])].concat()),
        ];
        for (encoding, body) in cases {
            for chunk in [1, 7, 4096, usize::MAX] {
                let (unpacked, result) = unpack(encoding, &body, chunk);
                assert!(result.is_ok() && unpacked == text, "{encoding:?} in pieces of {chunk}: {result:?}");
            }
        }
        for short in ["", "{"] {
            assert_eq!(unpack(None, short.as_bytes(), 1).0, short);
        }
    }

    #[test]
    fn flushed_bytes_are_decompressed_before_the_stream_ends() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        let mut inflate = Inflate::new(Some("gzip"), 1024);
        for line in ["first\n", "second\n"] {
            packed.write_all(line.as_bytes()).unwrap();
            packed.flush().unwrap();
            let (bytes, mut plain) = (std::mem::take(packed.get_mut()), Vec::new());
            push(&mut inflate, &bytes, &mut plain).unwrap();
            assert_eq!(plain, line.as_bytes());
        }
    }

    #[test]
    fn truncated_or_corrupt_stream_is_an_error() {
        let text = "0123456789".repeat(100);
        for (encoding, mut body) in [("gzip", gzip(&text)), ("deflate", zlib(&text))] {
            let cut = &body[..body.len() - 3];
            assert!(unpack(Some(encoding), cut, 8).1.is_err(), "{encoding} cut");
            let last = body.len() - 1;
            body[last] ^= 0xff;
            assert!(unpack(Some(encoding), &body, 8).1.is_err(), "{encoding} corrupt");
            assert!(unpack(Some(encoding), b"{\"metadata\":{}}", 8).1.is_err(), "{encoding} of plain text");
        }
    }

    #[test]
    fn decompression_beyond_the_limit_fails_and_is_incremental() {
        for (encoding, body) in [("gzip", gzip(&"0".repeat(3_000_000))), ("deflate", zlib(&"0".repeat(3_000_000)))] {
            let (mut inflate, mut input) = (Inflate::new(Some(encoding), 1024 * 1024), Bytes::from(body));
            let error = loop {
                let mut piece = Vec::new();
                if let Err(error) = inflate.fill(&mut input, &mut piece) {
                    break error;
                }
                assert!(piece.len() <= PIECE);
            };
            let all = inflate.produced;
            assert!(error.to_string().contains("1 MiB"), "{encoding}: {error}");
            assert!(all <= 1024 * 1024 + PIECE as u64, "{encoding}: {all} bytes were produced");
        }
    }
}
