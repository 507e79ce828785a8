use http::{HeaderMap, HeaderName, HeaderValue};
use tower_apm::internals::trace_headers as read;

/// Headers, a line each, as `traceparent: value`. What is understood is what was written, and goes on as it came.
pub fn trace_headers(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let parents: Vec<_> = headers.get_all("traceparent").iter().map(HeaderValue::as_bytes).collect();
    let parents: Vec<_> = parents.into_iter().map(String::from_utf8_lossy).collect();
    let written = match &parents[..] {
        [one] => parent(one),
        _ => None,
    };
    let understood = read(&headers);
    assert_eq!(understood.is_some(), written.is_some(), "{headers:?}");
    let (Some(understood), Some([trace_id, parent_id, flags])) = (understood, written) else { return };
    assert_eq!((&*understood.trace_id, &*understood.parent_id), (trace_id, parent_id));
    let flags = u8::from_str_radix(flags, 16).expect("two digits");
    assert_eq!(understood.sampled, flags & 1 == 1);

    let out = &understood.passed_on;
    let line = format!("00-{trace_id}-{parent_id}-0{}", flags & 1);
    assert_eq!(out.get_all("traceparent").iter().collect::<Vec<_>>(), [line.as_str()]);
    assert_eq!(read(out).as_ref(), Some(&understood), "what goes on is understood by the next one");

    let states = headers.get_all("tracestate").iter().map(HeaderValue::as_bytes);
    let states: Vec<_> = states.map(String::from_utf8_lossy).collect();
    let states = states.join(",");
    let sent: Vec<_> = out.get_all("tracestate").iter().map(|value| value.to_str().expect("it is visible")).collect();
    assert!(sent.len() <= 1);
    if let [sent] = sent[..] {
        let entries: Vec<_> = entries(sent).collect();
        assert_eq!(entries, self::entries(&states).collect::<Vec<_>>(), "all entries, in their order");
        assert!(!entries.is_empty() && sent.len() <= 8192);
        assert!(entries.iter().all(|entry| entry.len() <= 256 + 1 + 256));
        let mut keys: Vec<_> = entries.iter().filter_map(|entry| entry.split_once('=')).map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), entries.len(), "each key once: {sent}");
    }
    if let Some(rate) = understood.sample_rate {
        assert!((0.0..=1.0).contains(&rate) && (understood.sampled || rate == 0.0), "{rate}");
        assert!(entries(&states).any(|entry| entry.starts_with("es=")), "{states}");
    }
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(|entry| entry.trim_matches([' ', '\t'])).filter(|entry| !entry.is_empty())
}

/// Trace id, parent id and flags, by the letter of the W3C's rules.
fn parent(value: &str) -> Option<[&str; 3]> {
    let mut parts = value.trim_ascii().splitn(5, '-');
    let digits = |text: &&str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut part = |length| parts.next().filter(|part| part.len() == length).filter(digits);
    let (version, trace_id, parent_id, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_nothing = |id: &str| id.bytes().all(|digit| digit == b'0');
    let more = parts.next().is_some();
    let invalid = version == "ff" || (version == "00" && more) || is_nothing(trace_id) || is_nothing(parent_id);
    (!invalid).then_some([trace_id, parent_id, flags])
}
