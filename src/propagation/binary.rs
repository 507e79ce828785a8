//! The binary form that a Kafka record's header `elasticapmtraceparent` has: version, then numbered fields.

use crate::record::{SpanId, TraceId};

/// Version 0 (1 byte), trace id (field 0, 16 bytes), parent id (field 1, 8 bytes), flags (field 2, 1 byte).
const LENGTH: usize = 29;

pub(crate) fn parse(value: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let value: &[u8; LENGTH] = value.try_into().ok()?;
    if (value[0], value[1], value[18], value[27]) != (0, 0, 1, 2) {
        return None;
    }
    let trace_id = u128::from_be_bytes(value[2..18].try_into().ok()?);
    let parent_id = u64::from_be_bytes(value[19..27].try_into().ok()?);
    (trace_id != 0 && parent_id != 0).then_some((TraceId(trace_id), SpanId(parent_id), value[28] & 1 == 1))
}

pub(crate) fn encode(trace_id: TraceId, parent_id: SpanId, sampled: bool) -> [u8; LENGTH] {
    let mut value = [0; LENGTH];
    value[2..18].copy_from_slice(&trace_id.0.to_be_bytes());
    value[18] = 1;
    value[19..27].copy_from_slice(&parent_id.0.to_be_bytes());
    value[27] = 2;
    value[28] = sampled.into();
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_header_has_the_layout_of_elastic_agents() {
        let value = encode(TraceId(0x0102), SpanId(0x0304), true);
        let mut expected = vec![0, 0];
        expected.extend([&[0; 14][..], &[1, 2], &[1], &[0; 6], &[3, 4], &[2, 1]].concat());
        assert_eq!(value.to_vec(), expected);
        assert_eq!(parse(&value), Some((TraceId(0x0102), SpanId(0x0304), true)));
    }

    #[test]
    fn truncated_binary_header_is_rejected() {
        let valid = encode(TraceId(1), SpanId(2), false);
        assert_eq!(parse(&valid), Some((TraceId(1), SpanId(2), false)));
        for at in [0, 1, 18, 27] {
            let mut wrong = valid;
            wrong[at] = 9;
            assert_eq!(parse(&wrong), None, "byte {at}");
        }
        for length in 0..LENGTH {
            assert_eq!(parse(&valid[..length]), None, "{length} bytes");
        }
        assert_eq!(parse(&[&valid[..], &[0]].concat()), None);
        assert_eq!(parse(&encode(TraceId(0), SpanId(2), true)), None);
        assert_eq!(parse(&encode(TraceId(1), SpanId(0), true)), None);
    }
}
