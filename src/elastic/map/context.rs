//! `context` of transactions and errors.

use super::{
    custom::custom,
    labels::tags,
    request::{request, response},
};
use crate::{
    elastic::model::{self, Framework, Service},
    record::{Context, User},
    sanitize::{REDACTED, Sanitizer},
    semconv::{free_keyword, keyword},
};

pub(super) fn context<'a>(context: &'a Context, sanitizer: &Sanitizer) -> Box<model::Context<'a>> {
    // boxed, and filled where it is: it is large, and the event around it is moved a few times
    let mut told = Box::<model::Context<'_>>::default();
    if let Some(asked) = &context.request {
        told.request = Some(request(asked, sanitizer));
    }
    if let Some(answer) = &context.response {
        told.response = Some(response(answer, sanitizer));
    }
    if let Some(name) = context.framework {
        let framework = Some(Framework { name, version: None });
        told.service = Some(Service { framework, ..Service::default() });
    }
    told.user = context.user.as_deref().map(|known| user(known, sanitizer));
    told.tags = tags(&context.labels);
    told.custom = custom(&context.custom, sanitizer);
    told
}

/// Maps the user. A user that the code sets is sent unchanged, like labels. A user from spans is redacted like span
/// fields.
fn user<'a>(user: &'a User, sanitizer: &Sanitizer) -> model::User<'a> {
    let text = |field: &str, text: &'a Option<String>| {
        let text = text.as_deref()?;
        Some(match user.is_from_span {
            false => keyword(text),
            true if sanitizer.is_secret(field) => REDACTED.into(),
            true => free_keyword(text, sanitizer),
        })
    };
    model::User {
        id: text("user.id", &user.id),
        email: text("user.email", &user.email),
        username: text("user.name", &user.name),
        domain: text("user.domain", &user.domain),
    }
}
