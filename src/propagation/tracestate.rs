//! The `tracestate` header: what each vendor adds to a trace. Only the root of a trace writes Elastic's entry, `es`.

use std::{borrow::Cow, fmt, sync::Arc};

use opentelemetry::trace::TraceState;

use super::bad_input;

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

/// The W3C's limit of 32 entries is not kept, for no vendor's entry may be lost on the way; the bytes of a list are
/// limited instead.
const MAX_BYTES: usize = 8192;
/// The most keys that are compared with each other one by one.
const FEW: usize = 32;

/// Several headers are one list, in their order. None if there is no entry, if one of them is not allowed (the W3C wants
/// the whole list dropped then), or beyond 8 KiB.
pub(super) fn received<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Arc<str>> {
    match joined(values) {
        Some(list) if list.is_empty() => None,
        Some(list) if list.len() <= MAX_BYTES && is_valid(&list) => Some(list.into()),
        // a list of nothing is allowed
        Some(list) if entries(&list).next().is_none() => None,
        _ => {
            bad_input::malformed_tracestate();
            None
        }
    }
}

fn joined<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Cow<'a, str>> {
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
    Some(joined)
}

const BLANK: [char; 2] = [' ', '\t'];

pub(super) fn entries(list: &str) -> impl Iterator<Item = &str> {
    // a blank may begin a value, but not end it
    list.split(',').map(|entry| entry.trim_matches(BLANK)).filter(|entry| !entry.is_empty())
}

fn is_valid(list: &str) -> bool {
    let mut seen = [""; FEW];
    let mut count = 0;
    for entry in entries(list) {
        let Some((key, value)) = entry.split_once('=') else { return false };
        if !is_key(key) || !is_value(value) || seen[..count.min(FEW)].contains(&key) {
            return false;
        }
        if let Some(slot) = seen.get_mut(count) {
            *slot = key;
        }
        count += 1;
    }
    count > 0 && (count <= FEW || is_without_doubles(list))
}

/// For a long list, where comparing each key with each other would take long.
fn is_without_doubles(list: &str) -> bool {
    let mut keys: Vec<_> = entries(list).filter_map(|entry| entry.split('=').next()).collect();
    keys.sort_unstable();
    keys.windows(2).all(|pair| pair[0] != pair[1])
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

const KEY: &str = "es";
const ELASTIC: &str = "es=";

pub(super) fn has_elastic(list: &str) -> bool {
    entries(list).any(|entry| entry.starts_with(ELASTIC))
}

/// For OpenTelemetry, which takes 32 entries at most, and refuses a list for the sake of one entry that it understands
/// otherwise than the W3C's first version: what it takes goes on, Elastic's entry before others.
pub(super) fn to_opentelemetry(list: &str) -> TraceState {
    if let Ok(state) = list.parse::<TraceState>()
        && entries(list).count() <= FEW
    {
        return state;
    }
    let takes = |pair: &(&str, &str)| TraceState::from_key_value([*pair]).is_ok();
    let pairs = || entries(list).filter_map(|entry| entry.split_once('=')).filter(takes);
    let is_ours = |(key, _): &(&str, &str)| *key == KEY;
    let ordered = pairs().filter(is_ours).chain(pairs().filter(|pair| !is_ours(pair)));
    TraceState::from_key_value(ordered).unwrap_or_default()
}

/// The rate of the root, from the entry `es=s:<rate>`; None without one, or if it is no number from 0 to 1.
pub(super) fn sample_rate(list: &str) -> Option<f64> {
    let entry = entries(list).find_map(|entry| entry.strip_prefix(ELASTIC))?;
    let rate = entry.split(';').find_map(|pair| pair.strip_prefix("s:"))?;
    rate.parse().ok().filter(|rate| (0.0..=1.0).contains(rate))
}
