//! The part of a transaction that is kept after its end, for errors that are captured later.

use std::borrow::Cow;

use http::Method;

use crate::record::{Name, ShortText, TransactionRecord, known_method};

/// The name and type of a transaction that has ended. User, labels and request are dropped with the record.
pub(super) struct EndedTransaction {
    name: Kept,
    pub(super) kind: Cow<'static, str>,
}

enum Kept {
    Static(&'static str),
    Text(ShortText),
    /// The method and the route. The name is composed when it is needed.
    Route(Method, ShortText),
}

impl EndedTransaction {
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
