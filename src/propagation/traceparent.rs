//! The `traceparent` header: `version-trace id-parent id-flags`, in lower-case hexadecimal digits.

use crate::record::{SpanId, TraceId};

/// The length of version 00; later versions may append to it.
const LENGTH: usize = 55;

/// Trace id, parent id and the sampled flag; None unless the value is valid. Blanks and tabs around it are no harm.
pub(crate) fn parse(value: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let value = value.trim_ascii();
    let (known, appended) = value.split_at_checked(LENGTH)?;
    let version = hex(known.get(..2)?)?;
    match (version, appended.first()) {
        (0xff, _) | (0, Some(_)) => return None,
        (_, None | Some(b'-')) => {}
        (_, Some(_)) => return None,
    }
    if known[2] != b'-' || known[35] != b'-' || known[52] != b'-' {
        return None;
    }
    let (trace_id, parent_id, flags) = (hex(&known[3..35])?, hex(&known[36..52])?, hex(&known[53..])?);
    if trace_id == 0 || parent_id == 0 {
        return None;
    }
    Some((TraceId(trace_id), SpanId(parent_id as u64), flags & 1 == 1))
}

fn hex(digits: &[u8]) -> Option<u128> {
    let mut value = 0;
    for digit in digits {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u128::from(nibble);
    }
    Some(value)
}

/// The header to send: `parent_id` is the span, or else the transaction, that the call is made in.
pub(crate) fn traceparent(trace_id: TraceId, parent_id: SpanId, sampled: bool) -> String {
    format!("00-{trace_id}-{parent_id}-0{}", u8::from(sampled))
}
