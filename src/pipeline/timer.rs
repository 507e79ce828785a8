//! A deadline that needs neither a runtime nor the agent's thread.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

/// Cancels the timer when it is dropped.
#[derive(Debug)]
pub(super) struct Timer {
    _cancel: Sender<()>,
}

impl Timer {
    /// Calls `expired` on a separate thread after this time. Returns `None` if no thread can be started.
    pub(super) fn start(time: Duration, expired: impl FnOnce() + Send + 'static) -> Option<Self> {
        let (cancel, cancelled) = channel();
        let wait = move |cancelled: Receiver<()>| {
            if cancelled.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                expired();
            }
        };
        let thread = thread::Builder::new().name("tower-apm-timer".into()).spawn(move || wait(cancelled));
        thread.ok().map(|_| Self { _cancel: cancel })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_fires_on_expiry_and_not_after_drop() {
        let (sender, receiver) = channel();
        let other = sender.clone();
        let _expires = Timer::start(Duration::ZERO, move || sender.send("expired").unwrap()).unwrap();
        drop(Timer::start(Duration::from_secs(3600), move || other.send("not cancelled").unwrap()).unwrap());
        // ends when both threads have
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["expired"]);
    }
}
