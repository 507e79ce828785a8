//! The memory budget of unfinished work: bodies that are being read, messages that are being decoded, and answers that are
//! being written.
//!
//! A connection may take [`FREE_SHARE`] bytes outside the budget, so that small requests are served while the budget is
//! exhausted.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// The bytes that each connection may take outside the budget: 128 KiB.
pub(crate) const FREE_SHARE: usize = 128 * 1024;

/// The budget of one server.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    used: AtomicUsize,
}

/// The budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory for unfinished requests is used up, try again later")]
pub(crate) struct OverBudget;

impl Memory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// The share of a new connection.
    pub(crate) fn share(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share { memory: self.clone(), held: Mutex::new(0) })
    }

    fn take(&self, bytes: usize) -> Result<(), OverBudget> {
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used.fetch_update(Relaxed, Relaxed, fits).map(drop).map_err(|_| OverBudget)
    }
}

/// The bytes of all requests of one connection.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    held: Mutex<usize>,
}

impl Share {
    /// A lease without bytes.
    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        Lease { share: self.clone(), bytes: 0 }
    }

    /// Replaces `from` held bytes by `to`.
    fn change(&self, from: usize, to: usize) -> Result<(), OverBudget> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let after = held.saturating_sub(from).saturating_add(to);
        let (charged, charge) = (held.saturating_sub(FREE_SHARE), after.saturating_sub(FREE_SHARE));
        if charge > charged {
            self.memory.take(charge - charged)?;
        } else {
            self.memory.used.fetch_sub(charged - charge, Relaxed);
        }
        *held = after;
        Ok(())
    }
}

/// The bytes of one request. Releases them when it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    share: Arc<Share>,
    bytes: usize,
}

impl Lease {
    /// Sets how many bytes are held. On an error the number stays what it was.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), OverBudget> {
        if bytes != self.bytes {
            self.share.change(self.bytes, bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // giving back cannot fail
        let _ = self.set(0);
    }
}

pin_project! {
    /// A body that keeps something to its end: a lease, or the mark of a request that is in progress.
    pub(crate) struct Keeping<B, T> {
        #[pin]
        body: B,
        kept: T,
    }
}

impl<B, T> Keeping<B, T> {
    pub(crate) fn new(body: B, kept: T) -> Self {
        Self { body, kept }
    }
}

impl<B: Body, T> Body for Keeping<B, T> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_budget_is_shared_by_connections_and_released() {
        let memory = Memory::new(1_000);
        let (mut first, mut second) = (memory.share().lease(), memory.share().lease());
        first.set(FREE_SHARE + 700).unwrap();
        assert_eq!(second.set(FREE_SHARE + 301), Err(OverBudget));
        second.set(FREE_SHARE + 300).unwrap();
        first.set(0).unwrap();
        second.set(FREE_SHARE + 1_000).unwrap();
        drop(second);
        assert_eq!(memory.used.load(Relaxed), 0);
    }

    #[test]
    fn connection_keeps_its_free_share_if_the_memory_budget_is_exhausted() {
        let memory = Memory::new(10);
        let greedy = memory.share();
        let (mut all, mut more) = (greedy.lease(), greedy.lease());
        all.set(FREE_SHARE + 10).unwrap();
        assert_eq!(more.set(1), Err(OverBudget), "requests of one connection have one share");
        memory.share().lease().set(FREE_SHARE).unwrap();
    }
}
