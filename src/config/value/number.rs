//! Booleans, counts, limits and the sample rate.

use super::{OptionType, Parsed};

/// `true` or `false`, in lower case. Elastic's agents accept no other form.
#[derive(Debug)]
pub(crate) struct Bool;

impl OptionType for Bool {
    type Value = bool;
    type Code = bool;
    const ALLOWED: &'static str = "`true` or `false`";

    fn read(text: &str) -> Parsed<bool> {
        Parsed::from_option(text.parse().ok())
    }

    fn check(code: &bool) -> Parsed<bool> {
        Parsed::Valid(*code)
    }

    fn show(value: &bool) -> String {
        value.to_string()
    }

    fn show_code(code: &bool) -> String {
        code.to_string()
    }
}

/// A maximum number. 0 means none. A negative number, which is stored as -1, means no limit.
#[derive(Debug)]
pub(crate) struct Limit;

impl OptionType for Limit {
    type Value = i64;
    type Code = i64;
    const ALLOWED: &'static str = "a whole number; 0 for none, -1 for no limit";

    fn read(text: &str) -> Parsed<i64> {
        text.parse().map_or(Parsed::Invalid, |number| Self::check(&number))
    }

    fn check(code: &i64) -> Parsed<i64> {
        Parsed::Valid((*code).max(-1))
    }

    fn show(value: &i64) -> String {
        value.to_string()
    }

    fn show_code(code: &i64) -> String {
        code.to_string()
    }
}

/// A number of at least 1. It has an upper limit, because the queue allocates memory for this number of events.
#[derive(Debug)]
pub(crate) struct Count;

impl OptionType for Count {
    type Value = usize;
    type Code = usize;
    const ALLOWED: &'static str = "a whole number from 1 to 1048576";

    fn read(text: &str) -> Parsed<usize> {
        text.parse().map_or(Parsed::Invalid, |number| Self::check(&number))
    }

    fn check(code: &usize) -> Parsed<usize> {
        Parsed::from_option((1..=1 << 20).contains(code).then_some(*code))
    }

    fn show(value: &usize) -> String {
        value.to_string()
    }

    fn show_code(code: &usize) -> String {
        code.to_string()
    }
}

/// The share of traces that are sampled, rounded like in all Elastic agents.
///
/// The rounded number is used for the sampling decision, for propagation and as the weight of the events. If these
/// numbers differed, the server's counts would be wrong.
#[derive(Debug)]
pub(crate) struct SampleRate;

impl SampleRate {
    /// Rounds a rate from 0 to 1 half up to four decimals. A rate above 0 never becomes 0. Returns None outside of the
    /// range.
    pub(crate) fn round(rate: f64) -> Option<f64> {
        if !(0.0..=1.0).contains(&rate) {
            return None;
        }
        let rounded = (rate * 10_000.0).round() / 10_000.0;
        Some(if rate > 0.0 { rounded.max(0.0001) } else { 0.0 })
    }
}

impl OptionType for SampleRate {
    type Value = f64;
    type Code = f64;
    const ALLOWED: &'static str = "a number from 0 to 1 such as 0.25";

    fn read(text: &str) -> Parsed<f64> {
        // `parse` would accept `inf`, `NaN` and `1e-3` too
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        Parsed::from_option(text.parse().ok().filter(|_| plain).and_then(Self::round))
    }

    fn check(code: &f64) -> Parsed<f64> {
        Parsed::from_option(Self::round(*code))
    }

    fn show(value: &f64) -> String {
        value.to_string()
    }

    fn show_code(code: &f64) -> String {
        code.to_string()
    }
}
