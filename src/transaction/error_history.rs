//! The errors of a transaction so far, by which repeated errors are found. Pure.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
    sync::OnceLock,
};

use super::failures::{BoxedError, Failure};
use crate::record::{ErrorOrigin, ErrorRecord, Exception, SpanId};

/// The most error documents of one transaction. Further errors are counted.
const MAX_ERRORS: usize = 50;

/// The most errors that wait for an error value of the same failure.
const MAX_WAITING: usize = 8;

/// The errors of a transaction so far.
#[derive(Default)]
pub(super) struct ErrorHistory {
    errors: Vec<Fingerprint>,
    vetoed: Vec<Fingerprint>,
    /// Errors of which only the text is known, and errors of exit spans. One failure is often logged as text where it
    /// happens (`#[instrument(err)]`) and handed over as a value where the response is made (`with_error`): the value has
    /// the type and the causes, and replaces the text. It also replaces the error of an exit span that is its cause. An
    /// error that is not replaced is sent with the head of the response. Background work has no response: its errors are
    /// sent at once.
    waiting: Vec<BoxedError>,
    /// An error was met that is not the error of an exit span.
    has_own: bool,
    /// Log lines of level ERROR that were sent as errors.
    lines: usize,
    pub(super) failure: Failure,
}

/// The decision whether an error is recorded, with the reason if it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Recorded,
    Suppressed,
    Vetoed,
}

impl ErrorHistory {
    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty() && self.lines == 0
    }

    /// Returns true if an error was met that is not the error of an exit span. The service may have handled those.
    pub(super) fn has_own(&self) -> bool {
        self.has_own
    }

    /// Judges an error. An error that is known, or beyond the limit, is not recorded.
    pub(super) fn judge(&mut self, error: &ErrorRecord) -> Verdict {
        let is_of_exit_span = error.origin == ErrorOrigin::ExitSpan;
        let Some(exception) = &error.exception else {
            self.has_own = true;
            self.failure.set_reason();
            self.lines += 1;
            return if self.lines > MAX_ERRORS { Verdict::Suppressed } else { Verdict::Recorded };
        };
        let fingerprint = Fingerprint { is_of_exit_span, ..Fingerprint::of(exception) };
        if self.vetoed.iter().any(|vetoed| vetoed.is_same(&fingerprint)) {
            return Verdict::Vetoed;
        }
        if is_of_exit_span {
            self.failure.add_call(&exception.message);
        } else {
            self.has_own = true;
            self.failure.set_reason();
        }
        let is_replacing = !is_of_exit_span && self.waiting.iter().any(|waiting| fingerprint.replaces(waiting));
        if self.errors.iter().any(|known| known.covers(&fingerprint) && !(is_replacing && known.is_provisional()))
            || !is_replacing && self.errors.len() >= MAX_ERRORS
        {
            return Verdict::Suppressed;
        }
        self.errors.push(fingerprint);
        Verdict::Recorded
    }

    /// Keeps a provisional error until an error value of the same failure is captured. Returns the error to send now if too
    /// many errors wait.
    pub(super) fn wait(&mut self, error: Box<ErrorRecord>) -> Option<Box<ErrorRecord>> {
        let first = (self.waiting.len() >= MAX_WAITING).then(|| self.waiting.remove(0));
        self.waiting.push(error);
        first
    }

    /// Removes and returns the waiting errors of the same failure.
    pub(super) fn take_replaced(&mut self, exception: &Exception) -> Vec<BoxedError> {
        if self.waiting.is_empty() || exception.is_text() {
            return Vec::new();
        }
        let fingerprint = Fingerprint::of(exception);
        self.waiting.extract_if(.., |waiting| fingerprint.replaces(waiting)).collect()
    }

    /// Removes and returns the errors that no error value has replaced.
    pub(super) fn take_waiting(&mut self) -> Vec<BoxedError> {
        std::mem::take(&mut self.waiting)
    }

    /// Returns the texts that wait for an error value.
    pub(super) fn waiting_texts(&self) -> Vec<String> {
        self.waiting.iter().filter_map(|error| Some(logged_text(error)?.to_owned())).collect()
    }

    /// Remembers an error that a hook has discarded. Returns the number of waiting errors that are dropped with it.
    pub(super) fn veto(&mut self, exception: &Exception) -> usize {
        self.failure.set_reason();
        if self.vetoed.len() < MAX_ERRORS {
            self.vetoed.push(Fingerprint::of(exception));
        }
        self.take_replaced(exception).len()
    }
}

/// Returns the whole text of an error that was logged.
fn logged_text(error: &ErrorRecord) -> Option<&str> {
    error.exception.as_ref()?.logged_text.as_deref()
}

/// Copies data from a replaced event to the error: the id that log lines contain, the line that was logged, and the
/// span in which the failure happened.
pub(super) fn replace(error: &mut ErrorRecord, parent: &mut Option<SpanId>, replaced: &mut [BoxedError]) {
    if let Some(first) = replaced.first_mut() {
        error.id = first.id;
        error.log = error.log.take().or(first.log.take());
        *parent = parent.or_else(|| first.parent.as_ref().map(|parent| parent.parent_id));
    }
}

