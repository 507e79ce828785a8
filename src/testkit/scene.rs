//! Where an expectation looks: the agent, what its server has, and how long to wait for more.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::received::Received;
use crate::{
    Agent,
    devserver::{Kind, Query, Store},
};

/// A back-off of the agent's is cut short this often.
const NUDGE: Duration = Duration::from_millis(100);
/// Between two flushes what arrives is noticed at once; the pause is for what nobody has recorded yet.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) agent: Agent,
    pub(super) store: Store,
    pub(super) deadline: Duration,
    /// What a failure should remind of.
    pub(super) note: Option<&'static str>,
}

impl Scene {
    /// In the order of their arrival.
    pub(super) fn events(&self, kind: Kind) -> Vec<Value> {
        let page = self.store.query(&Query::new().kind(kind));
        page.events.iter().rev().map(|event| event.body()).collect()
    }

    pub(super) fn received(&self) -> Received {
        Received::of(&self.store)
    }

    /// Waits until `look` finds what it looks for, then once more for all that was recorded until then. None when the
    /// deadline has passed. It is a deadline by the clock, also where tokio's is paused.
    pub(super) async fn wait_for<T>(&self, look: impl Fn(&Received) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + self.deadline;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let _ = self.agent.flush(left.min(NUDGE)).await;
            let found = self.store.wait_for(left.min(PAUSE), |store| look(&Received::of(store))).await;
            if found.is_some() {
                self.flush(deadline.saturating_duration_since(Instant::now())).await;
                return look(&self.received()).or(found);
            }
            if left.is_zero() {
                return None;
            }
        }
    }

    /// Delivers what was recorded before the call, however often the server fails meanwhile. False where the time did not
    /// suffice.
    pub(super) async fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let flushed = self.agent.flush(left.min(NUDGE)).await.is_ok();
            if flushed || left.is_zero() {
                return flushed;
            }
        }
    }

    /// The same for an assertion that is no future. The agent and the server have threads of their own.
    pub(super) fn flush_blocking(&self) -> bool {
        struct Unpark(Thread);

        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }

        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut flushed = pin!(self.flush(self.deadline));
        loop {
            match flushed.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(flushed) => return flushed,
                Poll::Pending => thread::park(),
            }
        }
    }
}
