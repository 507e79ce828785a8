//! Which media type a body has.

use http::{HeaderMap, header::CONTENT_TYPE};

/// Whether there is one `Content-Type`, and it is exactly this one, with whatever parameters.
pub(crate) fn is(headers: &HeaderMap, wanted: &str) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (values.next(), values.next()) else { return false };
    let essence = only.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(wanted)
}

/// Whether the body is gRPC with messages of protobuf.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    is(headers, "application/grpc") || is(headers, "application/grpc+proto")
}

/// The media type as it was sent, for a message.
pub(crate) fn named(headers: &HeaderMap) -> String {
    let values: Vec<_> = headers.get_all(CONTENT_TYPE).iter().collect();
    match values[..] {
        [] => "none".to_owned(),
        [only] => format!("'{}'", super::store::shorten(&String::from_utf8_lossy(only.as_bytes()))),
        _ => "more than one".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_type_is_compared_without_its_parameters() {
        let is_ndjson = |values: &[&str]| {
            let headers = values.iter().map(|value| (CONTENT_TYPE, value.parse().unwrap())).collect();
            is(&headers, "application/x-ndjson")
        };
        for value in ["application/x-ndjson", "Application/X-NDJSON", "application/x-ndjson ; charset=utf-8"] {
            assert!(is_ndjson(&[value]), "{value}");
        }
        for values in [
            &[][..],
            &[""],
            &["text/plain;x=application/x-ndjson"],
            &["application/x-ndjson2"],
            &["application/x-ndjson, text/plain"],
            &["application/x-ndjson", "text/plain"],
        ] {
            assert!(!is_ndjson(values), "{values:?}");
        }
    }
}
