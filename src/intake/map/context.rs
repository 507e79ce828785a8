//! `context` of transactions and errors.

use super::{
    custom::custom,
    labels::tags,
    request::{request, response},
    truncate::keyword,
};
use crate::{
    intake::model::{self, Framework, Service},
    record::{Context, User},
    sanitize::Sanitizer,
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
    told.user = context.user.as_deref().map(user);
    told.tags = tags(&context.labels);
    told.custom = custom(&context.custom, sanitizer);
    told
}

fn user(user: &User) -> model::User<'_> {
    model::User {
        id: user.id.as_deref().map(keyword),
        email: user.email.as_deref().map(keyword),
        username: user.name.as_deref().map(keyword),
        domain: user.domain.as_deref().map(keyword),
    }
}
