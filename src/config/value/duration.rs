//! Durations: whole numbers with the unit `ms`, `s` or `m`, for some options also `us`.

use std::time::Duration;

use super::{OptionType, Parsed};

/// A duration of at least one millisecond.
#[derive(Debug)]
pub(crate) struct NonZeroDuration;

impl OptionType for NonZeroDuration {
    type Value = Duration;
    type Code = Duration;
    const ALLOWED: &'static str = "a whole number with a unit, at least 1ms, such as 500ms, 30s or 1m";

    fn read(text: &str) -> Parsed<Duration> {
        plus(text, MILLIS).map_or(Parsed::Invalid, |duration| Self::check(&duration))
    }

    fn check(code: &Duration) -> Parsed<Duration> {
        Parsed::from_option((*code >= Duration::from_millis(1)).then_some(*code))
    }

    fn show(value: &Duration) -> String {
        show(*value)
    }

    fn show_code(code: &Duration) -> String {
        format!("{code:?}")
    }
}

/// A duration that can be zero.
#[derive(Debug)]
pub(crate) struct NonNegativeDuration;

impl OptionType for NonNegativeDuration {
    type Value = Duration;
    type Code = Duration;
    const ALLOWED: &'static str = "a whole number with a unit, such as 0ms, 50ms or 30s";

    fn read(text: &str) -> Parsed<Duration> {
        Parsed::from_option(plus(text, MILLIS))
    }

    fn check(code: &Duration) -> Parsed<Duration> {
        Parsed::Valid(*code)
    }

    fn show(value: &Duration) -> String {
        show(*value)
    }

    fn show_code(code: &Duration) -> String {
        format!("{code:?}")
    }
}

/// A duration in the form of OpenTelemetry's variables: a number of milliseconds, without a unit.
#[derive(Debug)]
pub(crate) struct Milliseconds;

impl OptionType for Milliseconds {
    type Value = Option<Duration>;
    type Code = Duration;
    const ALLOWED: &'static str = "a whole number of milliseconds without a unit, at least 1, such as 10000";

    fn read(text: &str) -> Parsed<Self::Value> {
        let millis = text.trim().parse().map(Duration::from_millis);
        millis.map_or(Parsed::Invalid, |duration| Self::check(&duration))
    }

    fn check(code: &Duration) -> Parsed<Self::Value> {
        Parsed::from_option((*code >= Duration::from_millis(1)).then_some(Some(*code)))
    }

    fn show(value: &Self::Value) -> String {
        value.map_or_else(String::new, |duration| duration.as_millis().to_string())
    }

    fn show_code(code: &Duration) -> String {
        format!("{code:?}")
    }
}

/// A duration that can be shorter than a millisecond.
#[derive(Debug)]
pub(crate) struct GranularDuration;

impl OptionType for GranularDuration {
    type Value = Duration;
    type Code = Duration;
    const ALLOWED: &'static str = "a whole number with a unit, such as 0ms, 500us or 10ms";

    fn read(text: &str) -> Parsed<Duration> {
        Parsed::from_option(plus(text, MICROS))
    }

    fn check(code: &Duration) -> Parsed<Duration> {
        Parsed::Valid(*code)
    }

    fn show(value: &Duration) -> String {
        show(*value)
    }

    fn show_code(code: &Duration) -> String {
        format!("{code:?}")
    }
}

/// From which duration on a span has a stack trace: None for never.
///
/// The newer option says `-1ms` for never and `0ms` for always, its predecessor the reverse.
#[derive(Debug)]
pub(crate) struct StackTraceMinDuration;

impl OptionType for StackTraceMinDuration {
    type Value = Option<Duration>;
    type Code = Option<Duration>;
    const ALLOWED: &'static str = "a whole number with a unit, such as 5ms; 0ms for every span, -1ms for none";
    const ALIASES_LAST: bool = true;

    fn read(text: &str) -> Parsed<Self::Value> {
        match parse(text, MILLIS) {
            Some((Sign::Plus, least)) => Parsed::Valid(Some(least)),
            Some((Sign::Minus, _)) => Parsed::Valid(None),
            None => Parsed::Invalid,
        }
    }

    fn read_alias(text: &str) -> Parsed<Self::Value> {
        match parse(text, MILLIS) {
            Some((Sign::Plus, Duration::ZERO)) => Parsed::Valid(None),
            Some((Sign::Plus, least)) => Parsed::Valid(Some(least)),
            Some((Sign::Minus, _)) => Parsed::Valid(Some(Duration::ZERO)),
            None => Parsed::Invalid,
        }
    }

    fn check(code: &Self::Code) -> Parsed<Self::Value> {
        Parsed::Valid(*code)
    }

    fn show(value: &Self::Value) -> String {
        value.map_or_else(|| "-1ms".to_owned(), show)
    }

    fn show_code(code: &Self::Code) -> String {
        format!("{code:?}")
    }
}

/// Returns the duration in the largest unit that divides it.
fn show(value: Duration) -> String {
    match value.as_micros() {
        0 => "0ms".to_owned(),
        micros if micros % 1_000_000 == 0 => format!("{}s", micros / 1_000_000),
        micros if micros % 1000 == 0 => format!("{}ms", micros / 1000),
        micros => format!("{micros}us"),
    }
}

/// A unit and its microseconds.
type Unit = (&'static str, u64);

const MILLIS: &[Unit] = &[("ms", 1000), ("s", 1_000_000), ("m", 60_000_000)];
const MICROS: &[Unit] = &[("us", 1), ("ms", 1000), ("s", 1_000_000), ("m", 60_000_000)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

fn plus(text: &str, units: &[Unit]) -> Option<Duration> {
    match parse(text, units)? {
        (Sign::Plus, duration) => Some(duration),
        (Sign::Minus, _) => None,
    }
}

/// `^(-)?(\d+)(us|ms|s|m)$`, case sensitive: no blanks, no fractions, and never a number without its unit.
fn parse(text: &str, units: &[Unit]) -> Option<(Sign, Duration)> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (Sign::Minus, rest),
        None => (Sign::Plus, text),
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, micros) = units.iter().find(|(name, _)| *name == unit)?;
    Some((sign, Duration::from_micros(number.parse::<u64>().ok()?.checked_mul(*micros)?)))
}
