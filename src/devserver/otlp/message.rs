//! The bytes of one message of OTLP while they arrive, within the memory budget.

use std::io;

use bytes::Bytes;

use crate::devserver::{
    body::TooSlow,
    inflate::{Filled, Inflate, PIECE},
    memory::{Lease, OverBudget},
    work::{Slice, Task, Unfinished},
};

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("cannot read the body: {0}")]
    Body(String),
    #[error("{0}")]
    Message(String),
    #[error("cannot read the body: {0}")]
    TooSlow(#[from] TooSlow),
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

impl Unreadable {
    /// The body broke off.
    pub(super) fn body(error: axum::Error) -> Self {
        let error = error.into_inner();
        match error.downcast_ref::<TooSlow>() {
            Some(slow) => Self::TooSlow(*slow),
            None => Self::Body(error.to_string()),
        }
    }
}

/// A message that is being read. Bytes are [fed](Self::feed) to it, and the [`Task`] decompresses them.
pub(crate) struct Message {
    inflate: Inflate,
    input: Bytes,
    bytes: Vec<u8>,
    max: usize,
    ended: bool,
    lease: Lease,
    failed: Option<Unreadable>,
}

impl Message {
    /// `encoding` as for [`Inflate::new`]. `max` is the most bytes that the message may have.
    pub(super) fn new(encoding: Option<&str>, max: usize, lease: Lease) -> Self {
        let inflate = Inflate::new(encoding, max as u64);
        Self { inflate, input: Bytes::new(), bytes: Vec::new(), max, ended: false, lease, failed: None }
    }

    /// One that is complete and not compressed.
    pub(super) fn plain(bytes: Vec<u8>, lease: Lease) -> Self {
        let mut message = Self::new(None, bytes.len(), lease);
        message.bytes = bytes;
        message
    }

    /// Hands over the next bytes; those before are used up.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        self.input = bytes;
    }

    /// The body has ended as it should.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The reason for which it could not be read so far.
    pub(super) fn check(&mut self) -> Result<(), Unreadable> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Leases this many bytes in addition to its own.
    pub(super) fn lease_more(&mut self, more: usize) -> Result<(), OverBudget> {
        self.lease.set(self.memory() + more)
    }

    fn memory(&self) -> usize {
        self.bytes.capacity() + self.input.len() + self.inflate.memory()
    }

    fn fill(&mut self) -> Result<Filled, Unreadable> {
        let Self { bytes, .. } = self;
        if bytes.capacity() - bytes.len() < PIECE {
            // doubles like a `Vec`, within the budget and up to the largest message
            let wanted = (2 * bytes.capacity()).min(self.max + PIECE).max(bytes.len() + PIECE);
            self.lease.set(wanted + self.input.len() + self.inflate.memory())?;
            self.bytes.reserve_exact(wanted - self.bytes.len());
        } else {
            self.lease.set(self.memory())?;
        }
        let unreadable = |error: io::Error| Unreadable::Body(error.to_string());
        let filled = self.inflate.fill(&mut self.input, &mut self.bytes).map_err(unreadable)?;
        if filled == Filled::NeedsInput && self.ended {
            self.inflate.finish(&mut self.bytes).map_err(unreadable)?;
        }
        Ok(filled)
    }
}

impl Task for Message {
    fn advance(&mut self, slice: &Slice) -> bool {
        loop {
            if !slice.allows(0) {
                return false;
            }
            match self.fill() {
                Ok(Filled::Some) => {}
                Ok(Filled::NeedsInput) => return true,
                Err(why) => {
                    self.failed = Some(why);
                    self.input.clear();
                    self.bytes = Vec::new();
                    return true;
                }
            }
        }
    }
}
