use tower_apm::internals::wildcard_matches;

/// A pattern, and in the next line a text. The answer is that of a table of all prefixes of both.
pub fn wildcard(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some((pattern, text)) = text.split_once('\n') else { return };
    let matches = wildcard_matches(pattern, text);
    // the table has as many places as both lengths multiplied
    if pattern.len().saturating_mul(text.len()) <= 1 << 20 {
        assert_eq!(matches, by_table(pattern, text), "{pattern:?} {text:?}");
    }
    assert!(wildcard_matches("*", text));
    if !text.contains('*') {
        assert!(wildcard_matches(&format!("(?-i){text}"), text), "{text:?} matches itself");
        assert!(wildcard_matches(&format!("(?i){text}"), text), "{text:?} matches itself");
    }
}

fn by_table(pattern: &str, text: &str) -> bool {
    let (pattern, fold): (&str, fn(&str) -> Vec<char>) = match pattern.strip_prefix("(?-i)") {
        Some(pattern) => (pattern, |text| text.chars().collect()),
        None => (pattern.strip_prefix("(?i)").unwrap_or(pattern), |text| {
            text.chars().flat_map(char::to_lowercase).collect()
        }),
    };
    let (pattern, text) = (fold(pattern), fold(text));
    // whether the pattern so far matches the first so many characters of the text
    let mut matches = vec![false; text.len() + 1];
    matches[0] = true;
    for part in pattern {
        if part == '*' {
            let shortest = matches.iter().position(|matches| *matches).unwrap_or(matches.len());
            matches.iter_mut().skip(shortest).for_each(|matches| *matches = true);
        } else {
            for length in (1..matches.len()).rev() {
                matches[length] = matches[length - 1] && text[length - 1] == part;
            }
            matches[0] = false;
        }
    }
    matches[text.len()]
}
