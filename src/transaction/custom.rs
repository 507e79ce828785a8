//! Custom context becomes JSON at the call, within bounds and without letting a panic out.

use std::{
    borrow::Cow,
    io,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    depth::DepthLimited,
    inner::Recorder,
    user_code::{UserCode, run_user_code},
};
use crate::record::Context;

/// A `Serialize` that takes longer is stopped where it next writes something.
const TOO_SLOW: Duration = Duration::from_millis(250);
/// Writes between two looks at the clock; one value is a few.
const LOOK: u32 = 16;

/// The JSON of a value, or a note that says why it was left out. `room` is [`Context::room_for_custom`]. Returns `None` if
/// there is no room even for the note, and counts what did not fit.
pub(crate) fn to_json(value: &impl Serialize, room: Option<usize>, recorder: &Recorder) -> Option<Box<str>> {
    let Some(left) = room else {
        recorder.excess_custom(1);
        return None;
    };
    let mut writer = Writer { bytes: Vec::with_capacity(128.min(left)), left, writes: 0, began: Instant::now() };
    let write = || DepthLimited::new(value).serialize(&mut serde_json::Serializer::new(&mut writer));
    let mut is_too_large = false;
    let note = match run_user_code(recorder, UserCode::Serialize, write) {
        Some(Ok(())) => match String::from_utf8(writer.bytes) {
            Ok(json) => return Some(json.into_boxed_str()),
            Err(_) => "not text",
        },
        Some(Err(error)) if error.io_error_kind() == Some(io::ErrorKind::TimedOut) => "too slow",
        Some(Err(error)) if error.is_io() => {
            is_too_large = true;
            "too large"
        }
        Some(Err(_)) => "not serializable",
        None => "its Serialize panicked",
    };
    let note = format!("\"[left out: {note}]\"").into_boxed_str();
    let is_room = note.len() <= left;
    if is_too_large || !is_room {
        recorder.excess_custom(1);
    }
    is_room.then_some(note)
}

/// Sets a value that [`to_json`] has made, unless another thread took the room meanwhile.
pub(crate) fn set_custom(context: &mut Context, key: Cow<'static, str>, json: Box<str>, recorder: &Recorder) {
    if !context.set_custom(key, json) {
        recorder.excess_custom(1);
    }
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
