//! Decompresses a body while it arrives: whatever the bytes so far can tell is told at once.

use std::io::{self, Write};

use flate2::{Decompress, FlushDecompress, Status, write::MultiGzDecoder};

/// How a body is packed. As the server does, the first two bytes decide where no header does.
#[derive(Debug)]
pub(crate) struct Inflate {
    state: State,
    /// Any byte has come: a body without one is empty, not cut short.
    started: bool,
    /// Bytes given out so far.
    out: u64,
    /// The most that may be given out.
    max: u64,
}

#[derive(Debug)]
enum State {
    Unknown(Vec<u8>),
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zlib { decoder: Decompress, ended: bool },
}

/// The most that one body may hold, so that a small body cannot keep the server busy for long.
const MAX_BODY: u64 = 256 * 1024 * 1024;

impl Inflate {
    /// `encoding` is the `Content-Encoding`: `gzip`, `deflate` (zlib), or anything else to look at the bytes.
    pub(crate) fn new(encoding: Option<&str>) -> Self {
        Self::up_to(MAX_BODY, encoding)
    }

    /// The same for a body that may hold so many bytes.
    pub(crate) fn up_to(max: u64, encoding: Option<&str>) -> Self {
        let state = match encoding {
            Some("gzip") => State::gzip(),
            Some("deflate") => State::zlib(),
            _ => State::Unknown(Vec::new()),
        };
        Self { state, started: false, out: 0, max }
    }

    /// Takes packed bytes, hands over plain ones.
    pub(crate) fn push(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) -> io::Result<()> {
        self.started |= !bytes.is_empty();
        let (out, max) = (&mut self.out, self.max);
        let mut each = |plain: &[u8]| {
            *out += plain.len() as u64;
            each(plain);
            if *out <= max {
                return Ok(());
            }
            Err(io::Error::other(format!("the body holds more than {} MiB", max / (1024 * 1024))))
        };
        if let State::Unknown(start) = &mut self.state {
            start.extend_from_slice(bytes);
            if let [first, second, ..] = start[..] {
                let start = std::mem::take(start);
                self.state = match (first, second) {
                    (0x1f, 0x8b) => State::gzip(),
                    _ if first & 0x0f == 8 => State::zlib(),
                    _ => State::Plain,
                };
                return self.state.push(&start, &mut each);
            }
            return Ok(());
        }
        self.state.push(bytes, &mut each)
    }

    /// The body has ended. An error if the packed stream has not.
    pub(crate) fn finish(&mut self, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
        match &mut self.state {
            State::Unknown(start) => each(start),
            State::Plain => {}
            State::Gzip(_) | State::Zlib { .. } if !self.started => {}
            State::Gzip(decoder) => {
                let ended = decoder.try_finish();
                each(decoder.get_ref());
                ended.map_err(|_| truncated())?;
            }
            State::Zlib { ended: true, .. } => {}
            State::Zlib { .. } => return Err(truncated()),
        }
        Ok(())
    }
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the compressed body is cut short or corrupt")
}

impl State {
    fn gzip() -> Self {
        Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))
    }

    fn zlib() -> Self {
        Self::Zlib { decoder: Decompress::new(true), ended: false }
    }

    fn push(&mut self, mut bytes: &[u8], each: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Unknown(_) | Self::Plain => each(bytes),
            Self::Gzip(decoder) => {
                while !bytes.is_empty() {
                    // without the flush the decoder keeps its last output until the next write
                    let taken = decoder.write(bytes).and_then(|taken| decoder.flush().map(|()| taken));
                    // what came before an error counts
                    each(decoder.get_ref())?;
                    decoder.get_mut().clear();
                    match taken? {
                        0 => return Err(truncated()),
                        taken => bytes = bytes.get(taken..).unwrap_or_default(),
                    }
                }
                Ok(())
            }
            Self::Zlib { ended: true, .. } => Ok(()),
            Self::Zlib { decoder, ended } => {
                let mut out = [0; 16 * 1024];
                loop {
                    let (taken, given) = (decoder.total_in(), decoder.total_out());
                    let status = decoder.decompress(bytes, &mut out, FlushDecompress::None);
                    let (taken, given) = (decoder.total_in() - taken, decoder.total_out() - given);
                    bytes = bytes.get(taken as usize..).unwrap_or_default();
                    each(out.get(..given as usize).unwrap_or_default())?;
                    if status? == Status::StreamEnd {
                        *ended = true;
                        return Ok(());
                    }
                    if taken == 0 && given == 0 || bytes.is_empty() && (given as usize) < out.len() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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

    fn unpack(encoding: Option<&str>, body: &[u8], chunk: usize) -> (String, io::Result<()>) {
        let (mut inflate, mut text) = (Inflate::new(encoding), Vec::new());
        let mut each = |plain: &[u8]| text.extend_from_slice(plain);
        let result = body
            .chunks(chunk)
            .try_for_each(|chunk| inflate.push(chunk, &mut each))
            .and_then(|()| inflate.finish(&mut each));
        (String::from_utf8(text).unwrap(), result)
    }

    #[test]
    fn every_packing_is_told_by_header_or_by_its_first_bytes() {
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
    fn what_is_flushed_is_told_at_once() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        let mut inflate = Inflate::new(Some("gzip"));
        for line in ["first\n", "second\n"] {
            packed.write_all(line.as_bytes()).unwrap();
            packed.flush().unwrap();
            let (bytes, mut told) = (std::mem::take(packed.get_mut()), Vec::new());
            inflate.push(&bytes, &mut |plain| told.extend_from_slice(plain)).unwrap();
            assert_eq!(told, line.as_bytes());
        }
    }

    #[test]
    fn a_stream_that_is_cut_or_corrupt_is_an_error() {
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
}
