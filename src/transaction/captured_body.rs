//! The request's body, as far as the handler has read it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::record::Body;

/// Filled while the handler reads, looked at when an error is captured and at the end.
#[derive(Clone)]
pub(crate) struct CapturedBody {
    body: Arc<Mutex<Body>>,
    max_bytes: usize,
}

impl CapturedBody {
    /// `content_type` without parameters, in lower case; `characters` are as many as are sent of it.
    pub(crate) fn new(content_type: String, characters: usize) -> Self {
        let body = Body { bytes: Vec::new(), content_type, truncated: false };
        Self { body: Arc::new(Mutex::new(body)), max_bytes: 4 * characters }
    }

    #[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "bodies are captured for axum"))]
    pub(crate) fn push(&self, data: &[u8]) {
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.max_bytes.saturating_sub(body.bytes.len());
        body.truncated |= data.len() > room;
        body.bytes.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// None while nothing was read.
    pub(crate) fn get(&self) -> Option<Box<Body>> {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        (!body.bytes.is_empty()).then(|| Box::new(body.clone()))
    }
}

impl fmt::Debug for CapturedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CapturedBody(…)")
    }
}
