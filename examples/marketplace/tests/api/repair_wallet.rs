//! Tests of orders whose changes in the wallet fail or have an unknown outcome.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use axum::http::{Method, StatusCode};
use marketplace::{
    App,
    chain::ChainClient,
    config::Config,
    data_source::DataSources,
    market::Market,
    wallet::{
        Wallet, WalletParts,
        balances::InMemoryBalances,
        log::{AppendError, ChangeLog, DirectLog, EpochWriter, Event, LogError},
    },
};
use sea_orm::ConnectionTrait as _;
use serde_json::json;

use crate::{
    repair::{LONG_LEASE, PRICE, Parts, assert_books_agree},
    shop::{Shop, request},
};

/// A failure at the time when a change is appended to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// The log fails, and does not contain the change.
    NotAppended,
    /// The log fails, but contains the change.
    AnswerLost,
    /// The balances are lost, and then the change is appended.
    BalancesLostBefore,
    /// The change is appended, and then the balances are lost.
    BalancesLostAfter,
}

/// A log that fails once, for the first change whose key ends with `key`.
struct FailingLog {
    log: DirectLog,
    balances: Arc<InMemoryBalances>,
    key: &'static str,
    failure: Failure,
    failed: AtomicBool,
}

#[async_trait]
impl ChangeLog for FailingLog {
    fn name(&self) -> &str {
        self.log.name()
    }

    async fn append(&self, event: &Event) -> Result<(), AppendError> {
        if !event.key.ends_with(self.key) || self.failed.swap(true, Ordering::Relaxed) {
            return self.log.append(event).await;
        }
        if self.failure == Failure::NotAppended {
            return Err(AppendError::Failed("the log is unavailable".into()));
        }
        if self.failure == Failure::BalancesLostBefore {
            self.balances.lose();
        }
        let appended = self.log.append(event).await;
        match self.failure {
            Failure::AnswerLost => return Err(AppendError::Failed("the log does not answer".into())),
            Failure::BalancesLostAfter => self.balances.lose(),
            Failure::NotAppended | Failure::BalancesLostBefore => {}
        }
        appended
    }

    async fn begin_epoch(&self) -> Result<Box<dyn EpochWriter>, LogError> {
        self.log.begin_epoch().await
    }
}

/// Returns a marketplace with one failure in the wallet. It repairs orders only when a test requests it.
async fn failing_shop(parts: &Parts, key: &'static str, failure: Failure) -> Shop {
    let failed = AtomicBool::new(false);
    shop_with_log(&parts.config(LONG_LEASE), |log, balances| FailingLog { log, balances, key, failure, failed }).await
}

/// A marketplace that does not repair on its own, with another log around the log of its wallet.
pub(crate) async fn shop_with_log<L: ChangeLog + 'static>(
    config: &Config,
    around: impl FnOnce(DirectLog, Arc<InMemoryBalances>) -> L,
) -> Shop {
    let mut app = App::start(config).await.unwrap();
    app.stop();
    let sources = DataSources::open(config).await.unwrap();
    let wallet = WalletParts::connect(config, sources.wallet).await.unwrap();
    let balances = Arc::<InMemoryBalances>::default();
    let log = Arc::new(around(DirectLog::new(wallet.history.clone()), balances.clone()));
    app.wallet = Wallet::open(WalletParts { balances, log, ..wallet }).await.unwrap();
    let chain = ChainClient::new(config.chain_rpc_url.as_ref().unwrap()).unwrap();
    app.market = Market::new(sources.market, app.wallet.clone(), chain, app.chat.clone(), config.order_lease);
    Shop::of(app)
}

#[tokio::test(flavor = "multi_thread")]
async fn order_whose_change_fails_in_any_step_is_repaired() {
    use Failure::{AnswerLost, BalancesLostAfter, BalancesLostBefore, NotAppended};
    for (token, key, step) in [
        ("42", ":pay", "the payment of the buyer"),
        ("42", ":payout", ""),
        ("revert-1", ":refund", "the refund of the buyer"),
    ] {
        for failure in [NotAppended, AnswerLost, BalancesLostBefore, BalancesLostAfter] {
            println!("{token} {key} {failure:?}");
            let parts = Parts::start().await;
            let shop = failing_shop(&parts, key, failure).await;
            shop.pay_in("bob", "100").await;
            let id = shop.list(token, PRICE).await;
            let answer = shop.buy(id, "bob").await;
            let is_lost = matches!(failure, BalancesLostBefore | BalancesLostAfter);
            match answer.status {
                // The sale is final before the seller is paid. The rebuild of the balances can also be fast enough.
                200 => assert!(key == ":payout" || is_lost && token == "42", "{answer:?}"),
                502 => assert!(is_lost && token == "revert-1", "{answer:?}"),
                _ => answer.is_error(StatusCode::SERVICE_UNAVAILABLE, None, &format!("not decided yet: {step}")),
            }
            expire_leases(&parts).await;
            let repaired = shop.state.market.repair_orders().await.unwrap();
            println!("    {} {} repaired", answer.status, repaired);
            let sold = token == "42";
            assert_eq!(shop.status_of(id).await, if sold { "sold" } else { "open" });
            assert_books_agree(&parts, &shop, None, sold).await;
            assert_eq!(parts.chain().transfers().await.unwrap().len(), usize::from(sold));
            parts.stop().await;
        }
    }
}

pub(crate) async fn expire_leases(parts: &Parts) {
    let expire = "UPDATE listings SET lease_until_ms = 1 WHERE lease_until_ms IS NOT NULL";
    parts.database().await.execute_unprepared(expire).await.unwrap();
}

#[tokio::test]
async fn clients_cannot_use_the_keys_of_orders() {
    let shop = Shop::open().await;
    let movement = json!({ "amount": "1", "reason": "payout" });
    for path in ["/wallet/alice/credits", "/wallet/alice/debits"] {
        let mut request = request(Method::POST, path, Some("bob"), Some(movement.clone()));
        request.headers_mut().insert("idempotency-key", "order:1:payout".parse().unwrap());
        let refused = shop.send(request).await;
        refused.is_error(StatusCode::UNPROCESSABLE_ENTITY, Some("idempotency-key"), "must not start with order:");
    }
}
