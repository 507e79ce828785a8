//! What is kept of a transaction after its end, for errors that come late.

use std::borrow::Cow;

use arrayvec::ArrayString;
use http::Method;

use crate::record::{Name, TransactionRecord, known_method};

/// Bytes of a name that are kept without an allocation: every request pays for this, and few have a late error.
const IN_PLACE: usize = 96;

/// Name and type; user, labels and request are gone with the record.
pub(super) struct Rest {
    name: Kept,
    pub(super) kind: Cow<'static, str>,
}

enum Kept {
    Static(&'static str),
    Text(Text),
    /// By method and route, put together only where somebody asks.
    Route(Method, Text),
}

enum Text {
    InPlace(ArrayString<IN_PLACE>),
    Long(Box<str>),
}

impl Rest {
    pub(super) fn of(record: &TransactionRecord) -> Self {
        let name = match (&record.name, &record.context.request) {
            (Name::Text(Cow::Borrowed(name)), _) => Kept::Static(name),
            (Name::Text(Cow::Owned(name)), _) => Kept::Text(Text::of(name)),
            (Name::Route, Some(request)) => {
                let route = request.text.route().unwrap_or("unknown route");
                Kept::Route(request.method.clone(), Text::of(route))
            }
            (Name::Route, None) => Kept::Static("unnamed"),
        };
        Self { name, kind: record.kind.clone() }
    }

    pub(super) fn name(&self) -> Cow<'static, str> {
        match &self.name {
            Kept::Static(name) => (*name).into(),
            Kept::Text(name) => name.as_str().to_owned().into(),
            Kept::Route(method, route) => format!("{} {}", known_method(method), route.as_str()).into(),
        }
    }
}

impl Text {
    fn of(text: &str) -> Self {
        ArrayString::from(text).map_or_else(|_| Self::Long(text.into()), Self::InPlace)
    }

    fn as_str(&self) -> &str {
        match self {
            Self::InPlace(text) => text,
            Self::Long(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_is_kept_whole() {
        for length in [1, IN_PLACE / 2, IN_PLACE / 2 + 1, 1000] {
            let name = "ä".repeat(length);
            for (kept, want) in [
                (Kept::Text(Text::of(&name)), name.clone()),
                (Kept::Route(Method::GET, Text::of(&name)), format!("GET {name}")),
            ] {
                assert_eq!(Rest { name: kept, kind: "request".into() }.name(), want);
            }
        }
    }
}
