//! `cloud`: where the service, or whoever called it, runs.

use std::borrow::Cow;

use super::model;

model! {
    #[derive(Default)]
    struct Cloud<'a> {
        provider: Option<&'a str>,
        region: Option<Cow<'a, str>>,
        availability_zone: Option<Cow<'a, str>>,
        account: Option<Named<'a>>,
        instance: Option<Named<'a>>,
        project: Option<Named<'a>>,
        machine: Option<Machine<'a>>,
        service: Option<Named<'a>>,
    }

    #[derive(Default)]
    struct Named<'a> {
        id: Option<Cow<'a, str>>,
        name: Option<Cow<'a, str>>,
    }

    struct Machine<'a> {
        r#type: Cow<'a, str>,
    }
}
