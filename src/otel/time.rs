//! When a span began, and how long it took.
//!
//! `tracing-opentelemetry` reads the wall clock for every span, and the wall clock can be set while the span runs. A time
//! that was read a moment ago is therefore replaced by the time of the monotonic clock. A time that the caller has chosen,
//! for example for work of another day, is kept.

use std::time::{Duration, SystemTime};

use crate::{
    record::{Monotonic, micros},
    transaction::TransactionInner,
};

#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    At(Monotonic),
    /// By the caller's own clock.
    Explicit(SystemTime),
}

impl Start {
    /// Returns the given start, or now.
    pub(super) fn of(told: Option<SystemTime>) -> Self {
        match told {
            None => Self::At(Monotonic::now()),
            Some(told) => Monotonic::of(told).map_or(Self::Explicit(told), Self::At),
        }
    }

    /// Where the monotonic clock stood; now, for a start by another clock.
    pub(super) fn monotonic(self) -> Monotonic {
        match self {
            Self::At(at) => at,
            Self::Explicit(_) => Monotonic::now(),
        }
    }

    /// Microseconds since the epoch.
    pub(super) fn micros(self, shared: &TransactionInner) -> u64 {
        match self {
            Self::At(at) => shared.micros_at(at),
            Self::Explicit(at) => micros(at),
        }
    }

    /// Returns the duration until the given end, or until now. `timestamp` is the timestamp of the start.
    pub(super) fn until(self, end: Option<SystemTime>, timestamp: u64) -> Duration {
        match (self, end) {
            (Self::At(start), None) => start.elapsed(),
            (Self::At(start), Some(end)) => match Monotonic::of(end) {
                Some(end) => end.since(start),
                None => Duration::from_micros(micros(end).saturating_sub(timestamp)),
            },
            (Self::Explicit(start), end) => {
                end.unwrap_or_else(SystemTime::now).duration_since(start).unwrap_or(Duration::ZERO)
            }
        }
    }
}
