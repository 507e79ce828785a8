//! Where to look in an event that came by OTLP for what intake has a place of its own for; see
//! [`docs::otlp`](crate::docs::otlp). Pure.

use serde_json::{Map, Value};

use super::{
    received::text,
    subject::{compare, equal},
};

/// A field of the user: a label.
pub(super) fn user(event: &Value, field: &str, name: &str, expected: &Value) -> Result<(), String> {
    let label = if field == "username" { "user_name".to_owned() } else { format!("user_{field}") };
    compare(event, &format!("/context/tags/{label}"), &format!("{name}, as the label {label},"), expected)
}

/// A header of the `request` or the `response`: a label that is a list.
pub(super) fn header(event: &Value, of: &str, header: &str, name: &str, expected: &Value) -> Result<(), String> {
    let label = format!("http_{of}_header_{header}");
    match event.pointer("/context/tags").and_then(|labels| labels.get(&label)) {
        Some(Value::Array(values)) if values.iter().eq([expected]) => Ok(()),
        Some(found) => Err(format!("{name}, as the label {label}, is {found}")),
        None => Err(format!("{name}, as the label {label}, is not there: only well-known headers go by OTLP")),
    }
}

/// A value of the custom context, by a JSON pointer: labels, one for each value that is neither object nor list.
pub(super) fn custom(event: &Value, pointer: &str, expected: &Value) -> Result<(), String> {
    let none = Map::new();
    let labels = event.pointer("/context/tags").and_then(Value::as_object).unwrap_or(&none);
    let steps: Vec<_> = pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    leaf(labels, &steps, expected)
}

fn leaf(labels: &Map<String, Value>, steps: &[String], expected: &Value) -> Result<(), String> {
    if let (Value::Object(members), None) = (expected, labels.get(&label(steps))) {
        // what is null is not sent
        return members.iter().filter(|(_, value)| !value.is_null()).try_for_each(|(name, value)| {
            let steps: Vec<_> = steps.iter().chain([name]).cloned().collect();
            leaf(labels, &steps, value)
        });
    }
    let told = format!("custom /{}, as the label {},", steps.join("/"), label(steps));
    match find(labels, steps) {
        Some(found) if is_equal(&found, expected) => Ok(()),
        Some(found) => Err(format!("{told} is {found}")),
        None => Err(format!("{told} is not there")),
    }
}

fn label(steps: &[String]) -> String {
    steps.iter().fold("custom".to_owned(), |label, step| label + "_" + &step.replace(['.', '*', '"'], "_"))
}

/// The label at these steps, or within the list of one above.
fn find(labels: &Map<String, Value>, steps: &[String]) -> Option<Value> {
    (1..=steps.len()).rev().find_map(|count| {
        let (above, rest) = steps.split_at_checked(count)?;
        let found = labels.get(&label(above))?;
        rest.iter().try_fold(unfolded(found, !rest.is_empty()), |value, step| match value {
            Value::Array(list) => list.get(step.parse::<usize>().ok()?).cloned(),
            Value::Object(members) => members.get(step).cloned(),
            _ => None,
        })
    })
}

/// Lists of several kinds, deep objects and large numbers are sent as the text of their JSON.
fn unfolded(found: &Value, within: bool) -> Value {
    match found {
        Value::String(text) if within => serde_json::from_str(text).unwrap_or_else(|_| found.clone()),
        other => other.clone(),
    }
}

fn is_equal(found: &Value, expected: &Value) -> bool {
    let as_json = || !expected.is_string() && equal(&unfolded(found, true), expected);
    equal(found, expected) || as_json()
}

/// The type with its path fits the one without.
pub(super) fn is_type(found: &str, kind: &str) -> bool {
    found.strip_suffix(kind).is_some_and(|path| path.is_empty() || path.ends_with("::"))
}

/// The causes are told in the text of the stack only, each behind these words.
pub(super) fn is_caused_by(event: &Value, type_or_message: &str) -> bool {
    stack(event).split("Caused by: ").skip(1).any(|cause| {
        let is_message = |cause: &str| cause.strip_prefix(type_or_message).is_some_and(|rest| rest.starts_with('\n'));
        let (kind, message) = cause.split_once(": ").unwrap_or((cause, ""));
        is_type(kind, type_or_message) || is_message(cause) || is_message(message)
    })
}

pub(super) fn stack(event: &Value) -> &str {
    text(event, "/ecs/error/stack_trace")
}

/// No outcome is unknown, and codes of gRPC are spelt as Go does.
pub(super) fn is_outcome(found: &str, expected: &str) -> bool {
    found == if expected == "unknown" { "success" } else { expected }
}

pub(super) fn is_result(found: &str, expected: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").replace("LL", "L").replace("ll", "l").to_lowercase();
    found == expected || (!found.contains(' ') && plain(found) == plain(expected))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn custom_context_is_found_in_its_labels() {
        let event = json!({ "context": { "tags": {
            "custom_order_id": "o-1",
            "custom_order_count": 3,
            "custom_order_tags": ["a", "b"],
            "custom_order_mixed": "[1,\"b\"]",
            "custom_order_wei": "123456789012345678",
            "custom_order_buyer_city": "Rome",
            "custom_a_b": true,
        } } });
        let is = |pointer: &str, value: Value| custom(&event, pointer, &value).is_ok();
        assert!(is("/order/id", json!("o-1")) && is("/order/count", json!(3.0)) && is("/a.b", json!(true)));
        assert!(is("/order/tags", json!(["a", "b"])) && is("/order/tags/1", json!("b")));
        assert!(is("/order/mixed", json!([1, "b"])) && is("/order/mixed/0", json!(1)));
        assert!(is("/order/wei", json!(123_456_789_012_345_678_u64)));
        assert!(is("/order/buyer", json!({ "city": "Rome", "gone": null })));
        assert!(!is("/order/id", json!("o-2")) && !is("/order/none", json!(1)) && !is("/order/tags/2", json!("b")));
        assert!(!is("/order/buyer", json!({ "city": "Rome", "street": "Via" })) && !is("/order/count", json!("3")));
    }

    #[test]
    fn types_results_and_causes_are_compared_in_their_otlp_form() {
        assert!(is_type("shop::market::Failed", "Failed") && is_type("Failed", "Failed"));
        assert!(!is_type("shop::NotFailed", "Failed"));
        assert!(is_result("NotFound", "NOT_FOUND") && is_result("Canceled", "CANCELLED"));
        assert!(!is_result("HTTP 2xx", "HTTP 5xx") && !is_result("Success", "done"));
        let text = "shop::A: no\n    at f\nCaused by: shop::B: worse: still\n    at g\nCaused by: plain words\n";
        let event = json!({ "ecs": { "error": { "stack_trace": text } } });
        for cause in ["B", "shop::B", "worse: still", "plain words"] {
            assert!(is_caused_by(&event, cause), "{cause}");
        }
        for other in ["A", "no", "worse", "plain"] {
            assert!(!is_caused_by(&event, other), "{other}");
        }
    }
}
