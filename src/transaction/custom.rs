//! Custom context becomes JSON at the call, within bounds and without letting a panic out.

use std::{cell::Cell, io, panic::AssertUnwindSafe};

use serde::Serialize;

use super::Recorder;
use crate::record::MAX_CUSTOM_BYTES;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// True while code of the user's runs whose panic the agent catches: the panic hook has nothing to record then.
pub(crate) fn is_contained() -> bool {
    CONTAINED.get()
}

/// Runs a hook or a `Serialize` of the user's; a panic in it is counted and goes no further.
pub(crate) fn contain<T>(recorder: &Recorder, run: impl FnOnce() -> T) -> Option<T> {
    let before = CONTAINED.replace(true);
    let result = std::panic::catch_unwind(AssertUnwindSafe(run));
    CONTAINED.set(before);
    result.inspect_err(|_| recorder.contained_panic()).ok()
}

/// `used` bytes of the limit are taken by other keys.
pub(crate) fn to_json(key: &str, value: &impl Serialize, used: usize, recorder: &Recorder) -> Box<str> {
    let left = MAX_CUSTOM_BYTES.saturating_sub(used + key.len());
    let mut writer = Bounded { bytes: Vec::with_capacity(128.min(left)), left };
    let note = match contain(recorder, || serde_json::to_writer(&mut writer, value)) {
        Some(Ok(())) => match String::from_utf8(writer.bytes) {
            Ok(json) => return json.into_boxed_str(),
            Err(_) => "not text",
        },
        Some(Err(error)) if error.is_io() => "too large",
        Some(Err(_)) => "not serializable",
        None => "its Serialize panicked",
    };
    format!("\"[left out: {note}]\"").into_boxed_str()
}

struct Bounded {
    bytes: Vec<u8>,
    left: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        self.left = left;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
