//! Durations: whole numbers with one of the units `ms`, `s` and `m`.

use std::time::Duration;

use super::{Kind, Reading};

/// A duration of at least a millisecond.
#[derive(Debug)]
pub(crate) struct NonZeroDuration;

impl Kind for NonZeroDuration {
    type Value = Duration;
    type Code = Duration;
    const ALLOWED: &'static str = "a duration of at least 1ms, a whole number with its unit, such as 500ms, 30s or 1m";

    fn read(text: &str) -> Reading<Duration> {
        match parse(text) {
            Some((Sign::Plus, duration)) => Self::check(&duration),
            _ => Reading::Invalid,
        }
    }

    fn check(code: &Duration) -> Reading<Duration> {
        Reading::from_option((*code >= Duration::from_millis(1)).then_some(*code))
    }

    fn show(value: &Duration) -> String {
        match value.as_millis() {
            millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
            millis => format!("{millis}ms"),
        }
    }

    fn show_code(code: &Duration) -> String {
        format!("{code:?}")
    }
}

/// Some options of Elastic's agents give a meaning to durations below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
}

/// `^(-)?(\d+)(ms|s|m)$`, case sensitive: no blanks, no fractions, and never a number without its unit.
pub(super) fn parse(text: &str) -> Option<(Sign, Duration)> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (Sign::Minus, rest),
        None => (Sign::Plus, text),
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        _ => None,
    }?;
    Some((sign, Duration::from_millis(millis)))
}
