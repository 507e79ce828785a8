//! Identifiers, as the W3C Trace Context and Elastic's intake write them.

use std::fmt;

use serde::{Serialize, Serializer};

use super::random_u64;

/// The id that all transactions, spans and errors of one distributed trace share: 16 bytes, shown as 32 hex digits.
///
/// ```
/// use tower_apm::Transaction;
///
/// // outside of a request there is none
/// assert!(Transaction::current().trace_id().is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub(crate) u128);

/// The id of a transaction or span: 8 bytes, shown as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub(crate) u64);

impl TraceId {
    pub(crate) fn random() -> Self {
        // zero is no id
        Self((u128::from(random_u64()) << 64 | u128::from(random_u64())).max(1))
    }
}

impl SpanId {
    pub(crate) fn random() -> Self {
        Self(random_u64().max(1))
    }
}

fn hex<const N: usize>(value: u128) -> [u8; N] {
    let mut digits = [0; N];
    for (i, digit) in digits.iter_mut().enumerate() {
        let nibble = (value >> ((N - 1 - i) * 4)) as usize & 15;
        *digit = b"0123456789abcdef"[nibble];
    }
    digits
}

macro_rules! hex_text {
    ($id:ty, $digits:literal) => {
        impl $id {
            fn with_text<T>(self, then: impl FnOnce(&str) -> T) -> T {
                let digits = hex::<$digits>(self.0.into());
                then(str::from_utf8(&digits).unwrap_or_default())
            }
        }
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.with_text(|text| f.pad(text))
            }
        }
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.with_text(|text| serializer.serialize_str(text))
            }
        }
    };
}
hex_text!(TraceId, 32);
hex_text!(SpanId, 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_lower_case_hex_of_fixed_width() {
        assert_eq!(TraceId(0xAF).to_string(), "000000000000000000000000000000af");
        assert_eq!(SpanId(0xB7AD_6B71_6920_3331).to_string(), "b7ad6b7169203331");
        assert_eq!(serde_json::to_string(&SpanId(1)).unwrap(), r#""0000000000000001""#);
    }
}
