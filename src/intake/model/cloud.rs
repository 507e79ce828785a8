//! `cloud`: where the service, or whoever called it, runs.

use super::model;

model! {
    #[cfg_attr(not(test), expect(dead_code, reason = "part of the protocol; the cloud is not looked up yet"))]
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

    #[cfg_attr(not(test), expect(dead_code, reason = "part of the protocol; the cloud is not looked up yet"))]
    #[derive(Default)]
    struct Named<'a> {
        id: Option<&'a str>,
        name: Option<&'a str>,
    }

    #[cfg_attr(not(test), expect(dead_code, reason = "part of the protocol; the cloud is not looked up yet"))]
    struct Machine<'a> {
        r#type: &'a str,
    }
}
