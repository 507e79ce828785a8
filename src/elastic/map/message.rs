//! Maps `context.message` of a consumer's transaction.

use std::borrow::Cow;

use super::{
    body::body,
    request::{Content, header_value},
};
use crate::{
    elastic::model::{self, Age, HeaderValue, Headers, Queue},
    record::{Message, MessageHeaders},
    sanitize::Sanitizer,
    semconv::{free_keyword, keyword},
};

/// Returns `None` if there is no data about the message, for example for a batch from several topics.
pub(super) fn message<'a>(message: &'a Message, sanitizer: &Sanitizer) -> Option<model::Message<'a>> {
    let queue = Some(&*message.queue).filter(|name| !name.is_empty());
    let message = model::Message {
        queue: queue.map(|name| Queue { name: free_keyword(name, sanitizer) }),
        routing_key: message.routing_key.as_deref().map(|key| free_keyword(key, sanitizer)),
        age: message.age.map(|age| Age { ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX) }),
        headers: message.headers.as_ref().map(|all| headers(all, sanitizer)).unwrap_or_default(),
        body: message.body.as_ref().map(|captured| body(captured, sanitizer)),
    };
    let is_known = message.queue.is_some()
        || message.routing_key.is_some()
        || message.age.is_some()
        || message.body.is_some()
        || !message.headers.0.is_empty();
    is_known.then_some(message)
}

/// Maps the headers. Their names are case-sensitive, and a name can occur several times.
fn headers<'a>(captured: &'a MessageHeaders, sanitizer: &Sanitizer) -> Headers<'a> {
    let mut headers = Headers::default();
    for (name, value) in captured.iter() {
        let lower_case = name.to_ascii_lowercase();
        let value = header_value(&lower_case, Content::of(&lower_case), Cow::Borrowed(value), sanitizer);
        let name = keyword(name);
        match headers.0.iter_mut().find(|(present, _)| *present == name) {
            Some((_, present)) => present.push(value),
            None => headers.0.push((name, HeaderValue::One(value))),
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapped(all: &[(&str, &str)]) -> serde_json::Value {
        let mut captured = MessageHeaders::default();
        all.iter().for_each(|(name, value)| captured.push(name, value.as_bytes()));
        serde_json::to_value(headers(&captured, &Sanitizer::default())).unwrap()
    }

    #[test]
    fn headers_are_redacted_whatever_the_case_of_their_name() {
        let sent = mapped(&[
            ("Authorization", "hunter2"),
            ("COOKIE", "a=hunter2"),
            ("Baggage", "password=hunter2,shop=1"),
            ("note", "password=hunter2"),
            ("tenant", "acme"),
        ]);
        assert!(!sent.to_string().contains("hunter2"), "{sent}");
        assert_eq!(sent["Authorization"], "[REDACTED]");
        assert_eq!(sent["tenant"], "acme");
    }

    #[test]
    fn values_of_one_name_are_a_list() {
        let sent = mapped(&[("a", "1"), ("b", "2"), ("a", "3"), ("a", "4"), ("A", "5")]);
        assert_eq!(sent, json!({ "a": ["1", "3", "4"], "b": "2", "A": "5" }));
    }
}
