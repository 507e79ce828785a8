//! Wallets: balances, credits, debits and the history.

use axum::http::StatusCode;
use marketplace::{
    config::Config,
    data_source::{DataSourceConfig, DataSourceName},
};
use serde_json::json;

use crate::shop::Shop;

#[tokio::test]
async fn credits_and_debits_are_in_the_history() {
    let shop = Shop::open().await;
    assert_eq!(shop.balance("bob").await, "0");
    let paid_in = shop.post("/wallet/bob/credits", json!({ "amount": 100, "reason": "card" })).await;
    assert_eq!((paid_in.status, &paid_in.body["user"], &paid_in.body["balance"]), (200, &json!("bob"), &json!("100")));
    assert_eq!(paid_in.body["key"].as_str().unwrap().len(), 36, "a new key");
    let taken = shop.post("/wallet/bob/debits", json!({ "amount": "0.1", "reason": "fee" })).await;
    assert_eq!((taken.status, &taken.body["balance"]), (200, &json!("99.9")));

    let history = shop.history("bob").await;
    let entries: Vec<_> =
        history.iter().map(|e| (e["amount"].as_str().unwrap(), e["reason"].as_str().unwrap())).collect();
    assert_eq!(entries, [("-0.1", "fee"), ("100", "card")]);
    assert!(history.iter().all(|entry| entry["user"] == "bob" && entry["created_at_ms"].as_i64() > Some(0)));
    assert!(shop.history("alice").await.is_empty());
}

#[tokio::test]
async fn uncovered_debit_changes_nothing() {
    let shop = Shop::open().await;
    shop.pay_in("bob", "5").await;
    let refused = shop.post("/wallet/bob/debits", json!({ "amount": "5.000001", "reason": "fee" })).await;
    refused.is_error(StatusCode::PAYMENT_REQUIRED, None, "the balance is 5, 5.000001 are needed");
    assert_eq!(shop.balance("bob").await, "5");
    assert_eq!(shop.history("bob").await.len(), 1);
}

#[tokio::test]
async fn balance_never_overflows() {
    let shop = Shop::open().await;
    for _ in 0..511 {
        shop.pay_in("bob", "9000000000").await;
    }
    let refused = shop.post("/wallet/bob/credits", json!({ "amount": "9000000000", "reason": "more" })).await;
    refused.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("amount"), "exceed");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_debits_succeed_as_far_as_they_are_covered() {
    let shop = Shop::open().await;
    shop.pay_in("bob", "7").await;
    let debits = (0..20).map(|_| shop.post("/wallet/bob/debits", json!({ "amount": 1, "reason": "race" })));
    let answers = futures_util::future::join_all(debits).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 7);
    assert_eq!(answers.iter().filter(|answer| answer.status == 402).count(), 13);
    assert_eq!(shop.balance("bob").await, "0");
    assert_eq!(shop.history("bob").await.len(), 8);
}

#[tokio::test]
async fn balances_are_kept_if_the_database_is_a_file() {
    let file = std::env::temp_dir().join(format!("marketplace-{}.db", std::process::id()));
    let url = format!("sqlite://{}?mode=rwc", file.display());
    let market_database = DataSourceConfig::from_url(DataSourceName::Market, &url).unwrap();
    let config = Config { market_database, ..Config::default() };

    let first = Shop::with(config.clone()).await;
    first.pay_in("bob", "20").await;
    let id = first.list("42", "12.5").await;
    assert_eq!(first.buy(id, "bob").await.status, 200);
    drop(first);

    let second = Shop::with(config).await;
    assert_eq!((second.balance("bob").await, second.balance("alice").await), ("7.5".to_owned(), "12.5".to_owned()));
    assert_eq!(second.status_of(id).await, "sold");
    drop(second);
    std::fs::remove_file(file).unwrap();
}
