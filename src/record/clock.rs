//! Wall-clock time for monotonic instants.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// The instant that all others are measured from, and the wall clock's reading then.
struct Anchor {
    instant: Instant,
    micros: AtomicU64,
}

fn anchor() -> &'static Anchor {
    static ANCHOR: OnceLock<Anchor> = OnceLock::new();
    ANCHOR.get_or_init(|| Anchor { instant: Instant::now(), micros: AtomicU64::new(micros(SystemTime::now())) })
}

/// Microseconds since the Unix epoch at a monotonic instant.
///
/// A request pays for one clock and not for two, and its parts cannot be reordered by a clock that is set meanwhile.
pub(crate) fn wall_micros(at: Instant) -> u64 {
    let anchor = anchor();
    let micros = anchor.micros.load(Relaxed);
    match at.checked_duration_since(anchor.instant) {
        Some(later) => micros.saturating_add(later.as_micros() as u64),
        None => micros.saturating_sub(anchor.instant.duration_since(at).as_micros() as u64),
    }
}

/// Microseconds since the Unix epoch.
pub(crate) fn micros(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// Follows the wall clock, which is slewed and set while the monotonic one is not. The worker calls it each second.
pub(crate) fn follow_wall_clock() {
    let (now, wall) = (Instant::now(), micros(SystemTime::now()));
    let since = now.duration_since(anchor().instant).as_micros() as u64;
    anchor().micros.store(wall.saturating_sub(since), Relaxed);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn wall_time_moves_with_the_monotonic_clock() {
        let now = Instant::now();
        let first = wall_micros(now);
        let later = wall_micros(now + Duration::from_secs(5)) as i64 - first as i64;
        assert!((later - 5_000_000).abs() < 100_000, "{later}");
        follow_wall_clock();
        assert!(wall_micros(Instant::now()).abs_diff(micros(SystemTime::now())) < 100_000);
    }
}
