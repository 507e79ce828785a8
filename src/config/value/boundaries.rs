//! The upper bounds of the buckets of a histogram.

use super::{OptionType, Parsed, text::list};

/// A list of at least one finite number, in which each number is greater than the one before.
#[derive(Debug)]
pub(crate) struct Boundaries;

impl OptionType for Boundaries {
    type Value = Vec<f64>;
    type Code = Vec<f64>;
    const ALLOWED: &'static str =
        "a list of numbers separated by commas, each greater than the one before, such as 0.1,1,10";

    fn read(text: &str) -> Parsed<Self::Value> {
        // `parse` would accept `inf` and `NaN` too
        let plain = |item: &str| item.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
        let bounds: Option<Vec<f64>> = list(text).map(|item| item.parse().ok().filter(|_| plain(item))).collect();
        bounds.map_or(Parsed::Invalid, |bounds| Self::check(&bounds))
    }

    fn check(code: &Self::Code) -> Parsed<Self::Value> {
        let ascends = code.windows(2).all(|pair| pair[0] < pair[1]);
        let is_valid = !code.is_empty() && ascends && code.iter().all(|bound| bound.is_finite());
        Parsed::from_option(is_valid.then(|| code.clone()))
    }

    fn show(value: &Self::Value) -> String {
        value.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    fn show_code(code: &Self::Code) -> String {
        Self::show(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    // spec: metrics-otel.md
    #[test]
    fn default_histogram_boundaries_are_powers_of_the_square_root_of_two() {
        let bounds = Config::default().custom_metrics_histogram_boundaries;
        let want = (-16..=34).map(|n| format!("{:.5e}", 2f64.powf(f64::from(n) / 2.0)).parse::<f64>().unwrap());
        assert_eq!(bounds, want.collect::<Vec<_>>());
        assert_eq!((bounds.len(), bounds[0], bounds[1], bounds[50]), (51, 0.00390625, 0.00552427, 131_072.0));
    }

    // spec: configuration.md
    #[test]
    fn histogram_boundaries_must_be_sorted_and_finite() {
        let cases: [(&str, Option<&[f64]>); 11] = [
            ("0.1, 1 ,10", Some(&[0.1, 1.0, 10.0])),
            ("-5,0,2.5", Some(&[-5.0, 0.0, 2.5])),
            ("7", Some(&[7.0])),
            ("1,1", None),
            ("2,1", None),
            ("1,two", None),
            ("1,inf", None),
            ("NaN", None),
            ("1e3", None),
            ("1;2", None),
            (",", None),
        ];
        for (text, want) in cases {
            assert_eq!(Boundaries::read(text).valid().as_deref(), want, "{text}");
        }
        assert_eq!(Boundaries::check(&vec![1.0, f64::INFINITY]), Parsed::Invalid);
        assert_eq!(Boundaries::check(&vec![1.0, f64::NAN, 2.0]), Parsed::Invalid);
        assert_eq!(Boundaries::show(&vec![0.5, 10.0]), "0.5,10");
    }
}
