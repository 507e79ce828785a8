//! Wall-clock time for monotonic instants.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Two clocks that differ by no more say the same. Nanoseconds.
const AGREEMENT: i64 = 1_000_000;
/// A time that lies back further was not read off a clock a moment ago. Nanoseconds.
const MOMENT: i64 = 60 * 60 * 1_000_000_000;

/// The instant that all others are measured from, and the wall clock's reading then.
struct Anchor {
    instant: Instant,
    nanos: AtomicI64,
}

fn anchor() -> &'static Anchor {
    static ANCHOR: OnceLock<Anchor> = OnceLock::new();
    ANCHOR.get_or_init(|| Anchor { instant: Instant::now(), nanos: AtomicI64::new(wall_nanos(SystemTime::now())) })
}

/// A reading of the monotonic clock: nanoseconds since a first one, of which 63 bits have room for centuries. Unlike
/// with [`Instant`], sums and differences cost next to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Monotonic(i64);

impl Monotonic {
    pub(crate) fn now() -> Self {
        Self::at(Instant::now())
    }

    fn at(instant: Instant) -> Self {
        match instant.checked_duration_since(anchor().instant) {
            Some(since) => Self(nanos(since)),
            None => Self(-nanos(anchor().instant.duration_since(instant))),
        }
    }

    /// Zero where it lies before the other.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos((self.0 - earlier.0).max(0) as u64)
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// Whole microseconds from the other to here, negative where it lies before it.
    pub(crate) fn micros_since(self, other: Self) -> i64 {
        (self.0 - other.0) / 1000
    }

    fn wall(self) -> i64 {
        anchor().nanos.load(Relaxed) + self.0
    }

    /// Microseconds since the Unix epoch.
    ///
    /// A request pays for one clock and not for two, and its parts cannot be reordered by a clock that is set meanwhile.
    pub(crate) fn wall_micros(self) -> u64 {
        self.wall().max(0) as u64 / 1000
    }

    /// The moment at which the wall clock was read, not long ago. None for a time that is somebody's own choice: of
    /// another day, or yet to come.
    pub(crate) fn of(wall: SystemTime) -> Option<Self> {
        Self::now().before(wall, SystemTime::now)
    }

    fn before(self, wall: SystemTime, clock: impl FnOnce() -> SystemTime) -> Option<Self> {
        let (here, wall) = (self.wall(), wall_nanos(wall));
        let mut age = here - wall;
        if age.abs() > AGREEMENT {
            // it lies back, or the clock has been set since the anchor followed it
            let told = wall_nanos(clock());
            if (told - here).abs() > AGREEMENT {
                age = told - wall;
            }
        }
        (-AGREEMENT..=MOMENT).contains(&age).then_some(Self(self.0 - age))
    }
}

fn nanos(duration: Duration) -> i64 {
    duration.as_secs() as i64 * 1_000_000_000 + i64::from(duration.subsec_nanos())
}

/// Nanoseconds since the Unix epoch, from there up to the year 2242, so that they can be subtracted from each other.
fn wall_nanos(at: SystemTime) -> i64 {
    nanos(at.duration_since(UNIX_EPOCH).unwrap_or_default().min(Duration::from_secs(1 << 33)))
}

/// Microseconds since the Unix epoch.
pub(crate) fn micros(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// Follows the wall clock, which is slewed and set while the monotonic one is not. The worker calls it each second.
pub(crate) fn follow_wall_clock() {
    let (now, wall) = (Monotonic::now(), wall_nanos(SystemTime::now()));
    anchor().nanos.store(wall - now.0, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(moment: Monotonic, by: Duration) -> Monotonic {
        Monotonic(moment.0 + nanos(by))
    }

    fn wall_at(moment: Monotonic) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(moment.wall() as u64)
    }

    #[test]
    fn wall_time_moves_with_the_monotonic_clock() {
        let now = Monotonic::now();
        let moved = later(now, Duration::from_secs(5)).wall_micros() as i64 - now.wall_micros() as i64;
        assert!((moved - 5_000_000).abs() < 100_000, "{moved}");
        follow_wall_clock();
        assert!(Monotonic::now().wall_micros().abs_diff(micros(SystemTime::now())) < 100_000);
    }

    #[test]
    fn times_before_the_anchor_are_distinguished() {
        let first = Monotonic::at(anchor().instant);
        let Some(before) = anchor().instant.checked_sub(Duration::from_millis(7)) else { return };
        let before = Monotonic::at(before);
        assert_eq!(first.since(before), Duration::from_millis(7));
        assert_eq!(before.since(first), Duration::ZERO);
        assert_eq!((before.micros_since(first), first.micros_since(before)), (-7000, 7000));
    }

    #[test]
    fn recent_wall_time_maps_to_a_monotonic_time() {
        let (now, minute) = (Monotonic::now(), Duration::from_secs(60));
        let wall = wall_at(now);
        let at = |told| now.before(told, || wall);
        assert_eq!(at(wall), Some(now));
        assert_eq!(at(wall - minute), Some(Monotonic(now.0 - nanos(minute))));
        let soon = Duration::from_micros(100);
        assert_eq!(at(wall + soon), Some(later(now, soon)), "clocks never agree quite");
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        for chosen in [UNIX_EPOCH, UNIX_EPOCH - minute, wall - 61 * minute, wall + minute, far] {
            assert_eq!(at(chosen), None, "{chosen:?}");
        }
    }

    // spec: tracing-transactions.md
    #[test]
    fn clock_adjustment_does_not_move_recorded_times() {
        let (now, hour) = (Monotonic::now(), Duration::from_secs(60 * 60));
        let honest = wall_at(now);
        for (set, age) in [(honest + 2 * hour, 0), (honest - 2 * hour, 0), (honest + hour / 2, 20)] {
            let age = Duration::from_millis(age);
            assert_eq!(now.before(set - age, || set), Some(Monotonic(now.0 - nanos(age))), "{set:?}");
        }
    }
}
