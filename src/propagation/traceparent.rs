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
    let trace_id = u128::from(hex(&known[3..19])?) << 64 | u128::from(hex(&known[19..35])?);
    let (parent_id, flags) = (hex(&known[36..52])?, hex(&known[53..])?);
    if trace_id == 0 || parent_id == 0 {
        return None;
    }
    Some((TraceId(trace_id), SpanId(parent_id), flags & 1 == 1))
}

/// At most 16 digits. A digit that is none shows at the end only: this runs for each request, and nearly all are valid.
fn hex(digits: &[u8]) -> Option<u64> {
    let mut value = 0;
    let mut wrong = 0;
    for digit in digits {
        let nibble = NIBBLES[usize::from(*digit)];
        wrong |= nibble;
        value = value << 4 | u64::from(nibble & 15);
    }
    (wrong & 0x80 == 0).then_some(value)
}

static NIBBLES: [u8; 256] = {
    let mut nibbles = [0x80; 256];
    let mut value = 0;
    while value < 16 {
        nibbles[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    nibbles
};

/// The header to send: `parent_id` is the span, or else the transaction, that the call is made in.
pub(crate) fn traceparent(trace_id: TraceId, parent_id: SpanId, sampled: bool) -> String {
    format!("00-{trace_id}-{parent_id}-0{}", u8::from(sampled))
}
