use serde_json::value::RawValue;
use tower_apm::internals::Sanitizer;

use super::json::{Node, parse};

/// As deep as the sanitizer goes, and one level to see that it stops.
const MAX_DEPTH: usize = 32;
/// Characters of a key.
const MAX_KEY: usize = 1024;
const NAMING: [&str; 11] =
    ["name", "key", "field", "header", "param", "parameter", "attribute", "id", "label", "type", "k"];

/// A JSON text. What comes out is the same JSON but for what is secret; of a text that was cut no secret is shown.
pub fn sanitize_json(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let sanitizer = Sanitizer::default();
    let (clean, node) = (sanitizer.json(text), parse(text, MAX_DEPTH + 1));
    if let Some(clean) = &clean {
        assert!(serde_json::from_str::<&RawValue>(clean).is_ok(), "{text} became {clean}, which is no JSON");
    }
    let Some(node) = node else { return };
    let clean = clean.unwrap_or_else(|| panic!("{text} is JSON"));
    let expected = expected(&sanitizer, &node, 1);
    assert_eq!(parse(&clean, MAX_DEPTH + 1).as_ref(), Some(&expected), "{text} became {clean}");

    let mut secrets = Vec::new();
    secret_heads(&sanitizer, &node, false, &mut secrets);
    secrets.retain(|secret| !clean.contains(&**secret));
    let cuts = (0..text.len()).step_by(text.len() / 16 + 1).filter(|cut| text.is_char_boundary(*cut));
    for cut in cuts {
        let cut = &text[..cut];
        let shown = sanitizer.json_prefix(cut).unwrap_or_else(|| panic!("{cut} begins as JSON"));
        for secret in &secrets {
            assert!(!shown.contains(&**secret), "{secret} is shown: {cut} became {shown}");
        }
    }
}

fn expected(sanitizer: &Sanitizer, node: &Node, depth: usize) -> Node {
    match node {
        Node::List(_) | Node::Object(_) if depth > MAX_DEPTH => Node::Text("…".to_owned()),
        Node::Text(text) => Node::Text(sanitizer.text(text)),
        Node::Scalar(scalar) => Node::Scalar(scalar.clone()),
        Node::List(elements) => {
            let element = |(index, element): (usize, &Node)| match index == 1 && is_secret_pair(sanitizer, elements) {
                true => Node::Text("[REDACTED]".to_owned()),
                false => expected(sanitizer, element, depth + 1),
            };
            Node::List(elements.iter().enumerate().map(element).collect())
        }
        Node::Object(members) => {
            let member = |(key, value): &(String, Node)| {
                let value = match sanitizer.is_secret(key) || is_named_secret(sanitizer, key, members) {
                    true => Node::Text("[REDACTED]".to_owned()),
                    false => expected(sanitizer, value, depth + 1),
                };
                let key = match key.chars().count() > MAX_KEY {
                    true => key.chars().take(MAX_KEY - 1).chain(['…']).collect(),
                    false => key.clone(),
                };
                (key, value)
            };
            Node::Object(members.iter().map(member).collect())
        }
    }
}

/// `["password", "…"]`
fn is_secret_pair(sanitizer: &Sanitizer, elements: &[Node]) -> bool {
    matches!(elements, [Node::Text(name), _] if sanitizer.is_secret(name))
}

/// `{"name": "password", "value": "…"}`
fn is_named_secret(sanitizer: &Sanitizer, key: &str, members: &[(String, Node)]) -> bool {
    let is_one_of = |names: &[&str], key: &str| names.iter().any(|name| name.eq_ignore_ascii_case(key));
    is_one_of(&["value", "val", "content", "data", "values", "v"], key)
        && members.iter().any(|(key, value)| {
            is_one_of(&NAMING, key) && matches!(value, Node::Text(name) if sanitizer.is_secret(name))
        })
}

/// The beginnings of all secret values, long enough not to be there by chance.
fn secret_heads(sanitizer: &Sanitizer, node: &Node, secret: bool, found: &mut Vec<String>) {
    match node {
        Node::Text(text) | Node::Scalar(text) => {
            let head: String = text.chars().take(6).collect();
            if secret && head.len() >= 6 {
                found.push(head);
            }
        }
        Node::List(elements) => elements.iter().for_each(|element| secret_heads(sanitizer, element, secret, found)),
        Node::Object(members) => {
            for (key, value) in members {
                let is_secret = secret || sanitizer.is_secret(key);
                secret_heads(sanitizer, value, is_secret, found);
            }
        }
    }
}
