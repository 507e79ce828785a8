//! A captured request body as text, redacted by its media type.

use std::borrow::Cow;

use crate::{
    record::Body,
    sanitize::{REDACTED, Sanitizer},
    semconv::{long, map_text},
};

/// Returns the text of a body. A body that is declared as JSON but is not valid JSON is replaced by `[REDACTED]`.
pub(super) fn body<'a>(body: &'a Body, sanitizer: &Sanitizer) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(&body.bytes);
    let clean = match &*body.content_type {
        "application/x-www-form-urlencoded" => map_text(text, |text| sanitizer.query(text)),
        kind if is_json(kind) => json(&text, body, sanitizer).map_or(Cow::Borrowed(REDACTED), Cow::Owned),
        kind if is_xml(kind) => map_text(text, |text| sanitizer.xml_text(text)),
        // browsers send JSON as `text/plain`
        _ => match Some(&text).filter(|text| looks_like_json(text)).and_then(|text| json(text, body, sanitizer)) {
            Some(clean) => Cow::Owned(clean),
            None => map_text(text, |text| sanitizer.text(text)),
        },
    };
    match body.truncated && !clean.ends_with('…') && clean != REDACTED {
        true => long(format!("{clean}…"), sanitizer),
        false => long(clean, sanitizer),
    }
}

fn json(text: &str, body: &Body, sanitizer: &Sanitizer) -> Option<String> {
    if body.truncated { sanitizer.json_prefix(text) } else { sanitizer.json_text(text) }
}

fn looks_like_json(text: &str) -> bool {
    text.trim_ascii_start().starts_with(['{', '[', '"'])
}

fn is_json(content_type: &str) -> bool {
    ["application/json", "text/json"].contains(&content_type) || content_type.ends_with("+json")
}

fn is_xml(content_type: &str) -> bool {
    ["application/xml", "text/xml"].contains(&content_type) || content_type.ends_with("+xml")
}

/// Whether a body is declared as JSON and is none, by the text that is sent of it.
pub(crate) fn is_broken(body: &Body, text: &str) -> bool {
    text == REDACTED && is_json(&body.content_type) && !body.bytes.trim_ascii().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_bodies_are_redacted() {
        for (content_type, text, truncated, sent) in [
            ("application/json", r#"{"a":[{"password":"hunter2"}]}"#, false, r#"{"a":[{"password":"[REDACTED]"}]}"#),
            ("application/problem+json", r#"{"secret":"hunter2"}"#, false, r#"{"secret":"[REDACTED]"}"#),
            ("application/json", "password=hunter2", false, "[REDACTED]"),
            ("application/x-www-form-urlencoded", "a=1&password=hunter2", false, "a=1&password=[REDACTED]"),
            ("text/plain", "hello", false, "hello"),
            ("text/plain", "hello", true, "hello…"),
            ("text/plain", "h\u{e4}", false, "hä"),
        ] {
            let captured = Body { bytes: text.into(), content_type: content_type.into(), truncated };
            assert_eq!(body(&captured, &Sanitizer::default()), sent);
        }
    }

    #[test]
    fn truncated_json_body_is_redacted() {
        let text = r#"{"a":1,"password":"hunter2 and"#;
        let captured = Body { bytes: text.into(), content_type: "application/json".into(), truncated: true };
        let sent = body(&captured, &Sanitizer::default());
        assert!(sent.starts_with(r#"{"a":1,"#) && sent.ends_with('…') && !sent.contains("hunter2"), "{sent}");
    }

    #[test]
    fn body_is_truncated_to_ten_thousand_characters() {
        let captured = Body { bytes: "ä".repeat(20_000).into(), content_type: "text/plain".into(), truncated: true };
        let sent = body(&captured, &Sanitizer::default());
        assert_eq!(sent.chars().count(), 10_000);
        assert!(sent.ends_with('…'));
    }
}
