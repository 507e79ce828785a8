//! `cloud`: where the service, or whoever called it, runs.

use super::model;

model! {
    #[derive(Default)]
    struct Cloud<'a> {
        provider: Option<&'a str>,
        region: Option<&'a str>,
        availability_zone: Option<&'a str>,
        account: Option<Named<'a>>,
        instance: Option<Named<'a>>,
        project: Option<Named<'a>>,
        machine: Option<Machine<'a>>,
        service: Option<Named<'a>>,
    }

    #[derive(Default)]
    struct Named<'a> {
        id: Option<&'a str>,
        name: Option<&'a str>,
    }

    struct Machine<'a> {
        r#type: &'a str,
    }
}
