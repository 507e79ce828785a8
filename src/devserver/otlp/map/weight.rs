//! For how many a span stands: `ot=p:N` in its trace state.

/// One in 2^N. None where each span is sent; 0 where it counts for none.
pub(super) fn sample_rate(trace_state: &str) -> Option<f64> {
    let p = entry(trace_state, "ot", ',', '=').and_then(|ot| entry(ot, "p", ';', ':'))?;
    if p.is_empty() || !p.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match p.parse::<i32>() {
        Ok(0) => None,
        Ok(p @ 1..=62) => Some(0.5_f64.powi(p)),
        _ => Some(0.0),
    }
}

fn entry<'a>(list: &'a str, key: &str, separator: char, assign: char) -> Option<&'a str> {
    list.split(separator)
        .find_map(|entry| entry.trim().split_once(assign).filter(|(known, _)| *known == key))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_rate_is_read_from_powers_of_two_only() {
        for (trace_state, rate) in [
            ("", None),
            ("ot=p:0", None),
            ("ot=p:1", Some(0.5)),
            ("es=s:0.1, ot=r:3;p:2 ,a=b", Some(0.25)),
            ("ot=p:62", Some(0.5_f64.powi(62))),
            ("ot=p:63", Some(0.0)),
            ("ot=p:99999999999", Some(0.0)),
            ("ot=p:-1", None),
            ("ot=p:+1", None),
            ("ot=p:x", None),
            ("es=p:1", None),
        ] {
            assert_eq!(sample_rate(trace_state), rate, "{trace_state}");
        }
    }
}
