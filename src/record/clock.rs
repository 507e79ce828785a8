//! Wall-clock time for monotonic instants.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Two clocks that differ by less say the same.
const AGREEMENT_NANOS: u64 = 1_000_000;
/// A time that lies back further was not read off a clock a moment ago.
const MOMENT: Duration = Duration::from_secs(60 * 60);

/// The instant that all others are measured from, and the wall clock's reading then.
struct Anchor {
    instant: Instant,
    nanos: AtomicU64,
}

fn anchor() -> &'static Anchor {
    static ANCHOR: OnceLock<Anchor> = OnceLock::new();
    ANCHOR.get_or_init(|| Anchor { instant: Instant::now(), nanos: AtomicU64::new(nanos(SystemTime::now())) })
}

fn wall_nanos(at: Instant) -> u64 {
    let anchor = anchor();
    let nanos = anchor.nanos.load(Relaxed);
    match at.checked_duration_since(anchor.instant) {
        Some(later) => nanos.saturating_add(later.as_nanos() as u64),
        None => nanos.saturating_sub(anchor.instant.duration_since(at).as_nanos() as u64),
    }
}

/// Microseconds since the Unix epoch at a monotonic instant.
///
/// A request pays for one clock and not for two, and its parts cannot be reordered by a clock that is set meanwhile.
pub(crate) fn wall_micros(at: Instant) -> u64 {
    wall_nanos(at) / 1000
}

/// The instant at which the wall clock was read, a moment ago. None for a time that is somebody's own choice: of
/// another day, or yet to come.
pub(crate) fn instant_of(wall: SystemTime) -> Option<Instant> {
    instant_before(Instant::now(), wall, SystemTime::now)
}

fn instant_before(now: Instant, wall: SystemTime, clock: impl FnOnce() -> SystemTime) -> Option<Instant> {
    // nanoseconds since the epoch have room in 63 bits for centuries
    let age = |now: u64, wall: u64| (now as i64).wrapping_sub(wall as i64);
    let (here, wall) = (wall_nanos(now), nanos(wall));
    let mut age_here = age(here, wall);
    if age_here.unsigned_abs() > AGREEMENT_NANOS {
        // it lies back, or the clock has been set since the anchor followed it
        let told = nanos(clock());
        if told.abs_diff(here) > AGREEMENT_NANOS {
            age_here = age(told, wall);
        }
    }
    let distance = Duration::from_nanos(age_here.unsigned_abs());
    match age_here {
        0.. if distance <= MOMENT => now.checked_sub(distance),
        ..0 if age_here.unsigned_abs() <= AGREEMENT_NANOS => now.checked_add(distance),
        _ => None,
    }
}

fn nanos(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// Microseconds since the Unix epoch.
pub(crate) fn micros(at: SystemTime) -> u64 {
    nanos(at) / 1000
}

/// Follows the wall clock, which is slewed and set while the monotonic one is not. The worker calls it each second.
pub(crate) fn follow_wall_clock() {
    let (now, wall) = (Instant::now(), nanos(SystemTime::now()));
    let since = now.duration_since(anchor().instant).as_nanos() as u64;
    anchor().nanos.store(wall.saturating_sub(since), Relaxed);
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_time_that_was_just_read_is_an_instant() {
        let (now, minute) = (Instant::now(), Duration::from_secs(60));
        let wall = UNIX_EPOCH + Duration::from_nanos(wall_nanos(now));
        let at = |wall| instant_before(now, wall, || UNIX_EPOCH + Duration::from_nanos(wall_nanos(now)));
        assert_eq!(at(wall), Some(now));
        assert_eq!(at(wall - minute), Some(now - minute));
        let soon = Duration::from_micros(100);
        assert_eq!(at(wall + soon), Some(now + soon), "clocks never agree quite");
        for chosen in [UNIX_EPOCH, UNIX_EPOCH - minute, wall - 61 * minute, wall + minute] {
            assert_eq!(at(chosen), None, "{chosen:?}");
        }
    }

    #[test]
    fn section_5_1_trap_34_a_clock_that_was_set_moves_nothing() {
        let now = Instant::now();
        let honest = UNIX_EPOCH + Duration::from_nanos(wall_nanos(now));
        for (set, age) in [(honest + 2 * MOMENT, 0), (honest - 2 * MOMENT, 0), (honest + MOMENT / 2, 20)] {
            let age = Duration::from_millis(age);
            assert_eq!(instant_before(now, set - age, || set), Some(now - age), "{set:?}");
        }
    }
}
