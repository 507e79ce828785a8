//! Answers that a test has laid down: what the server shall do with the next requests of intake or OTLP, or for central
//! configuration.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What the server does with one request of intake or OTLP, for tests of an agent's worst days. gRPC hears the code that
/// goes with the status.
///
/// ```
/// use std::time::Duration;
/// use tower_apm::devserver::{Answer, DevServer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = DevServer::bind("127.0.0.1:0")?;
/// server.script([Answer::unavailable(), Answer::cut(), Answer::normal().after(Duration::from_secs(2))]);
/// assert_eq!(server.scripted(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Answer {
    pub(crate) ingestion: Ingestion,
    pub(crate) reply: Reply,
    pub(crate) delay: Duration,
}

/// The treatment of the events of a request.
#[derive(Debug, Clone)]
pub(crate) enum Ingestion {
    /// Valid ones are stored.
    Stored,
    /// None is stored, none is counted.
    Lost,
    /// The first so many valid ones are stored, the others are lost.
    First(u64),
    /// The first valid ones are refused with these words, the others are stored.
    Refused(VecDeque<String>),
}

impl Ingestion {
    /// Whether anything may be stored.
    pub(crate) fn stores(&self) -> bool {
        !matches!(self, Self::Lost)
    }

    /// Decides on the next valid event: it is stored or lost, or refused with a message.
    pub(crate) fn of_next(&mut self) -> Result<bool, String> {
        match self {
            Self::Stored => Ok(true),
            Self::Lost => Ok(false),
            Self::First(left) => {
                let stored = *left > 0;
                *left = left.saturating_sub(1);
                Ok(stored)
            }
            Self::Refused(messages) => messages.pop_front().map_or(Ok(true), Err),
        }
    }
}

/// What the client hears.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// What the account of the stream says.
    Account,
    /// This status, with the account and this message.
    Failure { status: u16, message: &'static str },
    /// This status with `{"error": message}`, as the server answers before it reads a stream.
    Refusal { status: u16, message: &'static str },
    /// The connection is closed without a word.
    Cut,
}

impl Answer {
    const fn new(ingestion: Ingestion, reply: Reply) -> Self {
        Self { ingestion, reply, delay: Duration::ZERO }
    }

    /// As if nothing had been laid down.
    #[must_use]
    pub const fn normal() -> Self {
        Self::new(Ingestion::Stored, Reply::Account)
    }

    /// 503, the queue is full: nothing is stored.
    #[must_use]
    pub const fn unavailable() -> Self {
        Self::new(Ingestion::Lost, Reply::Failure { status: 503, message: "queue is full" })
    }

    /// 429, too many events: nothing is stored.
    #[must_use]
    pub const fn too_many() -> Self {
        Self::new(Ingestion::Lost, Reply::Failure { status: 429, message: "rate limit exceeded" })
    }

    /// 401, whatever credentials came: nothing is stored.
    #[must_use]
    pub const fn unauthorized() -> Self {
        Self::new(Ingestion::Lost, Reply::Refusal { status: 401, message: "authentication failed" })
    }

    /// 403, the credentials are known and not allowed to write: nothing is stored.
    #[must_use]
    pub const fn forbidden() -> Self {
        Self::new(Ingestion::Lost, Reply::Failure { status: 403, message: "unauthorized: not allowed to write events" })
    }

    /// This status, of 400 or above, before anything is read: nothing is stored.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::new(Ingestion::Lost, Reply::Refusal { status, message: "as laid down" })
    }

    /// 400: the first valid events are refused, one with each of these messages; all others are stored. By OTLP it is a
    /// success in part, which names how many and the first message.
    #[must_use]
    pub fn rejected<M: Into<String>>(messages: impl IntoIterator<Item = M>) -> Self {
        Self::new(Ingestion::Refused(messages.into_iter().map(Into::into).collect()), Reply::Account)
    }

    /// 500 after the first `accepted` valid events have been stored; the others are lost.
    #[must_use]
    pub const fn failed_after(accepted: u64) -> Self {
        Self::new(Ingestion::First(accepted), Reply::Failure { status: 500, message: "internal error" })
    }

    /// The connection is closed without an answer, nothing is stored.
    #[must_use]
    pub const fn cut() -> Self {
        Self::new(Ingestion::Lost, Reply::Cut)
    }

    /// The connection is closed without an answer although all is stored: what is sent again is there twice.
    #[must_use]
    pub const fn cut_after_storing() -> Self {
        Self::new(Ingestion::Stored, Reply::Cut)
    }

    /// The normal answer, late.
    #[must_use]
    pub const fn slow(delay: Duration) -> Self {
        Self::normal().after(delay)
    }

    /// Holds the answer back for so long after the request has been read.
    #[must_use]
    pub const fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// The answers that wait for their requests.
#[derive(Debug, Default)]
pub(crate) struct Script(Mutex<VecDeque<Answer>>);

impl Script {
    pub(crate) fn extend(&self, answers: impl IntoIterator<Item = Answer>) {
        let answers: Vec<_> = answers.into_iter().collect();
        self.lock().extend(answers);
    }

    pub(crate) fn next(&self) -> Answer {
        self.lock().pop_front().unwrap_or_else(Answer::normal)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
