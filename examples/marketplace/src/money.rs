//! Exact amounts of money with up to six decimals, stored as an integer of millionths.

use std::{fmt, str::FromStr};

use sea_orm::DeriveValueType;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const DECIMALS: usize = 6;
const ONE: i64 = 10_i64.pow(DECIMALS as u32);

/// An amount of money in millionths. A debit in the history is negative.
///
/// It is serialized as a string (`"12.5"`), because most JSON libraries read a number as a binary fraction. It is
/// deserialized from a string or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, DeriveValueType)]
pub struct Amount(i64);

/// The reason why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("must be a decimal number such as \"12.5\"")]
    NotDecimal,
    #[error("must have at most 6 decimals")]
    TooFine,
    #[error("must be below 9 billion")]
    TooLarge,
}

impl Amount {
    /// The amount 0.
    pub const ZERO: Self = Self(0);
    /// The maximum amount of one request. A balance can be larger.
    pub const MAX_MOVED: Self = Self(9_000_000_000 * ONE);

    /// Creates an amount from a number of millionths. It can be larger than the maximum of one request.
    pub fn from_millionths(millionths: i64) -> Self {
        Self(millionths)
    }

    /// Returns the amount as a number of millionths.
    pub fn millionths(self) -> i64 {
        self.0
    }

    /// Returns the sum, or `None` if it overflows.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Returns the difference, or `None` if it overflows.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Returns the amount with the opposite sign.
    pub fn negated(self) -> Self {
        Self(-self.0)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (digits, negative) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let decimal = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !decimal(whole) || !decimal(fraction) {
            return Err(AmountError::NotDecimal);
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > DECIMALS {
            return Err(AmountError::TooFine);
        }
        let whole: i64 = whole.parse().map_err(|_| AmountError::TooLarge)?;
        let fraction: i64 = format!("{fraction:0<DECIMALS$}").parse().map_err(|_| AmountError::NotDecimal)?;
        let millionths =
            whole.checked_mul(ONE).and_then(|w| w.checked_add(fraction)).filter(|&a| a <= Self::MAX_MOVED.0);
        let millionths = millionths.ok_or(AmountError::TooLarge)?;
        Ok(Self(if negative { -millionths } else { millionths }))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / ONE as u64, self.0.unsigned_abs() % ONE as u64);
        write!(f, "{sign}{whole}")?;
        if fraction == 0 {
            return Ok(());
        }
        write!(f, ".{}", format!("{fraction:0>DECIMALS$}").trim_end_matches('0'))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;

        impl de::Visitor<'_> for TextOrNumber {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number such as \"12.5\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Amount, E> {
                // The shortest text of this float is the client's text, unless that has too many digits for an amount.
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(TextOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amount_is_parsed_from_its_own_text() {
        for (text, written) in [
            ("0", "0"),
            ("12.5", "12.5"),
            ("12.50", "12.5"),
            ("-3.000001", "-3.000001"),
            ("-0.5", "-0.5"),
            ("0.1000000000", "0.1"),
            ("9000000000", "9000000000"),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(amount.to_string(), written, "from {text}");
            assert_eq!(written.parse::<Amount>().unwrap(), amount);
        }
    }

    #[test]
    fn invalid_amount_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", AmountError::NotDecimal),
            ("-", AmountError::NotDecimal),
            (".5", AmountError::NotDecimal),
            ("5.", AmountError::NotDecimal),
            ("1e3", AmountError::NotDecimal),
            ("NaN", AmountError::NotDecimal),
            ("--1", AmountError::NotDecimal),
            ("+1", AmountError::NotDecimal),
            ("1,5", AmountError::NotDecimal),
            ("0.0000001", AmountError::TooFine),
            ("9000000000.000001", AmountError::TooLarge),
            ("99999999999999999999", AmountError::TooLarge),
        ] {
            assert_eq!(text.parse::<Amount>(), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn amount_is_read_from_json_text_or_number_and_written_as_text() {
        for (json, text) in [("\"12.5\"", "12.5"), ("12.5", "12.5"), ("100", "100"), ("0.1", "0.1"), ("-2", "-2")] {
            let amount: Amount = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&amount).unwrap(), format!("\"{text}\""));
        }
        for json in ["true", "null", "[]", "1e300", "1e-9"] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn sums_that_do_not_fit_are_noticed() {
        let most = Amount(i64::MAX);
        assert_eq!(most.checked_add(Amount(1)), None);
        assert_eq!(most.negated().checked_sub(Amount(2)), None);
        let tenth: Amount = "0.1".parse().unwrap();
        let sum = (0..10).try_fold(Amount::ZERO, |sum, _| sum.checked_add(tenth)).unwrap();
        assert_eq!(sum, "1".parse().unwrap());
    }
}
