//! The request's body, as far as the handler has read it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::record::Body;

/// Four bytes for each of the 10 000 characters that are sent.
const MAX_BYTES: usize = 4 * 10_000;

/// Filled while the handler reads, looked at when an error is captured and at the end.
#[derive(Clone)]
pub(crate) struct CapturedBody(Arc<Mutex<Body>>);

impl CapturedBody {
    /// `content_type` without parameters, in lower case.
    pub(crate) fn new(content_type: String) -> Self {
        Self(Arc::new(Mutex::new(Body { bytes: Vec::new(), content_type, truncated: false })))
    }

    #[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "bodies are captured for axum"))]
    pub(crate) fn push(&self, data: &[u8]) {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_BYTES.saturating_sub(body.bytes.len());
        body.truncated |= data.len() > room;
        body.bytes.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// None while nothing was read.
    pub(crate) fn get(&self) -> Option<Body> {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!body.bytes.is_empty()).then(|| body.clone())
    }
}

impl fmt::Debug for CapturedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CapturedBody(…)")
    }
}
