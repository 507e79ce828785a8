//! The `tracestate` header: what each vendor adds to a trace. Only the root of a trace writes Elastic's entry, `es`.

use std::{borrow::Cow, fmt, sync::Arc};

/// What goes on to the services that are called.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Tracestate {
    /// The caller sent none.
    #[default]
    None,
    /// The trace begins here, with this rate (0 if it is not sampled).
    Root(f64),
    /// As it came.
    Received(Arc<str>),
}

impl Tracestate {
    /// The value of the header to send.
    pub(crate) fn header(&self) -> Option<Cow<'_, str>> {
        match self {
            Tracestate::None => None,
            Tracestate::Root(rate) => Some(Cow::Owned(format!("es=s:{rate}"))),
            Tracestate::Received(text) => Some(Cow::Borrowed(text)),
        }
    }
}

impl fmt::Display for Tracestate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.header().unwrap_or_default())
    }
}

/// The most entries of a list, by the W3C.
const MAX_ENTRIES: usize = 32;

/// Several headers are one list, in their order. None if there is no entry or if one of them is not allowed: the W3C
/// wants the whole list dropped then.
pub(super) fn received<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Arc<str>> {
    let mut joined: Cow<'a, str> = Cow::Borrowed("");
    for value in values {
        let value = str::from_utf8(value).ok()?.trim_matches(BLANK);
        if joined.is_empty() {
            joined = Cow::Borrowed(value);
        } else if !value.is_empty() {
            let joined = joined.to_mut();
            joined.push(',');
            joined.push_str(value);
        }
    }
    is_valid(&joined).then(|| joined.into())
}

const BLANK: [char; 2] = [' ', '\t'];

fn entries(list: &str) -> impl Iterator<Item = &str> {
    // a blank may begin a value, but not end it
    list.split(',').map(|entry| entry.trim_matches(BLANK)).filter(|entry| !entry.is_empty())
}

fn is_valid(list: &str) -> bool {
    let mut seen = [""; MAX_ENTRIES];
    let mut count = 0;
    for entry in entries(list) {
        let Some((key, value)) = entry.split_once('=') else { return false };
        if count == MAX_ENTRIES || !is_key(key) || !is_value(value) || seen[..count].contains(&key) {
            return false;
        }
        seen[count] = key;
        count += 1;
    }
    count > 0
}

/// `vendor`, or `tenant@system`.
fn is_key(key: &str) -> bool {
    let letters =
        |part: &str| part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'));
    let letter_first = |part: &str| part.starts_with(|first: char| first.is_ascii_lowercase());
    let digit_first = |part: &str| part.starts_with(|first: char| first.is_ascii_digit());
    match key.split_once('@') {
        None => key.len() <= 256 && (letter_first(key) || digit_first(key)) && letters(key),
        Some((tenant, system)) => {
            tenant.len() <= 241
                && (letter_first(tenant) || digit_first(tenant))
                && letters(tenant)
                && system.len() <= 14
                && letter_first(system)
                && letters(system)
        }
    }
}

fn is_value(value: &str) -> bool {
    let visible = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b',' && byte != b'=';
    !value.is_empty() && value.len() <= 256 && value.bytes().all(visible) && !value.ends_with(' ')
}

const ELASTIC: &str = "es=";

pub(super) fn has_elastic(list: &str) -> bool {
    entries(list).any(|entry| entry.starts_with(ELASTIC))
}

/// The rate of the root, from the entry `es=s:<rate>`; None without one, or if it is no number from 0 to 1.
pub(super) fn sample_rate(list: &str) -> Option<f64> {
    let entry = entries(list).find_map(|entry| entry.strip_prefix(ELASTIC))?;
    let rate = entry.split(';').find_map(|pair| pair.strip_prefix("s:"))?;
    rate.parse().ok().filter(|rate| (0.0..=1.0).contains(rate))
}
