use super::*;

/// `good` is a JSON object; each case replaces one member (or removes it) and tells whether the line is still taken.
fn verdict(line: &str) -> Result<Option<Kind>, String> {
    let verdict = if line.starts_with("{\"metadata") { judge_metadata(line) } else { judge_event(line) };
    match verdict {
        Verdict::Accepted { kind, .. } => Ok(Some(kind)),
        Verdict::Ignored => Ok(None),
        Verdict::Rejected { message, .. } => Err(message),
    }
}

#[test]
fn a() {
    assert!(verdict("{}").is_err());
}
