//! Tests of the repair of orders that a process did not finish.

use std::time::{Duration, Instant};

use marketplace::{
    App,
    chain::{ChainClient, EmbeddedChain, Settled, Transfer},
    config::Config,
    data_source::DataSourceName,
    market::{
        Market,
        entity::{Column, Entity, Status},
    },
    money::Amount,
    wallet::Change,
};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseConnection, EntityTrait as _, QueryFilter as _, sea_query::Expr,
};
use serde_json::Value;

use crate::{
    database::{Server, TestDatabase},
    shop::Shop,
};

pub(crate) const ORDER: &str = "0f3d1c9e-0000-4000-8000-000000000001";
pub(crate) const PRICE: &str = "12.5";
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const LONG_LEASE: Duration = Duration::from_secs(600);

/// The parts that are independent of a process: a database and a chain.
pub(crate) struct Parts {
    database: TestDatabase,
    chain: EmbeddedChain,
    /// Redis with its prefix. Without it, the balances are in the memory of each process.
    redis: Option<(String, String)>,
}

impl Parts {
    pub(crate) async fn start() -> Self {
        Self::start_on(Server::Sqlite).await
    }

    pub(crate) async fn start_on(server: Server) -> Self {
        Self { database: server.database().await, chain: EmbeddedChain::start().await.unwrap(), redis: None }
    }

    pub(crate) async fn stop(self) {
        self.database.drop().await;
    }

    pub(crate) fn config(&self, order_lease: Duration) -> Config {
        Config {
            market_database: self.database.config(DataSourceName::Market),
            redis_url: self.redis.as_ref().map(|(url, _)| url.as_str().into()),
            redis_prefix: self.redis.as_ref().map_or_else(String::new, |(_, prefix)| prefix.clone()),
            chain_rpc_url: Some(self.chain.url().as_str().into()),
            order_lease,
            ..Config::default()
        }
    }

    pub(crate) fn chain(&self) -> ChainClient {
        ChainClient::new(&self.chain.url().as_str().into()).unwrap()
    }

    pub(crate) fn chain_url(&self) -> String {
        self.chain.url()
    }

    pub(crate) async fn database(&self) -> DatabaseConnection {
        sea_orm::Database::connect(&self.database.url).await.unwrap()
    }

    /// Returns the number of transfers for an order.
    async fn transfers(&self, order: &str) -> usize {
        let transfers = self.chain().transfers().await.unwrap();
        transfers.iter().filter(|settled| settled.transfer.order_id == order).count()
    }
}

/// An effect of a step outside of the market's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Pay,
    Transfer,
    PayOut,
    Refund,
}

/// Does what a process has done that was killed: the effects of its steps, and the last status that it stored.
pub(crate) async fn leave_order(parts: &Parts, app: &App, id: i64, token: &str, status: Status, effects: &[Effect]) {
    let price: Amount = PRICE.parse().unwrap();
    let mut settled = None;
    for effect in effects {
        let (user, amount, key, reason) = match effect {
            Effect::Pay => ("bob", price.negated(), "pay", "bought"),
            Effect::PayOut => ("alice", price, "payout", "sold"),
            Effect::Refund => ("bob", price, "refund", "refund of"),
            Effect::Transfer => {
                settled = transfer(parts, token).await;
                continue;
            }
        };
        let (key, reason) = (format!("order:{ORDER}:{key}"), format!("{reason} {token}"));
        app.wallet.change(Change { user: user.to_owned(), key, amount, reason }).await.unwrap();
    }
    let settled = settled.filter(|_| matches!(status, Status::Settled | Status::Sold));
    let (tx_hash, block) = settled.map(|Settled { tx_hash, block }| (tx_hash, block as i64)).unzip();
    Entity::update_many()
        .col_expr(Column::Status, Expr::value(status))
        .col_expr(Column::OrderId, Expr::value(ORDER))
        .col_expr(Column::Buyer, Expr::value("bob"))
        .col_expr(Column::LeaseUntilMs, Expr::value(1i64))
        .col_expr(Column::TxHash, Expr::value(tx_hash))
        .col_expr(Column::Block, Expr::value(block))
        .filter(Column::Id.eq(id))
        .exec(&parts.database().await)
        .await
        .unwrap();
}

async fn transfer(parts: &Parts, token: &str) -> Option<Settled> {
    let [from, to] = ["alice", "bob"].map(str::to_owned);
    let transfer = Transfer {
        order_id: ORDER.to_owned(),
        token_id: token.to_owned(),
        from,
        to,
        price: PRICE.parse::<Amount>().unwrap().to_string(),
    };
    parts.chain().transfer(&transfer).await.ok()
}

