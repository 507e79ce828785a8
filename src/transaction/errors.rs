//! The errors of a transaction: each is told once, and knows what the transaction knows.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
    sync::OnceLock,
    time::SystemTime,
};

use super::{Recorder, Shared, current::release_held, custom::set_custom, naming::renamed};
use crate::{
    config::CaptureBody,
    record::{ErrorParent, ErrorRecord, Exception, Name, SpanId},
};

/// Documents for errors that one transaction gives; further ones are counted.
const MAX_ERRORS: usize = 50;

/// What was said of the errors of a transaction.
#[derive(Default)]
pub(super) struct Told {
    errors: Vec<Fingerprint>,
    vetoed: Vec<Fingerprint>,
}

/// What becomes of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Told,
    Suppressed,
    Vetoed,
}

impl Told {
    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The same error met again, and errors beyond the limit, are not told.
    pub(super) fn judge(&mut self, exception: Option<&Exception>) -> Verdict {
        let Some(exception) = exception else { return Verdict::Told };
        let fingerprint = Fingerprint::of(exception);
        if self.vetoed.iter().any(|vetoed| vetoed.is_same(&fingerprint)) {
            return Verdict::Vetoed;
        }
        if self.errors.iter().any(|told| told.tells(&fingerprint)) || self.errors.len() >= MAX_ERRORS {
            return Verdict::Suppressed;
        }
        self.errors.push(fingerprint);
        Verdict::Told
    }

    pub(super) fn veto(&mut self, exception: &Exception) {
        if self.vetoed.len() < MAX_ERRORS {
            self.vetoed.push(Fingerprint::of(exception));
        }
    }
}

impl Verdict {
    /// An error that is not told is counted.
    pub(super) fn is_to_be_told(self, recorder: &Recorder) -> bool {
        match self {
            Verdict::Told => {}
            Verdict::Suppressed => recorder.suppressed_error(),
            Verdict::Vetoed => recorder.filtered(1),
        }
        self == Verdict::Told
    }
}

impl Shared {
    /// An error was recorded on this transaction.
    pub(crate) fn has_errors(&self) -> bool {
        self.lock().has_errors()
    }

    /// A panic went through: recorded as an unhandled error, unless the panic hook did so with more to tell.
    pub(crate) fn panicked(&self, panic: &(dyn std::any::Any + Send)) {
        if !release_held() {
            self.error(Exception::from_panic(panic).into_record(SystemTime::now()), None);
        }
    }

    /// Where an error under this transaction belongs; `parent` is the active span.
    fn error_parent(&self, parent: Option<SpanId>, kind: Cow<'static, str>, name: Name) -> ErrorParent {
        let ids = self.ids();
        ErrorParent {
            trace_id: ids.trace_id,
            transaction_id: ids.id,
            parent_id: parent.unwrap_or(ids.id),
            sampled: ids.sampled,
            kind,
            name,
        }
    }

    /// Completes an error with what the transaction knows and sends it. The error's own labels and custom context win.
    /// The same error met again, and errors beyond the limit, are counted instead.
    pub(crate) fn error(&self, mut error: Box<ErrorRecord>, parent: Option<SpanId>) {
        if self.recorder().ignores(&error) {
            return self.recorder().filtered(1);
        }
        let parent = parent.map(|span| self.pin(span));
        {
            let mut state = self.lock();
            let (record, seldom) = state.record_and_seldom();
            if !seldom.told.judge(error.exception.as_ref()).is_to_be_told(&self.recorder) {
                return;
            }
            match record {
                Some(record) => {
                    let as_shown = || Name::Text(record.display_name().into_owned().into());
                    let name = renamed(record, &self.config).unwrap_or_else(as_shown);
                    error.parent = Some(self.error_parent(parent, record.kind.clone(), name));
                    let own = std::mem::replace(&mut error.context, record.context.clone());
                    if let (Some(body), CaptureBody::Errors | CaptureBody::All, Some(request)) =
                        (&seldom.body, self.config.capture_body, &mut error.context.request)
                    {
                        request.body = body.get();
                    }
                    own.labels.into_iter().for_each(|label| {
                        if !error.context.set_label(label.key, label.value) {
                            self.recorder.excess_label();
                        }
                    });
                    own.custom.into_iter().for_each(|custom| {
                        set_custom(&mut error.context, custom.key, custom.json, &self.recorder);
                    });
                }
                // the record is gone, name and type were kept
                None => {
                    let (kind, name) = seldom.rest.as_ref().map_or_else(
                        || (Cow::Borrowed("request"), Cow::Borrowed("")),
                        |rest| (rest.kind.clone(), rest.name()),
                    );
                    error.parent = Some(self.error_parent(parent, kind, Name::Text(name)));
                }
            }
        }
        if !self.config.context_propagation_only {
            self.recorder.error(error);
        }
    }
}

/// Tells whether two errors are the same: type, message and chain.
pub(super) struct Fingerprint {
    /// Of the whole chain, and of what is left of it below each cause.
    chains: Vec<u64>,
    /// None where the type was erased: the same value may come by once as itself and once as `dyn Error`.
    kind: Option<Cow<'static, str>>,
}

impl Fingerprint {
    fn of(exception: &Exception) -> Self {
        static KEYS: OnceLock<RandomState> = OnceLock::new();
        let keys = KEYS.get_or_init(RandomState::new);
        let mut chains = Vec::with_capacity(1 + exception.causes.len());
        let below = |below: u64, one: &Exception| keys.hash_one((below, &one.message));
        let mut hash = 0;
        for one in exception.causes.iter().rev().chain([exception]) {
            hash = below(hash, one);
            chains.push(hash);
        }
        let kind = exception.kind.clone().filter(|_| !exception.erased);
        Self { chains, kind }
    }

    fn is_same(&self, other: &Self) -> bool {
        let kinds = self.kind.as_ref().zip(other.kind.as_ref());
        self.chains.last() == other.chains.last() && kinds.is_none_or(|(one, other)| one == other)
    }

    /// True for the same error, and for one that was told as a cause already. One that has this as its cause tells more.
    fn tells(&self, other: &Self) -> bool {
        let Some((_, causes)) = self.chains.split_last() else { return false };
        let Some(others) = other.chains.last() else { return false };
        causes.contains(others) || self.is_same(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(messages: &[&str]) -> Fingerprint {
        let one = |message: &&str| Exception { message: (*message).to_owned(), ..Exception::default() };
        let mut all = messages.iter().map(one);
        let outer = all.next().unwrap();
        Fingerprint::of(&Exception { causes: all.collect(), ..outer })
    }

    #[test]
    fn an_error_tells_itself_and_its_causes() {
        let told = chain(&["no sale", "reverted", "out of gas"]);
        for same in [&["no sale", "reverted", "out of gas"][..], &["reverted", "out of gas"], &["out of gas"]] {
            assert!(told.tells(&chain(same)), "{same:?}");
        }
        for other in
            [&["no sale"][..], &["no sale", "reverted"], &["reverted"], &["out", "no sale", "reverted", "out of gas"]]
        {
            assert!(!told.tells(&chain(other)), "{other:?}");
        }
    }
}
