//! Checks that several kinds of events have in common, written once.

/// For every event: labels, fields, ids.
macro_rules! event_checks {
    ($expected:ident) => {
        impl $expected {
            /// The value at a JSON pointer into the event as it was sent, such as `/context/request/url/full`.
            #[track_caller]
            pub fn field(self, pointer: &str, value: impl Into<serde_json::Value>) -> Self {
                let value = value.into();
                let subject = self.subject.check(&format!("with {pointer} = {value}"), |event| {
                    crate::testkit::subject::compare(event, pointer, pointer, &value)
                });
                Self { subject }
            }

            /// Nothing is at that JSON pointer.
            #[track_caller]
            pub fn no_field(self, pointer: &str) -> Self {
                let subject = self.subject.check(&format!("without {pointer}"), |event| match event.pointer(pointer) {
                    Some(found) => Err(format!("{pointer} is {found}")),
                    None => Ok(()),
                });
                Self { subject }
            }

            /// The text at a JSON pointer contains this.
            #[track_caller]
            pub fn field_contains(self, pointer: &str, part: &str) -> Self {
                let what = format!("with {part:?} in {pointer}");
                let subject = self.subject.check(&what, |event| match event.pointer(pointer) {
                    Some(serde_json::Value::String(found)) if found.contains(part) => Ok(()),
                    Some(found) => Err(format!("{pointer} is {found}")),
                    None => Err(format!("{pointer} is not there")),
                });
                Self { subject }
            }

            /// A label: text, a number or a boolean.
            #[track_caller]
            pub fn label(self, key: &str, value: impl Into<serde_json::Value>) -> Self {
                let (value, sent) = (value.into(), key.replace(['.', '*', '"'], "_"));
                let name = format!("label {key}");
                let subject = self.subject.check(&format!("with {name} = {value}"), |event| {
                    // by OTLP a transaction's attribute of this name is its type
                    let sent = if event.by_otlp && sent == "type" { "label_type" } else { &sent };
                    let pointer = format!("/context/tags/{}", sent.replace('~', "~0").replace('/', "~1"));
                    crate::testkit::subject::compare(event, &pointer, &name, &value)
                });
                Self { subject }
            }

            /// There is no label of this key.
            #[track_caller]
            pub fn no_label(self, key: &str) -> Self {
                let subject = self.subject.check(&format!("without label {key}"), |event| {
                    match event.pointer("/context/tags").and_then(|labels| labels.get(key)) {
                        Some(found) => Err(format!("label {key} is {found}")),
                        None => Ok(()),
                    }
                });
                Self { subject }
            }

            /// The event as it was sent.
            ///
            /// # Panics
            /// When several fit the checks so far.
            #[track_caller]
            #[must_use]
            pub fn json(&self) -> &serde_json::Value {
                self.subject.only()
            }

            /// Its own id, in hex.
            ///
            /// # Panics
            /// When several fit the checks so far.
            #[track_caller]
            #[must_use]
            pub fn id(&self) -> &str {
                crate::testkit::received::text(self.subject.only(), "/id")
            }

            /// The id of its trace, in hex.
            ///
            /// # Panics
            /// When several fit the checks so far.
            #[track_caller]
            #[must_use]
            pub fn trace_id(&self) -> &str {
                crate::testkit::received::text(self.subject.only(), "/trace_id")
            }
        }
    };
}

/// For those that carry a request's context: transactions and errors.
macro_rules! context_checks {
    ($expected:ident) => {
        impl $expected {
            /// A value in the custom context, by a JSON pointer that begins with the key: `/order/buyer`.
            #[track_caller]
            pub fn custom(self, pointer: &str, value: impl Into<serde_json::Value>) -> Self {
                let value = value.into();
                let subject = self.subject.check(&format!("with custom {pointer} = {value}"), |event| {
                    if event.by_otlp {
                        return crate::testkit::by_otlp::custom(event, pointer, &value);
                    }
                    let name = format!("custom {pointer}");
                    crate::testkit::subject::compare(event, &format!("/context/custom{pointer}"), &name, &value)
                });
                Self { subject }
            }

            /// The user's id.
            #[track_caller]
            pub fn user_id(self, id: &str) -> Self {
                self.user("id", id)
            }

            /// The user's e-mail address.
            #[track_caller]
            pub fn user_email(self, email: &str) -> Self {
                self.user("email", email)
            }

            /// The user's name.
            #[track_caller]
            pub fn user_name(self, name: &str) -> Self {
                self.user("username", name)
            }

            #[track_caller]
            fn user(self, field: &str, value: &str) -> Self {
                let name = format!("user {field}");
                let subject = self.subject.check(&format!("with {name} {value:?}"), |event| {
                    if event.by_otlp {
                        return crate::testkit::by_otlp::user(event, field, &name, &value.into());
                    }
                    let pointer = format!("/context/user/{field}");
                    crate::testkit::subject::compare(event, &pointer, &name, &value.into())
                });
                Self { subject }
            }

            /// A header of the request; its name in lower case.
            #[track_caller]
            pub fn request_header(self, name: &str, value: &str) -> Self {
                let label = format!("request header {name}");
                let subject = self.subject.check(&format!("with {label} {value:?}"), |event| {
                    if event.by_otlp {
                        return crate::testkit::by_otlp::header(event, "request", name, &label, &value.into());
                    }
                    let pointer = format!("/context/request/headers/{name}");
                    crate::testkit::subject::compare(event, &pointer, &label, &value.into())
                });
                Self { subject }
            }
        }
    };
}

pub(super) use {context_checks, event_checks};