/// Adds the fields of the events that an error replaces.
pub(super) fn add_labels(error: &mut ErrorRecord, replaced: Vec<BoxedError>) {
    for label in replaced.into_iter().flat_map(|replaced| replaced.context.labels) {
        if error.context.labels.iter().all(|known| known.key != label.key) {
            error.context.set_label(label.key, label.value);
        }
    }
}

fn keys() -> &'static RandomState {
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    KEYS.get_or_init(RandomState::new)
}

/// Compares errors by type, message and causes.
pub(super) struct Fingerprint {
    /// Of the whole chain, and of what is left of it below each cause.
    chains: Vec<u64>,
    /// None where the type was erased: the same value may come by once as itself and once as `dyn Error`.
    kind: Option<Cow<'static, str>>,
    /// Of each text by which it may have been logged: its own, those of its causes, and its `Debug`.
    texts: Vec<u64>,
    is_text: bool,
    is_of_exit_span: bool,
}

impl Fingerprint {
    fn of(exception: &Exception) -> Self {
        let keys = keys();
        let mut chains = Vec::with_capacity(1 + exception.causes.len());
        let below = |below: u64, one: &Exception| keys.hash_one((below, &one.message));
        let mut hash = 0;
        for one in exception.causes.iter().rev().chain([exception]) {
            hash = below(hash, one);
            chains.push(hash);
        }
        let kind = exception.kind.clone().filter(|_| !exception.erased);
        let messages = std::iter::once(exception).chain(&exception.causes).map(|one| &*one.message);
        let texts = match exception.logged_text.as_deref() {
            Some(text) => vec![keys.hash_one(text)],
            None => messages.chain(exception.debug_text.as_deref()).map(|text| keys.hash_one(text)).collect(),
        };
        Self { chains, kind, texts, is_text: exception.is_text(), is_of_exit_span: false }
    }

    fn is_provisional(&self) -> bool {
        self.is_text || self.is_of_exit_span
    }

    /// Returns true if the other error is this one or a cause of it, and was logged as text or is the error of an exit span.
    fn replaces(&self, other: &ErrorRecord) -> bool {
        let Some(exception) = other.exception.as_ref().filter(|_| !self.is_text) else { return false };
        if other.origin == ErrorOrigin::ExitSpan {
            return Fingerprint::of(exception).chains.last().is_some_and(|chain| self.chains.contains(chain));
        }
        let text = exception.logged_text.as_deref().map(|text| keys().hash_one(text));
        let is_same_chain = || Fingerprint::of(exception).chains.last() == self.chains.last();
        text.is_some_and(|text| self.texts.contains(&text) || is_same_chain())
    }

    fn is_same(&self, other: &Self) -> bool {
        let kinds = self.kind.as_ref().zip(other.kind.as_ref());
        self.chains.last() == other.chains.last() && kinds.is_none_or(|(one, other)| one == other)
    }

    /// Returns true for the same error, and for an error that is a cause of this error. An error that is caused by this
    /// error contains more data and is not covered.
    fn covers(&self, other: &Self) -> bool {
        if other.is_text && other.texts.iter().all(|text| self.texts.contains(text)) {
            return true;
        }
        let Some((_, causes)) = self.chains.split_last() else { return false };
        let Some(others) = other.chains.last() else { return false };
        causes.contains(others) || self.is_same(other)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn chain(messages: &[&str]) -> Fingerprint {
        let one = |message: &&str| Exception { message: (*message).to_owned(), ..Exception::default() };
        let mut all = messages.iter().map(one);
        let outer = all.next().unwrap();
        Fingerprint::of(&Exception { causes: all.collect(), ..outer })
    }

    fn text(message: &str) -> Exception {
        Exception::from_text(message.to_owned())
    }

    #[test]
    fn error_texts_include_message_causes_and_debug() {
        let known = chain(&["no sale", "reverted", "out of gas"]);
        for same in ["no sale", "reverted", "out of gas"] {
            assert!(known.covers(&Fingerprint::of(&text(same))), "{same}");
        }
        assert!(!known.covers(&Fingerprint::of(&text("no"))));
    }

    #[test]
    fn waiting_error_texts_are_replaced_or_sent_and_bounded() {
        let record = |message: &str| text(message).into_record(SystemTime::UNIX_EPOCH);
        let mut errors = ErrorHistory::default();
        assert!(errors.wait(record("reverted")).is_none() && errors.wait(record("other")).is_none());
        let value = Exception { message: "reverted".to_owned(), ..Exception::default() };
        let replaced = errors.take_replaced(&value);
        assert_eq!(replaced.len(), 1);
        assert_eq!(errors.waiting_texts(), ["other"]);
        let sent: Vec<_> = (0..MAX_WAITING).filter_map(|at| errors.wait(record(&at.to_string()))).collect();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].exception.as_ref().unwrap().message, "other");
        assert_eq!(errors.take_waiting().len(), MAX_WAITING);
    }

    #[test]
    fn error_covers_itself_and_its_causes() {
        let known = chain(&["no sale", "reverted", "out of gas"]);
        for same in [&["no sale", "reverted", "out of gas"][..], &["reverted", "out of gas"], &["out of gas"]] {
            assert!(known.covers(&chain(same)), "{same:?}");
        }
        for other in
            [&["no sale"][..], &["no sale", "reverted"], &["reverted"], &["out", "no sale", "reverted", "out of gas"]]
        {
            assert!(!known.covers(&chain(other)), "{other:?}");
        }
    }
}
