//! `faas`: the function that ran, where functions are a service.

use super::model;

model! {
    #[derive(Default)]
    struct Faas<'a> {
        id: Option<&'a str>,
        name: Option<&'a str>,
        version: Option<&'a str>,
        execution: Option<&'a str>,
        coldstart: Option<bool>,
        trigger: Option<FaasTrigger<'a>>,
    }

    #[derive(Default)]
    struct FaasTrigger<'a> {
        r#type: Option<&'a str>,
        request_id: Option<&'a str>,
    }
}
