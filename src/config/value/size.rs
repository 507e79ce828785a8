//! Sizes in bytes, with the units `b`, `kb`, `mb` and `gb` in steps of 1024.

use super::{OptionType, Parsed};

/// The compressed size at which a request to the server is closed.
#[derive(Debug)]
pub(crate) struct RequestSize;

/// The maximum memory of waiting events.
#[derive(Debug)]
pub(crate) struct QueueBytes;

macro_rules! size_option {
    ($option_type:ty, $range:expr, $allowed:literal) => {
        impl OptionType for $option_type {
            type Value = usize;
            type Code = usize;
            const ALLOWED: &'static str = $allowed;

            fn read(text: &str) -> Parsed<usize> {
                parse(text).map_or(Parsed::Invalid, |bytes| Self::check(&bytes))
            }

            fn check(code: &usize) -> Parsed<usize> {
                Parsed::from_option($range.contains(code).then_some(*code))
            }

            fn show(value: &usize) -> String {
                show(*value)
            }

            fn show_code(code: &usize) -> String {
                show(*code)
            }
        }
    };
}
/// The maximum memory of batches in the backlog.
#[derive(Debug)]
pub(crate) struct BacklogBytes;

size_option!(RequestSize, (1 << 10..=5 << 20), "a size from 1kb to 5mb, such as 768kb");
size_option!(QueueBytes, (64 << 10..=1 << 30), "a size from 64kb to 1gb, such as 8mb");
size_option!(BacklogBytes, (0..=1 << 30), "a size from 0b to 1gb, such as 16mb");

/// Parses `^(\d+)(b|kb|mb|gb)$`, in any case.
pub(super) fn parse(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.into_iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    number.parse::<usize>().ok()?.checked_mul(factor)
}

const UNITS: [(&str, usize); 4] = [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10), ("b", 1)];

fn show(bytes: usize) -> String {
    let fitting = UNITS.into_iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    let (unit, factor) = fitting.unwrap_or(("b", 1));
    format!("{}{unit}", bytes / factor)
}
