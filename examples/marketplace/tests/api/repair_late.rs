//! Buyers who paid for an order after the order had ended.

use marketplace::{market::entity::Status, money::Amount, wallet::Change};
use sea_orm::{ConnectionTrait as _, Statement};

use crate::{
    database::Server,
    repair::{LONG_LEASE, ORDER, PRICE, Parts, leave_order},
    shop::Shop,
};

#[tokio::test(flavor = "multi_thread")]
async fn payment_after_the_refusal_was_lost_is_refunded() {
    late_payment_is_refunded(Server::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs POSTGRES_URL"]
async fn payment_after_the_refusal_was_lost_is_refunded_on_postgres() {
    late_payment_is_refunded(Server::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MARIADB_URL"]
async fn payment_after_the_refusal_was_lost_is_refunded_on_mariadb() {
    late_payment_is_refunded(Server::MariaDb).await;
}

/// A process reserves a listing and is suspended. Another one finds that the balance does not cover the price. Its refusal is
/// lost with the balances, and the buyer pays in. The first process continues with the debit, and is killed.
async fn late_payment_is_refunded(server: Server) {
    let parts = Parts::start_on(server).await;
    let shop = Shop::with(parts.config(LONG_LEASE)).await;
    shop.state.stop();
    let id = shop.list("42", PRICE).await;
    leave_order(&parts, &shop.state, id, "42", Status::Reserved, &[]).await;
    assert_eq!(shop.state.market.repair_orders().await.unwrap(), 1);
    assert_eq!((shop.status_of(id).await.as_str(), closed_orders(&parts).await), ("open", 1));
    drop(shop);

    let shop = Shop::with(parts.config(LONG_LEASE)).await;
    shop.state.stop();
    shop.pay_in("bob", "100").await;
    let debit = Change {
        user: "bob".to_owned(),
        key: format!("order:{ORDER}:pay"),
        amount: PRICE.parse::<Amount>().unwrap().negated(),
        reason: "bought 42".to_owned(),
    };
    let accepted = shop.state.wallet.change(debit).await.unwrap();
    assert_eq!(accepted.balance.to_string(), "87.5");

    for _ in 0..2 {
        shop.state.market.refund_late_payments().await.unwrap();
        assert_eq!((shop.status_of(id).await.as_str(), shop.balance("bob").await.as_str()), ("open", "100"));
        let reasons: Vec<_> = shop.history("bob").await.iter().map(|entry| entry["reason"].clone()).collect();
        assert_eq!(reasons, ["refund of 42", "bought 42", "card payment"]);
        assert_eq!(closed_orders(&parts).await, 0);
    }
    parts.stop().await;
}

async fn closed_orders(parts: &Parts) -> usize {
    let db = parts.database().await;
    let rows = Statement::from_string(db.get_database_backend(), "SELECT id FROM closed_orders");
    db.query_all_raw(rows).await.unwrap().len()
}
