//! Long work: a short first part runs on the server's thread, the rest in slices on worker threads, so that other requests are
//! not blocked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::spawn_blocking};

/// How many slices run at a time. Those that wait take turns.
pub(crate) const WORKERS: usize = 2;
/// How long one slice lasts before others get their turn.
const SLICE: Duration = Duration::from_millis(20);
/// How long one request may work on the server's thread, all in all.
const ON_THE_SPOT: Duration = Duration::from_micros(500);
/// The largest piece (a line, a message) that is worked on there.
const SMALL: usize = 8 * 1024;

/// Something to do in slices.
pub(crate) trait Task: Send + 'static {
    /// Works until it is done, or until the slice is over. True once it is done.
    fn advance(&mut self, slice: &Slice) -> bool;
}

/// How long a task may go on.
#[derive(Debug)]
pub(crate) struct Slice {
    /// None: to the end.
    until: Option<Instant>,
    on_the_spot: bool,
}

impl Slice {
    fn lasting(duration: Duration, on_the_spot: bool) -> Self {
        Self { until: Some(Instant::now() + duration), on_the_spot }
    }

    /// One on the server's thread, of this duration.
    #[cfg(test)]
    pub(crate) fn on_the_spot(duration: Duration) -> Self {
        Self::lasting(duration, true)
    }

    /// One without an end.
    #[cfg(any(test, feature = "_internals"))]
    pub(crate) fn unbounded() -> Self {
        Self { until: None, on_the_spot: false }
    }

    /// Whether a piece of this many bytes may be begun now.
    pub(crate) fn allows(&self, bytes: usize) -> bool {
        (!self.on_the_spot || bytes <= SMALL) && self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// The rest of the time that a request may work on the server's thread.
#[derive(Debug)]
pub(crate) struct OnTheSpot(Duration);

impl Default for OnTheSpot {
    fn default() -> Self {
        Self(ON_THE_SPOT)
    }
}

/// The server stops, or the task has panicked.
#[derive(Debug, thiserror::Error)]
#[error("the work was not finished")]
pub(crate) struct Unfinished;

/// The worker threads of one server.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    turns: Arc<Semaphore>,
}

impl Default for Workers {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(WORKERS)) }
    }
}

impl Workers {
    /// Does all of a task.
    pub(crate) async fn run<T: Task>(&self, mut task: T, left: &mut OnTheSpot) -> Result<T, Unfinished> {
        if !left.0.is_zero() {
            let start = Instant::now();
            let done = task.advance(&Slice::lasting(left.0, true));
            left.0 = left.0.saturating_sub(start.elapsed());
            if done {
                return Ok(task);
            }
        }
        loop {
            let turn = self.turns.clone().acquire_owned().await.map_err(|_| Unfinished)?;
            let slice = move || {
                let done = task.advance(&Slice::lasting(SLICE, false));
                drop(turn);
                (task, done)
            };
            let (back, done) = spawn_blocking(slice).await.map_err(|_| Unfinished)?;
            if done {
                return Ok(back);
            }
            task = back;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts to a number and never looks at the clock more often than needed.
    struct Count {
        left: usize,
        piece: usize,
        threads: std::collections::HashSet<std::thread::ThreadId>,
    }

    impl Task for Count {
        fn advance(&mut self, slice: &Slice) -> bool {
            while self.left > 0 {
                if !slice.allows(self.piece) {
                    return false;
                }
                self.threads.insert(std::thread::current().id());
                self.left -= 1;
            }
            true
        }
    }

    #[tokio::test]
    async fn small_work_runs_on_the_server_thread_and_large_work_on_workers() {
        let here = std::thread::current().id();
        for (piece, stays) in [(1, true), (SMALL + 1, false)] {
            let task = Count { left: 3, piece, threads: Default::default() };
            let done = Workers::default().run(task, &mut OnTheSpot(Duration::from_secs(60))).await.unwrap();
            assert_eq!((done.left, done.threads.contains(&here)), (0, stays));
        }
    }

    #[tokio::test]
    async fn server_thread_time_is_limited_per_request() {
        let mut left = OnTheSpot(Duration::ZERO);
        let task = Count { left: 3, piece: 1, threads: Default::default() };
        let done = Workers::default().run(task, &mut left).await.unwrap();
        assert!(!done.threads.contains(&std::thread::current().id()));
    }
}
