//! Panics of handlers: one error document, a response, and no effect on other requests.

use std::sync::Arc;

use async_trait::async_trait;
use marketplace::{
    config::Config,
    data_source::DataSources,
    wallet::{
        Wallet, WalletParts,
        log::{AppendError, ChangeLog, DirectLog, EpochWriter, Event, LogError},
    },
};
use serde_json::json;

use crate::observed::Observed;

/// A log that panics for each change.
struct Broken(DirectLog);

#[async_trait]
impl ChangeLog for Broken {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn append(&self, _: &Event) -> Result<(), AppendError> {
        panic!("the log is gone")
    }

    async fn begin_epoch(&self) -> Result<Box<dyn EpochWriter>, LogError> {
        self.0.begin_epoch().await
    }
}

/// A credit runs in its own task. A panic in the task is recorded for the request.
#[tokio::test]
async fn panic_in_a_task_of_a_request_is_one_error_of_the_request() {
    let market = Observed::with(async |mut state| {
        let db = DataSources::open(&Config::default()).await.unwrap().wallet;
        let parts = WalletParts::connect(&Config::default(), db).await.unwrap();
        let log = Arc::new(Broken(DirectLog::new(parts.history.clone())));
        state.wallet = Wallet::open(WalletParts { log, ..parts }).await.unwrap();
        state
    })
    .await;
    let movement = json!({ "amount": "1", "reason": "card payment" });
    let answer = market.post("bob", "/wallet/bob/credits", movement).await;
    assert_eq!((answer.status, &answer.body["error"]), (500, &json!("something went wrong on our side")));

    let (credit, error) = (market.transaction("POST /wallet/{user}/credits").await, market.error().await);
    assert_eq!((&credit["result"], &credit["outcome"]), (&json!("HTTP 5xx"), &json!("failure")));
    assert_eq!((&error["transaction_id"], &answer.body["trace_id"]), (&credit["id"], &error["trace_id"]));
    assert_eq!(
        (error.at("/exception/type"), error.at("/exception/message"), error.at("/exception/handled")),
        (&json!("panic"), &json!("the log is gone"), &json!(false))
    );
    assert_eq!((error.user(), error.label("account")), (&json!("bob"), &json!("bob")));
    let culprit = error["culprit"].as_str().unwrap();
    assert!(culprit.contains("Broken"), "{culprit}");
    assert_eq!(market.get("bob", "/wallet/bob/balance").await.status, 200);
}
