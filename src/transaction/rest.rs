//! What is kept of a transaction after its end, for errors that come late.

use std::borrow::Cow;

use http::Method;

use crate::record::{Name, ShortText, TransactionRecord, known_method};

/// Name and type; user, labels and request are gone with the record.
pub(super) struct Rest {
    name: Kept,
    pub(super) kind: Cow<'static, str>,
}

enum Kept {
    Static(&'static str),
    Text(ShortText),
    /// By method and route, put together only where somebody asks.
    Route(Method, ShortText),
}

impl Rest {
    pub(super) fn of(record: &TransactionRecord) -> Self {
        let name = match (&record.name, &record.context.request) {
            (Name::Text(Cow::Borrowed(name)), _) => Kept::Static(name),
            (Name::Text(Cow::Owned(name)), _) => Kept::Text((&**name).into()),
            (Name::Route, Some(request)) => {
                let route = request.text.route().unwrap_or("unknown route");
                Kept::Route(request.method.clone(), route.into())
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