/// Waits until the repair has ended the order of a listing.
pub(crate) async fn decided(shop: &Shop, id: i64) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let listing = shop.get(&format!("/market/listings/{id}")).await.body;
        if listing["status"] == "sold" || listing["status"] == "open" {
            return listing;
        }
        assert!(Instant::now() < deadline, "the order is not repaired: {listing}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Checks that balances, history and chain agree on one purchase by bob, who had 100.
pub(crate) async fn assert_books_agree(parts: &Parts, shop: &Shop, order: Option<&str>, sold: bool) {
    let expected = if sold { ("87.5", "12.5") } else { ("100", "0") };
    assert_eq!((shop.balance("bob").await.as_str(), shop.balance("alice").await.as_str()), expected);
    let (bob, alice) = (shop.history("bob").await, shop.history("alice").await);
    assert_eq!((sum(&bob).as_str(), sum(&alice).as_str()), expected);
    let count = |history: &[Value], reason: &str| {
        history.iter().filter(|entry| entry["reason"].as_str().unwrap().starts_with(reason)).count()
    };
    let (bought, refunded) = (count(&bob, "bought "), count(&bob, "refund of "));
    assert!(bought <= 1 && bought - refunded == usize::from(sold), "{bob:?}");
    assert_eq!(count(&alice, "sold "), usize::from(sold), "{alice:?}");
    if let Some(order) = order {
        assert_eq!(parts.transfers(order).await, usize::from(sold));
    }
}

fn sum(history: &[Value]) -> String {
    let amounts = history.iter().map(|entry| entry["amount"].as_str().unwrap().parse::<Amount>().unwrap());
    amounts.fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap()).to_string()
}

/// A process that bob has paid 100 into, with a listing of alice. It repairs nothing.
pub(crate) async fn opened(parts: &Parts, token: &str) -> (Shop, i64) {
    let shop = Shop::with(parts.config(LONG_LEASE)).await;
    shop.state.stop();
    shop.pay_in("bob", "100").await;
    let id = shop.list(token, PRICE).await;
    (shop, id)
}

