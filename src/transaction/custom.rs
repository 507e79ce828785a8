//! Custom context becomes JSON at the call, within bounds and without letting a panic out.

use std::{
    io,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Recorder,
    contained::{UserCode, contain},
    depth::Bounded,
};
use crate::record::MAX_CUSTOM_BYTES;

/// A `Serialize` that takes longer is stopped where it next writes something.
const TOO_SLOW: Duration = Duration::from_millis(250);
/// Writes between two looks at the clock; one value is a few.
const LOOK: u32 = 16;

/// `used` bytes of the limit are taken by other keys.
pub(crate) fn to_json(key: &str, value: &impl Serialize, used: usize, recorder: &Recorder) -> Box<str> {
    let left = MAX_CUSTOM_BYTES.saturating_sub(used + key.len());
    let mut writer = Writer { bytes: Vec::with_capacity(128.min(left)), left, writes: 0, began: Instant::now() };
    let write = || Bounded::new(value).serialize(&mut serde_json::Serializer::new(&mut writer));
    let note = match contain(recorder, UserCode::Serialize, write) {
        Some(Ok(())) => match String::from_utf8(writer.bytes) {
            Ok(json) => return json.into_boxed_str(),
            Err(_) => "not text",
        },
        Some(Err(error)) if error.io_error_kind() == Some(io::ErrorKind::TimedOut) => "too slow",
        Some(Err(error)) if error.is_io() => "too large",
        Some(Err(_)) => "not serializable",
        None => "its Serialize panicked",
    };
    format!("\"[left out: {note}]\"").into_boxed_str()
}

struct Writer {
    bytes: Vec<u8>,
    left: usize,
    writes: u32,
    began: Instant,
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        self.writes = self.writes.wrapping_add(1);
        if self.writes.is_multiple_of(LOOK) && self.began.elapsed() > TOO_SLOW {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.left = left;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
