//! What a developer adds: user, labels and custom context; and the HTTP exchange beside it.

use std::{borrow::Cow, fmt};

use super::{HttpRequest, HttpResponse, catch, is_nested};

/// Values of custom context that one transaction or error keeps.
pub(crate) const MAX_CUSTOM_KEYS: usize = 128;
/// The bytes of custom context, keys included, that one transaction or error keeps. An event line may have 300 KiB.
pub(crate) const MAX_CUSTOM_BYTES: usize = 64 * 1024;
/// Objects and arrays of custom context within each other; what is deeper is left out. The index refuses documents that
/// are much deeper.
pub(crate) const MAX_CUSTOM_DEPTH: usize = 32;

/// Labels of one transaction or error. Each is a field of the index, which has about a thousand.
pub(crate) const MAX_LABELS: usize = 128;
/// Bytes of 1024 characters of any kind, and of one more, so that the worker sees that there was more.
const MAX_KEYWORD_BYTES: usize = 4 * 1025;

/// The beginning of a text that is sent as a keyword. The worker counts characters; this keeps memory in bounds.
pub(crate) fn cut(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= MAX_KEYWORD_BYTES {
        return text;
    }
    Cow::Owned(text[..boundary(&text, MAX_KEYWORD_BYTES)].to_owned())
}

/// The end of the last character that ends before so many bytes.
pub(crate) fn boundary(text: &str, bytes: usize) -> usize {
    (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

/// Shared shape of a transaction's and an error's context.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context {
    pub(crate) user: Option<Box<User>>,
    pub(crate) labels: Vec<Label>,
    pub(crate) custom: Vec<Custom>,
    pub(crate) request: Option<HttpRequest>,
    pub(crate) response: Option<HttpResponse>,
    /// `service.framework.name`
    pub(crate) framework: Option<&'static str>,
}

#[derive(Clone)]
pub(crate) struct Label {
    pub(crate) key: Cow<'static, str>,
    pub(crate) value: LabelValue,
}

/// One value of custom context: already JSON, not yet sanitised.
#[derive(Clone)]
pub(crate) struct Custom {
    pub(crate) key: Cow<'static, str>,
    pub(crate) json: Box<str>,
}

/// The value of a label. Elasticsearch indexes text and booleans in `labels.*`, and numbers in `numeric_labels.*`.
///
/// Pass ids as text. A label that is sometimes a number and sometimes text becomes two fields, and a search in one field does
/// not find the other.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LabelValue {
    /// Text, which is cut to 1024 characters when it is sent.
    Text(Cow<'static, str>),
    /// An integer. Integers beyond ±9.2e12 are sent as text, because the index would round them.
    Integer(i64),
    /// A number. `NaN` and infinite values are sent as text.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
}

macro_rules! label_value_from {
    ($($from:ty => |$value:ident| $to:expr),+ $(,)?) => {$(
        impl From<$from> for LabelValue {
            fn from($value: $from) -> Self {
                $to
            }
        }
    )+};
}
label_value_from! {
    String => |value| LabelValue::Text(value.into()),
    &String => |value| LabelValue::Text(value.clone().into()),
    &str => |value| LabelValue::Text(value.to_owned().into()),
    &&str => |value| LabelValue::Text((*value).to_owned().into()),
    Cow<'static, str> => |value| LabelValue::Text(value),
    Box<str> => |value| LabelValue::Text(value.into_string().into()),
    bool => |value| LabelValue::Bool(value),
    f64 => |value| LabelValue::Float(value),
    f32 => |value| LabelValue::Float(value.into()),
    i64 => |value| LabelValue::Integer(value),
    i32 => |value| LabelValue::Integer(value.into()),
    i16 => |value| LabelValue::Integer(value.into()),
    i8 => |value| LabelValue::Integer(value.into()),
    u32 => |value| LabelValue::Integer(value.into()),
    u16 => |value| LabelValue::Integer(value.into()),
    u8 => |value| LabelValue::Integer(value.into()),
    u64 => |value| i64::try_from(value).map_or_else(|_| LabelValue::Text(value.to_string().into()), LabelValue::Integer),
    usize => |value| LabelValue::from(value as u64),
}

/// The user of a transaction. The fields `user.*` are indexed, so you can search for all requests of a user.
///
/// ```
/// use tower_apm::{Transaction, User};
///
/// Transaction::current().set_user(User::id("0xabc").email("ada@example.com").name("Ada"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct User {
    pub(crate) id: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) domain: Option<String>,
    /// The id's `Display` panicked: it is counted where the user is told.
    pub(crate) panicked: bool,
    /// True if the user was taken from attributes of spans, because the code has not set a user.
    pub(crate) is_from_span: bool,
}

impl User {
    /// Creates a user with an id (`user.id`), which is cut to 1024 characters when it is sent.
    ///
    /// If `Display` panics, or if this method is called in a `Display` implementation that the agent calls, the user has no id.
    pub fn id(id: impl fmt::Display) -> Self {
        if is_nested() {
            return Self::default();
        }
        let id = catch(|| id.to_string());
        Self { panicked: id.is_none(), id, ..Self::default() }
    }

    /// Sets `user.email`.
    #[must_use]
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// Sets `user.name`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets `user.domain`: the directory or tenant of the user.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }
}

impl User {
    /// Sets fields of the user. They replace fields that the code has set before. A user from spans is replaced as a
    /// whole.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.is_from_span {
            *self = Self::default();
        }
        let Self { id, email, name, domain, panicked: _, is_from_span: _ } = other;
        for (known, new) in
            [(&mut self.id, id), (&mut self.email, email), (&mut self.name, name), (&mut self.domain, domain)]
        {
            if let Some(new) = new {
                *known = Some(cut(new.into()).into_owned());
            }
        }
    }
}