/// Returns the states of orders after a process was killed after each of the steps.
fn unfinished_orders() -> [(&'static str, Status, &'static [Effect]); 12] {
    use Effect::{Pay, PayOut, Refund, Transfer};
    [
        ("42", Status::Reserved, &[][..]),
        ("42", Status::Reserved, &[Pay]),
        ("42", Status::Paid, &[Pay]),
        ("42", Status::Paid, &[Pay, Transfer]),
        ("42", Status::Settled, &[Pay, Transfer]),
        ("42", Status::Settled, &[Pay, Transfer, PayOut]),
        ("revert-1", Status::Reserved, &[]),
        ("revert-1", Status::Reserved, &[Pay]),
        ("revert-1", Status::Paid, &[Pay]),
        ("revert-1", Status::Paid, &[Pay, Transfer]),
        ("revert-1", Status::Refunding, &[Pay, Transfer]),
        ("revert-1", Status::Refunding, &[Pay, Transfer, Refund]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_repaired_at_the_next_start_after_a_kill_after_any_step() {
    killed_after_any_step(Server::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs POSTGRES_URL"]
async fn order_is_repaired_on_postgres_after_a_kill_after_any_step() {
    killed_after_any_step(Server::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MARIADB_URL"]
async fn order_is_repaired_on_mariadb_after_a_kill_after_any_step() {
    killed_after_any_step(Server::MariaDb).await;
}

async fn killed_after_any_step(server: Server) {
    for (token, status, effects) in unfinished_orders() {
        println!("{token} {status:?} {effects:?}");
        let parts = Parts::start_on(server).await;
        let (killed, id) = opened(&parts, token).await;
        leave_order(&parts, &killed.state, id, token, status, effects).await;
        drop(killed);

        let next = Shop::with(parts.config(Duration::from_secs(60))).await;
        let listing = decided(&next, id).await;
        let sold = token == "42";
        assert_eq!(listing["status"], if sold { "sold" } else { "open" });
        assert_eq!((listing.get("buyer").is_some(), listing.get("tx_hash").is_some()), (sold, sold), "{listing}");
        assert_books_agree(&parts, &next, Some(ORDER), sold).await;
        if !sold {
            // the listing is for sale again
            next.buy(id, "alice").await.is_error(axum::http::StatusCode::UNPROCESSABLE_ENTITY, Some("buyer"), "seller");
        }
        drop(next);
        parts.stop().await;
    }
}

/// Both instances share the balances, and each of them repairs orders.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL and POSTGRES_URL"]
async fn two_processes_on_real_servers_repair_orders_at_the_same_time() {
    let redis = std::env::var("REDIS_URL").expect("REDIS_URL is set: see scripts/real-parts.sh");
    for (token, status, effects) in unfinished_orders() {
        println!("{token} {status:?} {effects:?}");
        let prefix = format!("test_{}:", uuid::Uuid::new_v4().simple());
        let parts = Parts { redis: Some((redis.clone(), prefix)), ..Parts::start_on(Server::Postgres).await };
        let (killed, id) = opened(&parts, token).await;
        leave_order(&parts, &killed.state, id, token, status, effects).await;
        drop(killed);

        // The lease is so short that both instances work on the order at the same time.
        let config = parts.config(Duration::from_millis(1));
        let (first, second) = tokio::join!(Shop::with(config.clone()), Shop::with(config));
        let sold = token == "42";
        assert_eq!(decided(&first, id).await["status"], if sold { "sold" } else { "open" });
        assert_eq!(second.balance("bob").await, first.balance("bob").await);
        assert_books_agree(&parts, &second, Some(ORDER), sold).await;
        drop((first, second));
        parts.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_with_a_valid_lease_is_not_repaired() {
    let parts = Parts::start().await;
    let (shop, id) = opened(&parts, "42").await;
    leave_order(&parts, &shop.state, id, "42", Status::Paid, &[Effect::Pay]).await;
    let db = parts.database().await;
    db.execute_unprepared("UPDATE listings SET lease_until_ms = 9000000000000").await.unwrap();
    assert_eq!(shop.state.market.repair_orders().await.unwrap(), 0);
    assert_eq!((shop.status_of(id).await.as_str(), parts.transfers(ORDER).await), ("paid", 0));
    parts.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_repair_each_order_once() {
    let parts = Parts::start().await;
    let (shop, id) = opened(&parts, "slow-1").await;
    leave_order(&parts, &shop.state, id, "slow-1", Status::Reserved, &[]).await;
    let (first, second) = (instance(&parts, &shop, LONG_LEASE).await, instance(&parts, &shop, LONG_LEASE).await);
    let (first, second) = tokio::join!(first.repair_orders(), second.repair_orders());
    assert_eq!(first.unwrap() + second.unwrap(), 1);
    assert_eq!(decided(&shop, id).await["status"], "sold");
    assert_books_agree(&parts, &shop, Some(ORDER), true).await;
    parts.stop().await;
}

/// The lease ends long before the chain answers, so several instances run the same steps.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_repairs_of_one_order_do_nothing_twice() {
    for token in ["slow-1", "slow-revert-1"] {
        let parts = Parts::start().await;
        let (shop, id) = opened(&parts, token).await;
        leave_order(&parts, &shop.state, id, token, Status::Reserved, &[]).await;
        let mut instances = Vec::new();
        for _ in 0..3 {
            let market = instance(&parts, &shop, Duration::from_millis(1)).await;
            instances.push(tokio::spawn(async move {
                let mut repaired = 0;
                for _ in 0..10 {
                    repaired += market.repair_orders().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                repaired
            }));
        }
        let mut repaired = 0;
        for instance in instances {
            repaired += instance.await.unwrap();
        }
        assert!(repaired > 1, "{repaired}");
        let sold = token == "slow-1";
        assert_eq!(decided(&shop, id).await["status"], if sold { "sold" } else { "open" });
        assert_books_agree(&parts, &shop, Some(ORDER), sold).await;
        parts.stop().await;
    }
}

/// Returns another instance of the market, with the wallet of the first instance.
async fn instance(parts: &Parts, shop: &Shop, lease: Duration) -> Market {
    let db = parts.database().await;
    Market::new(db, shop.state.wallet.clone(), parts.chain(), shop.state.chat.clone(), lease)
}

#[tokio::test(flavor = "multi_thread")]
async fn transfer_whose_answer_is_lost_is_completed_without_a_second_transfer() {
    let parts = Parts::start().await;
    let shop = Shop::with(parts.config(Duration::from_secs(1))).await;
    shop.pay_in("bob", "100").await;
    let id = shop.list("flaky-1", PRICE).await;
    let lost = shop.buy(id, "bob").await;
    lost.is_error(axum::http::StatusCode::BAD_GATEWAY, None, "not decided yet: the transfer of the token");
    assert_eq!(decided(&shop, id).await["status"], "sold");
    assert_books_agree(&parts, &shop, None, true).await;
    assert_eq!(parts.chain().transfers().await.unwrap().len(), 1);
    parts.stop().await;
}
