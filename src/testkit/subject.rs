//! What a chain of checks is about: the events that are still in question.

use std::sync::Arc;

use serde_json::Value;

use super::{received::Arrived, report::report, scene::Scene};

/// Each check keeps the candidates that pass it; when none does, the expectation has failed.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) scene: Scene,
    pub(super) candidates: Vec<Arc<Arrived>>,
    /// The sentence so far.
    wanted: String,
    /// Within a check of another subject: a failure is kept and not raised.
    inner: bool,
    failure: Option<String>,
}

impl Subject {
    pub(super) fn new(scene: Scene, wanted: String, candidates: Vec<Arc<Arrived>>) -> Self {
        Self { scene, candidates, wanted, inner: false, failure: None }
    }

    /// For a check that looks into other events.
    pub(super) fn inner(scene: Scene, candidates: Vec<Arc<Arrived>>) -> Self {
        Self { inner: true, ..Self::new(scene, String::new(), candidates) }
    }

    /// How the checks on an [`inner`](Self::inner) subject went.
    pub(super) fn result(self) -> Result<(), String> {
        self.failure.map_or(Ok(()), Err)
    }

    /// `what` reads as "with …"; the test tells what was found instead.
    #[track_caller]
    pub(super) fn check(mut self, what: &str, test: impl Fn(&Arrived) -> Result<(), String>) -> Self {
        if self.failure.is_some() {
            return self;
        }
        let (mut kept, mut misses) = (Vec::new(), Vec::new());
        for candidate in &self.candidates {
            match test(candidate) {
                Ok(()) => kept.push(candidate.clone()),
                Err(miss) => misses.push(miss),
            }
        }
        if !kept.is_empty() {
            self.candidates = kept;
            self.wanted = format!("{}\n    {what}", self.wanted);
            return self;
        }
        misses.dedup();
        let miss = misses.join(", and of another one ");
        if self.inner {
            self.failure = Some(format!("not {what}: {miss}"));
            return self;
        }
        panic!("{}", report(&self.scene, &format!("{}\n    {what}", self.wanted), &miss, None));
    }

    /// The event, when it is clear which.
    #[track_caller]
    pub(super) fn only(&self) -> &Value {
        match self.candidates.as_slice() {
            [one] => one,
            several => {
                let but = format!("{} fit: say more about it, or expect them all", several.len());
                panic!("{}", report(&self.scene, &format!("only one {}", self.wanted), &but, None))
            }
        }
    }
}

/// Numbers are equal across their types.
pub(super) fn equal(found: &Value, expected: &Value) -> bool {
    found == expected
        || matches!((found, expected), (Value::Number(found), Value::Number(expected)) if found.as_f64() == expected.as_f64())
}

/// What stands at a JSON pointer, compared.
pub(super) fn compare(event: &Value, pointer: &str, name: &str, expected: &Value) -> Result<(), String> {
    match event.pointer(pointer) {
        Some(found) if equal(found, expected) => Ok(()),
        Some(found) => Err(format!("{name} is {found}")),
        None => Err(format!("{name} is not there")),
    }
}
