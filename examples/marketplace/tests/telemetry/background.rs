//! Events outside of requests.

use serde_json::json;

use crate::observed::Observed;

#[tokio::test]
async fn start_is_one_transaction_with_its_statements() {
    let market = Observed::open().await;
    let start = market.transaction("open").await;
    assert_eq!((&start["type"], &start["outcome"]), (&json!("startup"), &json!("success")));
    let spans = market.spans_of(&start, 20).await;
    assert!(spans.iter().any(|span| span["name"] == "INSERT INTO market_migrations"), "{spans:#?}");
}
