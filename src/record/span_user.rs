//! Reads the user from span attributes of OpenTelemetry's semantic conventions.

use opentelemetry::KeyValue;

use super::{Context, User, cut};

/// Returns true if an attribute is a field of the user. This is called for every attribute of every span.
#[inline]
pub(crate) fn is_user_attribute(key: &str) -> bool {
    matches!(key, "user.id" | "user.name" | "user.email" | "enduser.id")
}

impl User {
    /// Reads the user from the attributes of one span.
    ///
    /// `user.id` takes precedence over the older `enduser.id`. Empty values are skipped.
    fn from_attributes(attributes: &[KeyValue]) -> Self {
        let value = |key: &str| {
            let found = attributes.iter().find(|attribute| attribute.key.as_str() == key)?;
            let text = found.value.as_str().into_owned();
            (!text.is_empty()).then(|| cut(text.into()).into_owned())
        };
        Self {
            id: value("user.id").or_else(|| value("enduser.id")),
            name: value("user.name"),
            email: value("user.email"),
            is_from_span: true,
            ..Self::default()
        }
    }

    /// Adds the missing fields. If a field has another value, it is a different user and nothing is added.
    fn complete(&mut self, other: Self) {
        let is_other = |known: &Option<String>, other: &Option<String>| {
            known.as_ref().zip(other.as_ref()).is_some_and(|(known, other)| known != other)
        };
        if is_other(&self.id, &other.id) || is_other(&self.name, &other.name) || is_other(&self.email, &other.email) {
            return;
        }
        self.id = self.id.take().or(other.id);
        self.name = self.name.take().or(other.name);
        self.email = self.email.take().or(other.email);
    }
}

impl Context {
    /// Takes the user from the attributes of a span, unless the code has set a user.
    ///
    /// The first span with a user is used. Later spans add missing fields.
    pub(crate) fn propose_user(&mut self, attributes: &[KeyValue]) {
        let found = User::from_attributes(attributes);
        if found == (User { is_from_span: true, ..User::default() }) {
            return;
        }
        match &mut self.user {
            None => self.user = Some(Box::new(found)),
            Some(known) if known.is_from_span => known.complete(found),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(spans: &[&[(&'static str, &'static str)]]) -> (Option<String>, Option<String>, Option<String>) {
        let mut context = Context::default();
        for span in spans {
            let attributes: Vec<_> = span.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect();
            context.propose_user(&attributes);
        }
        context.user.map_or((None, None, None), |user| (user.id, user.name, user.email))
    }

    fn texts(texts: [&str; 3]) -> (Option<String>, Option<String>, Option<String>) {
        let [id, name, email] = texts.map(|text| (!text.is_empty()).then(|| text.to_owned()));
        (id, name, email)
    }

    #[test]
    fn first_user_wins_and_is_completed() {
        let ada = [("user.id", "1"), ("user.name", "ada")];
        assert_eq!(user(&[&ada]), texts(["1", "ada", ""]));
        assert_eq!(user(&[&ada, &[("user.email", "ada@x")]]), texts(["1", "ada", "ada@x"]));
        assert_eq!(user(&[&ada, &[("user.id", "2"), ("user.email", "bob@x")]]), texts(["1", "ada", ""]));
        assert_eq!(user(&[&[("enduser.id", "3"), ("user.id", "1")]]), texts(["1", "", ""]));
        assert_eq!(user(&[&[("user.id", "")], &[("enduser.id", "3")]]), texts(["3", "", ""]));
        assert_eq!(user(&[&[("user.ids", "4"), ("id", "5")]]), texts(["", "", ""]));
    }

    #[test]
    fn user_of_the_code_replaces_that_of_a_span() {
        let mut context = Context::default();
        context.propose_user(&[KeyValue::new("user.id", "2"), KeyValue::new("user.email", "bob@x")]);
        context.user.as_mut().unwrap().merge(User::id("1"));
        context.propose_user(&[KeyValue::new("user.id", "1"), KeyValue::new("user.email", "ada@x")]);
        assert!(context.user.as_deref() == Some(&User::id("1")), "{:?}", context.user);
    }

    #[test]
    fn numeric_id_becomes_text() {
        let mut context = Context::default();
        context.propose_user(&[KeyValue::new("user.id", 42)]);
        assert_eq!(context.user.unwrap().id.as_deref(), Some("42"));
    }
}
