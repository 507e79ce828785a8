//! Listings: create, search, read, and the sales report.

use axum::http::StatusCode;
use serde_json::json;

use crate::shop::Shop;

#[tokio::test]
async fn listing_is_created_and_returned() {
    let shop = Shop::open().await;
    let new = json!({ "token_id": "42", "seller": "0xabc", "price": "12.50", "password": "hunter2" });
    let made = shop.post("/market/listings", new).await;
    assert_eq!(made.status, 201);
    assert_eq!(
        (&made.body["id"], &made.body["token_id"], &made.body["seller"], &made.body["price"], &made.body["status"]),
        (&json!(1), &json!("42"), &json!("0xabc"), &json!("12.5"), &json!("open"))
    );
    assert!(!made.body.to_string().contains("hunter2"));

    let shown = shop.get("/market/listings/1").await;
    assert_eq!((shown.status, &shown.body), (200, &made.body));
}

#[tokio::test]
async fn price_can_be_a_json_number() {
    let shop = Shop::open().await;
    let made = shop.post("/market/listings", json!({ "token_id": "42", "seller": "0xabc", "price": 12.5 })).await;
    assert_eq!((made.status, &made.body["price"]), (201, &json!("12.5")));
}

#[tokio::test]
async fn listings_are_found_by_status_and_page() {
    let shop = Shop::open().await;
    for token in ["a", "b", "c"] {
        shop.list(token, "1").await;
    }
    shop.pay_in("bob", "1").await;
    assert_eq!(shop.buy(2, "bob").await.status, 200);

    for (query, ids) in [
        ("", vec![1, 2, 3]),
        ("?status=open", vec![1, 3]),
        ("?status=sold", vec![2]),
        ("?status=reserved", vec![]),
        ("?limit=2", vec![1, 2]),
        ("?offset=1", vec![2, 3]),
        ("?status=open&offset=1&limit=1", vec![3]),
        ("?limit=100000", vec![1, 2, 3]),
    ] {
        let found = shop.get(&format!("/market/listings{query}")).await;
        let found: Vec<_> = found.body.as_array().unwrap().iter().map(|l| l["id"].as_i64().unwrap()).collect();
        assert_eq!(found, ids, "{query:?}");
    }
}

#[tokio::test]
async fn missing_listing_is_404() {
    let shop = Shop::open().await;
    shop.get("/market/listings/999").await.is_error(StatusCode::NOT_FOUND, None, "no listing 999");
    shop.buy(999, "bob").await.is_error(StatusCode::NOT_FOUND, None, "no listing 999");
}

#[tokio::test]
async fn sales_are_summed_up_by_seller() {
    let shop = Shop::open().await;
    shop.pay_in("bob", "100").await;
    for price in ["0.1", "0.2"] {
        let id = shop.list("token", price).await;
        assert_eq!(shop.buy(id, "bob").await.status, 200);
    }
    shop.list("unsold", "7").await;
    let report = shop.get("/market/reports/sales?delay_ms=1").await;
    assert_eq!((report.status, report.body), (200, json!({ "alice": { "sold": 2, "revenue": "0.3" } })));
}