impl Context {
    pub(crate) fn heap_size(&self) -> usize {
        let user = self.user.as_ref().map_or(0, |user| {
            let text = [&user.id, &user.email, &user.name, &user.domain];
            size_of::<User>() + text.iter().map(|t| t.as_ref().map_or(0, String::len)).sum::<usize>()
        });
        let labels: usize = self.labels.iter().map(Label::size).sum();
        let custom: usize = self.custom.iter().map(Custom::size).sum();
        let request = self.request.as_ref().map_or(0, HttpRequest::heap_size);
        user + labels + custom + request + self.response.as_ref().map_or(0, HttpResponse::heap_size)
    }

    /// Sets or replaces a label, cut to what can be sent. False where there are too many.
    pub(crate) fn set_label(&mut self, key: Cow<'static, str>, value: LabelValue) -> bool {
        let value = match value {
            LabelValue::Text(text) => LabelValue::Text(cut(text)),
            other => other,
        };
        if let Some(label) = self.labels.iter_mut().find(|label| label.key == key) {
            label.value = value;
        } else if self.labels.len() < MAX_LABELS {
            self.labels.push(Label { key: cut(key), value });
        } else {
            return false;
        }
        true
    }

    /// Sets or replaces (shallow, as in elastic-apm-node) a value of custom context. Returns false, and keeps what is
    /// there, if there is no room.
    pub(crate) fn set_custom(&mut self, key: Cow<'static, str>, json: Box<str>) -> bool {
        if self.room_for_custom(&key).is_none_or(|room| room < json.len()) {
            return false;
        }
        match self.custom.iter_mut().find(|custom| custom.key == key) {
            Some(custom) => custom.json = json,
            None => self.custom.push(Custom { key, json }),
        }
        true
    }

    /// Bytes that a value of this key may have. `None` if there is no room for the key.
    pub(crate) fn room_for_custom(&self, key: &str) -> Option<usize> {
        let others = self.custom.iter().filter(|custom| custom.key != key);
        let (keys, bytes) = others
            .fold((0, key.len()), |(keys, bytes), custom| (keys + 1, bytes + custom.key.len() + custom.json.len()));
        if keys < MAX_CUSTOM_KEYS { MAX_CUSTOM_BYTES.checked_sub(bytes) } else { None }
    }
}

impl Label {
    pub(super) fn size(&self) -> usize {
        let value = match &self.value {
            LabelValue::Text(text) => text.len(),
            _ => 0,
        };
        size_of::<Self>() + self.key.len() + value
    }
}

impl Custom {
    fn size(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.json.len()
    }
}

// Values may be personal: keys only.
impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: …", self.key)
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: …", self.key)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_set_again_is_replaced() {
        let mut context = Context::default();
        context.set_label("a".into(), 1.into());
        context.set_label("a".into(), "2".into());
        assert_eq!(context.labels.len(), 1);
        assert_eq!(context.labels[0].value, LabelValue::Text("2".into()));
        context.set_custom("c".into(), "1".into());
        context.set_custom("c".into(), "{}".into());
        assert_eq!(context.custom.len(), 1);
        assert_eq!(context.room_for_custom("x"), Some(MAX_CUSTOM_BYTES - 4));
        assert_eq!(context.room_for_custom("c"), Some(MAX_CUSTOM_BYTES - 1));
    }

    #[test]
    fn custom_context_is_limited_in_keys_and_bytes() {
        let mut context = Context::default();
        let set = (0..1000).filter(|i| context.set_custom(format!("k{i}").into(), "1".into())).count();
        assert_eq!((set, context.custom.len()), (MAX_CUSTOM_KEYS, MAX_CUSTOM_KEYS));
        assert!(context.set_custom("k1".into(), "2".into()), "one that is there can be replaced");
        assert!(!context.set_custom("k1".into(), "2".repeat(MAX_CUSTOM_BYTES).into()), "but not by what has no room");
        assert_eq!(&*context.custom[1].json, "2");

        let mut context = Context::default();
        let set =
            (0..100).filter(|i| context.set_custom(format!("{i}{}", "k".repeat(4000)).into(), "1".into())).count();
        assert_eq!(set, MAX_CUSTOM_BYTES / 4003);
        assert!(context.heap_size() < MAX_CUSTOM_BYTES + MAX_CUSTOM_KEYS * size_of::<Custom>());
    }

    #[test]
    fn values_over_the_send_limits_are_not_kept() {
        let mut context = Context::default();
        context.set_label("big".into(), "ä".repeat(1_000_000).into());
        assert!(context.heap_size() < 10_000);
        let set = (0..1000).filter(|i| context.set_label(format!("k{i}").into(), 1.into())).count();
        assert_eq!(set, MAX_LABELS - 1);
        assert!(context.set_label("k1".into(), 2.into()), "one that is there can be replaced");
    }

    #[test]
    fn number_over_i64_max_becomes_text() {
        assert_eq!(LabelValue::from(u64::MAX), LabelValue::Text(u64::MAX.to_string().into()));
        assert_eq!(LabelValue::from(7_usize), LabelValue::Integer(7));
    }

    #[test]
    fn debug_shows_no_values() {
        let custom = Custom { key: "card".into(), json: "hunter2".into() };
        let user = User::id("u1").email("secret@example.com");
        assert!(!format!("{custom:?}{user:?}").contains("hunter2"));
        assert!(!format!("{user:?}").contains("secret@"));
    }
}
