//! What is kept of a transaction after its end, for errors that come late.

use std::{borrow::Cow, fmt::Write};

use arrayvec::ArrayString;

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
    InPlace(ArrayString<IN_PLACE>),
    Long(Box<str>),
}

impl Rest {
    pub(super) fn of(record: &TransactionRecord) -> Self {
        let name = match (&record.name, &record.context.request) {
            (Name::Text(Cow::Borrowed(name)), _) => Kept::Static(name),
            (Name::Text(Cow::Owned(name)), _) => keep(&[name]),
            (Name::Route, Some(request)) => {
                let route = request.text.route().unwrap_or("unknown route");
                keep(&[known_method(&request.method), " ", route])
            }
            (Name::Route, None) => Kept::Static("unnamed"),
        };
        Self { name, kind: record.kind.clone() }
    }

    pub(super) fn name(&self) -> &str {
        match &self.name {
            Kept::Static(name) => name,
            Kept::InPlace(name) => name,
            Kept::Long(name) => name,
        }
    }
}

fn keep(parts: &[&str]) -> Kept {
    let mut name = ArrayString::new();
    match parts.iter().try_for_each(|part| name.write_str(part)) {
        Ok(()) => Kept::InPlace(name),
        Err(_) => Kept::Long(parts.concat().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_is_kept_whole() {
        for length in [1, IN_PLACE, IN_PLACE + 1, 1000] {
            let name = "ä".repeat(length);
            let rest = Rest { name: keep(&[&name[..2], &name[2..]]), kind: "request".into() };
            assert_eq!(rest.name(), name);
        }
    }
}
