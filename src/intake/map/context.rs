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
    // boxed: the event around it is moved a few times
    Box::new(model::Context {
        user: context.user.as_deref().map(user),
        tags: tags(&context.labels),
        custom: custom(&context.custom, sanitizer),
        request: context.request.as_ref().map(|asked| request(asked, sanitizer)),
        response: context.response.as_ref().map(|answer| response(answer, sanitizer)),
        service: context
            .framework
            .map(|name| Service { framework: Some(Framework { name, version: None }), ..Service::default() }),
        ..model::Context::default()
    })
}

fn user(user: &User) -> model::User<'_> {
    model::User {
        id: user.id.as_deref().map(keyword),
        email: user.email.as_deref().map(keyword),
        username: user.name.as_deref().map(keyword),
        domain: user.domain.as_deref().map(keyword),
    }
}
