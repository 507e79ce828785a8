//! What the worker asks of an exporter.

use std::{future::Future, time::Duration};

use crate::record::{Event, Resource};

/// Encodes events into batches and delivers them.
///
/// The worker calls it from one thread, one call at a time. An exporter counts nothing and never retries: the worker
/// does both by what [`Delivery`] says.
pub(crate) trait Exporter: Send + 'static {
    type Batch: Batch;

    /// What is known of the sender has been completed: told before the first event, or, where somebody could not wait
    /// for it, between two.
    fn describe(&mut self, resource: &Resource);

    /// Adds an event to the open batch, opening one if there is none. An event that cannot be encoded is returned as
    /// an error that says why; it is then not in the batch. After a panic the open batch is as it was before.
    fn add(&mut self, event: Event) -> Result<Added, String>;

    /// What the events since the last question went without.
    fn losses(&mut self) -> Losses {
        Losses::default()
    }

    /// The open batch has reached the size at which it should go.
    fn is_full(&self) -> bool;

    /// Closes the open batch, if there is one.
    fn close(&mut self) -> Option<Self::Batch>;

    /// Tries once to deliver. Called within the worker's runtime; must end within the exporter's own time limit. The
    /// future must not borrow the exporter: the next batch is encoded meanwhile.
    fn send(&self, batch: &Self::Batch) -> impl Future<Output = Delivery> + Send + 'static;

    /// Checks with a request without events whether the server is reachable. Returns false if there is no answer, or if a
    /// proxy reports that the server is unreachable. The worker limits the time.
    fn probe(&self) -> impl Future<Output = bool> + Send + 'static {
        std::future::ready(true)
    }

    /// As [`send`](Self::send), in one go: never [`Delivery::Front`].
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "copies go by OTLP"))]
    fn send_whole(&self, batch: &Self::Batch) -> impl Future<Output = Delivery> + Send + 'static {
        self.send(batch)
    }
}

/// Whether an event went into the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    Taken,
    /// An unsampled transaction, and a server that has no use for it.
    Unwanted,
    /// The exporter has no way to tell such an event, or the server does not know any of its kind.
    Unsupported,
    /// The server does not take any of its kind now.
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "intake v2 takes all kinds alike"))]
    Paused,
}

/// What events that were taken do not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Events that were too long, and lost a part of themselves.
    pub(crate) truncated: u64,
    /// What the last of them lost last.
    pub(crate) cut: &'static str,
    /// Labels, values of custom context and metrics whose key cannot be sent, or not beside another one.
    pub(crate) keys: u64,
    /// Values of custom context and headers that the exporter has no room for.
    pub(crate) values: u64,
}

/// Events that travel together, kept until they are settled.
pub(crate) trait Batch: Send + Sized + 'static {
    /// Events in it.
    fn events(&self) -> u64;

    /// Bytes of its request's body, as they are sent. None where there is no request, or none whose bytes are known.
    fn bytes(&self) -> Option<u64>;

    /// The approximate bytes of memory of the batch.
    fn memory(&self) -> usize;

    /// The same batch without its first `taken` events.
    fn without(self, taken: u64) -> Self;

    /// The same batch in its smallest form, in which it waits. It can be sent as it is.
    fn pack(self) -> Self {
        self
    }

    /// Two halves, the first events in the first. The whole and None where it cannot be divided.
    fn split(self) -> (Self, Option<Self>) {
        (self, None)
    }
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The server decided on every event: `rejected` of them were refused, all others accepted.
    Decided { rejected: u64, reasons: Vec<Rejection> },
    /// The server took or refused the first events, then failed: the rest is sent again.
    Partly { accepted: u64, rejected: u64, reasons: Vec<Rejection>, retry_after: Option<Duration> },
    /// The server took `accepted` and refused `rejected`; what became of the others cannot be known, so they are not
    /// sent again.
    OutcomeUnknown { accepted: u64, rejected: u64, reasons: Vec<Rejection>, retry_after: Option<Duration> },
    /// The server decided on the first `events` events: the rest is sent next.
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "requests of intake v2 hold events of all kinds"))]
    Front { events: u64, rejected: u64, reasons: Vec<Rejection> },
    /// The server decided on all events but `given_up` ones, of a kind that it does not take now although it takes others:
    /// they are not sent again. `why` is for the log, and holds no secret.
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "intake v2 takes all kinds alike"))]
    GivenUp { rejected: u64, given_up: u64, reasons: Vec<Rejection>, why: String },
    /// The server takes no request of this size: the batch is divided. `reason` is for the log, and holds no secret.
    TooLarge { reason: String },
    /// Nothing is sent at all, by the user's wish.
    Disabled,
    /// Nothing was taken, or it is not known: all of it is sent again. `reason` is for the log, and holds no secret.
    Failed { reason: String, cause: FailureCause },
}

/// Why an attempt has failed, as far as the next attempt depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureCause {
    /// No answer came from the server.
    NoAnswer,
    /// The server accepts no events now. `retry_after` is the wait from its `Retry-After` header.
    Refused { retry_after: Option<Duration> },
    /// The server itself failed on this batch (an answer of 500 without a count): tried a few times only, so that a batch
    /// that kills the server cannot block all others.
    ServerError,
}

impl FailureCause {
    /// The server accepts no events now, and sent no `Retry-After` header.
    pub(crate) const REFUSED: Self = Self::Refused { retry_after: None };

    pub(crate) fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after } => retry_after,
            Self::NoAnswer | Self::ServerError => None,
        }
    }
}

impl Delivery {
    /// Changes every word that came from outside.
    pub(crate) fn map_words(mut self, words: impl Fn(&str) -> String) -> Self {
        match &mut self {
            Self::Decided { reasons, .. }
            | Self::Front { reasons, .. }
            | Self::Partly { reasons, .. }
            | Self::OutcomeUnknown { reasons, .. } => {
                reasons.iter_mut().for_each(|reason| reason.message = words(&reason.message));
            }
            Self::GivenUp { reasons, why, .. } => {
                reasons.iter_mut().for_each(|reason| reason.message = words(&reason.message));
                *why = words(why);
            }
            Self::Disabled => {}
            Self::TooLarge { reason } | Self::Failed { reason, .. } => *reason = words(reason),
        }
        self
    }
}

/// One reason in the server's words, with no more of the event than the server's message holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) message: String,
}
