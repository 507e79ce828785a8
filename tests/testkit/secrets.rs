//! `assert_no_secret` finds secrets in every encoding.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tower_apm::testkit::TestAgent;

fn failure(apm: &TestAgent, secret: &str) -> Option<String> {
    let failed = catch_unwind(AssertUnwindSafe(|| apm.assert_no_secret(secret))).err()?;
    Some(*failed.downcast::<String>().unwrap())
}

#[tokio::test]
async fn secret_is_reported_with_its_field_and_encoding() {
    for (value, form) in [
        ("my hunter2", "as it is"),
        ("%68unter2", "percent-encoded"),
        ("Basic dXNlcjpodW50ZXIy", "in Base64"),
        ("{\"token\":\"hunter2\"}", "as it is"),
    ] {
        let apm = TestAgent::start().await;
        apm.agent().start_transaction("leak", "scheduled").set_label("note", value);
        let message = failure(&apm, "hunter2").unwrap();
        let place = format!("transaction \"leak\" /context/tags/note {form}");
        assert!(message.contains(&place), "{place} is missing in {message}");
        assert_eq!(failure(&apm, "hunter3"), None);
    }
}

#[tokio::test]
async fn assert_no_secret_fails_if_nothing_has_arrived() {
    let apm = TestAgent::start().await;
    assert!(failure(&apm, "hunter2").unwrap().contains("nothing has arrived in which it could be"));
}

#[tokio::test]
async fn metadata_is_searched_and_contains_no_credentials() {
    let apm = TestAgent::builder()
        .secret_token("hunter2")
        .configure(|agent| agent.global_labels([("region", "mars")]))
        .start()
        .await;
    apm.agent().start_transaction("job", "scheduled").run(async {}).await;
    apm.assert_no_secret("hunter2");
    assert!(failure(&apm, "mars").unwrap().contains("metadata"));
    assert_eq!(apm.agent().stats().accepted, 1, "the token was required and sent");
}
