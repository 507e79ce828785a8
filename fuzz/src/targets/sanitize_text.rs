use tower_apm::internals::{Sanitizer, default_secret_names, wildcard_matches};

const REDACTED: &str = "[REDACTED]";

/// The redaction of text, which is used as a name, a query, cookies and a sentence with URLs.
///
/// Secrets are removed, and all other text is unchanged.
pub fn sanitize_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let sanitizer = Sanitizer::default();
    name(&sanitizer, &text);
    query(&sanitizer, &text);
    cookies(&sanitizer, &text);
    urls(&sanitizer, &text);
    free_text(&sanitizer, &text);
}

/// A secret in front of a text is redacted whatever the text is, and what comes out is bounded.
fn free_text(sanitizer: &Sanitizer, text: &str) {
    assert!(sanitizer.text(text).len() <= 11 * text.len() + 100, "{text:?}");
    let _ = sanitizer.name(text);
    if text.contains("hunter2") {
        return;
    }
    for secret in ["password=hunter2 ", "{\"password\": \"hunter2\"} ", "Login { password: Some(\"hunter2\") } "] {
        let clean = sanitizer.text(&format!("{secret}{text}"));
        assert!(!clean.contains("hunter2"), "{secret}{text:?} became {clean:?}");
    }
}

fn name(sanitizer: &Sanitizer, name: &str) {
    let patterns = default_secret_names();
    let secret =
        |name: &str| patterns.iter().any(|pattern| !pattern.starts_with('!') && wildcard_matches(pattern, name));
    let exception = |name: &str| {
        let mut exceptions = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!'));
        exceptions.any(|pattern| wildcard_matches(pattern, name))
    };
    if name.starts_with(':') {
        assert!(!sanitizer.is_secret(name), "{name:?} is a pseudo header");
    } else if !name.contains(['.', '[', ']']) {
        assert_eq!(sanitizer.is_secret(name), secret(name) && !exception(name), "{name:?}");
    } else if name.split(['.', '[', ']']).any(|part| secret(part) && !exception(part)) {
        assert!(sanitizer.is_secret(name), "a part of {name:?} is secret");
    }
}

fn query(sanitizer: &Sanitizer, query: &str) {
    let clean = sanitizer.query(query);
    let (before, after): (Vec<_>, Vec<_>) = (query.split('&').collect(), clean.split('&').collect());
    assert_eq!(before.len(), after.len(), "{query:?} became {clean:?}");
    before.iter().zip(&after).for_each(|(before, after)| pairs(sanitizer, before, after));
    let escaped: String = query.bytes().take(512).map(|byte| format!("%{byte:02x}")).collect();
    let hidden = sanitizer.query(&format!("{escaped}=hunter2")).ends_with(REDACTED);
    let head = &query.as_bytes()[..query.len().min(512)];
    assert_eq!(hidden, sanitizer.is_secret(&String::from_utf8_lossy(head)), "{query:?} with escapes");
}

/// What lies between two `&`. Some take `;` for the end of a pair too, and some for a part of the value: behind a secret
/// nothing is left.
fn pairs(sanitizer: &Sanitizer, before: &str, after: &str) {
    let mut after_parts = after.split(';');
    for part in before.split(';') {
        let Some(shown) = after_parts.next() else { panic!("{before:?} became {after:?}") };
        if let Some((name, value)) = part.split_once('=').filter(|(_, value)| !value.is_empty()) {
            let is_hidden = shown == format!("{name}={REDACTED}");
            // a name with an escape in it is secret or not by what it means, which is asked below
            if is_hidden && (name.contains('%') || sanitizer.is_secret(name)) && value != REDACTED {
                assert_eq!(after_parts.next(), None, "{before:?} became {after:?}");
                return;
            }
            let must_hide = !name.contains('%') && sanitizer.is_secret(name.trim());
            assert!(!must_hide || is_hidden, "{before:?} became {after:?}");
            if must_hide {
                assert_eq!(after_parts.next(), None, "{before:?} became {after:?}");
                return;
            }
        }
        // a value may hold further names with values
        let is_plain = part
            .split_once('=')
            .is_none_or(|(_, value)| !value.contains(['%', ':', '=', '"', '(']) && sanitizer.text(value) == value);
        assert!(!is_plain || shown == part, "{before:?} became {after:?}");
        if shown.ends_with(REDACTED) && part.contains('%') && shown == after.rsplit(';').next().unwrap_or_default() {
            return;
        }
    }
    assert_eq!(after_parts.next(), None, "{before:?} became {after:?}");
}

fn cookies(sanitizer: &Sanitizer, header: &str) {
    let cookies = sanitizer.cookies(header);
    assert!(cookies.len() <= header.split(';').count());
    for (name, value) in cookies {
        assert!(!name.is_empty() && header.contains(&name), "{name:?} of {header:?}");
        if sanitizer.is_secret(&name) {
            assert!(value == REDACTED || value.is_empty(), "{value:?} of {header:?}");
        }
    }
}

fn urls(sanitizer: &Sanitizer, text: &str) {
    let clean = sanitizer.urls_in(text);
    if !text.contains("://") && !text.contains('?') && !text.contains('#') {
        assert_eq!(clean, text);
    }
    for (at, _) in clean.match_indices("://") {
        let rest = &clean[at + 3..];
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"<>`".contains(c)).unwrap_or(rest.len());
        if let Some((user, _)) = rest[..end].rsplit_once('@') {
            assert!(user.is_empty() || user == REDACTED, "{user:?} is shown: {text:?} became {clean:?}");
        }
    }
    let url = format!("see https://ada:{}@h/?q=1&access_token={}", "hunter2", "hunter2");
    assert!(!sanitizer.urls_in(&format!("{text} {url}")).contains("hunter2") || text.contains("hunter2"), "{text:?}");
}
