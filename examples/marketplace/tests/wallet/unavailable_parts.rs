//! Tests of unavailable parts: each request is answered, or refused with a reason.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, header},
};
use http_body_util::BodyExt as _;
use marketplace::{
    App, app,
    config::Config,
    wallet::{
        Wallet, WalletParts,
        history::History,
        log::{ChangeLog, DirectLog},
    },
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::{
    database,
    faults::Fault,
    memory_log::MemoryLog,
    proxy::Proxy,
    world::{Store, World, change, change_until_decided},
};

struct Answer {
    status: u16,
    retry_after: Option<String>,
    body: Value,
}

impl Answer {
    /// Checks that the answer is a 503 with the reason, which contains a key if `has_key`.
    fn assert_unavailable(&self, reason: &str, has_key: bool) {
        let error = self.body["error"].as_str().unwrap_or_default();
        assert_eq!((self.status, self.retry_after.as_deref()), (503, Some("1")), "{error}");
        assert!(error.contains(reason), "{reason:?} is not in {error:?}");
        assert_eq!(error.contains("with the Idempotency-Key"), has_key, "{error}");
        assert!(!error.contains("127.0.0.1"), "{error}");
    }
}

async fn router(wallet: Wallet) -> Router {
    let mut state = App::start(&Config::default()).await.unwrap();
    state.wallet = wallet;
    app(state)
}

async fn send(router: &Router, method: &str, path: &str, key: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("x-user-id", "bob");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let body = json!({ "amount": "5", "reason": "test" }).to_string();
    let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap();
    let started = Instant::now();
    let response = router.clone().oneshot(request).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(8), "{path} took {:?}", started.elapsed());
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, retry_after, body: serde_json::from_slice(&body).unwrap_or_default() }
}

const BALANCE: &str = "/wallet/bob/balance";
const CREDITS: &str = "/wallet/bob/credits";
const DEBITS: &str = "/wallet/bob/debits";
const HISTORY: &str = "/wallet/bob/history";

#[tokio::test]
async fn changes_are_refused_while_the_log_is_unavailable() {
    let world = World::logged().await;
    let wallet = world.open().await;
    let router = router(wallet.clone()).await;
    assert_eq!(send(&router, "POST", CREDITS, None).await.status, 200);
    world.log.append.set(Some(Fault::FailBefore));
    send(&router, "POST", CREDITS, None).await.assert_unavailable("the change is not recorded yet", true);
    send(&router, "POST", DEBITS, Some("k1")).await.assert_unavailable("the change is not recorded yet", true);
    // the debit is subtracted, but the credit cannot be spent yet
    assert_eq!(send(&router, "GET", BALANCE, None).await.body["balance"], "0");
    assert_eq!(send(&router, "POST", DEBITS, Some("k2")).await.status, 402);
    world.log.append.set(None);
    let again = send(&router, "POST", DEBITS, Some("k1")).await;
    assert_eq!((again.status, &again.body["key"]), (200, &json!("k1")));
    world.check(&wallet, &[]).await;
}

#[tokio::test]
async fn key_of_another_change_is_422() {
    let router = router(World::direct().await.open().await).await;
    assert_eq!(send(&router, "POST", CREDITS, Some("k1")).await.status, 200);
    let other = send(&router, "POST", DEBITS, Some("k1")).await;
    assert_eq!((other.status, &other.body["field"]), (422, &json!("idempotency-key")));
    let invalid = send(&router, "POST", DEBITS, Some("two words")).await;
    assert_eq!((invalid.status, &invalid.body["field"]), (422, &json!("idempotency-key")));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL"]
async fn balances_are_rebuilt_after_redis_was_unavailable() {
    let (proxy, url) = Proxy::of_url(&database::variable("REDIS_URL")).await;
    let prefix = format!("test-{}:", uuid::Uuid::new_v4().simple());
    let history = History::new(database::open("sqlite::memory:").await);
    let log = MemoryLog::default();
    let world = World::new(Store::Redis { url, prefix }, Arc::new(log.clone()), history).await;
    let world = World { memory_log: Some(log), ..world };
    let wallet = world.open().await;
    let router = router(wallet.clone()).await;
    assert_eq!(send(&router, "POST", CREDITS, Some("k0")).await.status, 200);

    proxy.cut();
    // the first request can fail together with its connection
    let lost = send(&router, "POST", CREDITS, Some("k1")).await;
    assert_eq!(lost.status, 503);
    for _ in 0..2 {
        send(&router, "GET", BALANCE, None).await.assert_unavailable("the balances cannot be reached", false);
        send(&router, "POST", CREDITS, Some("k1")).await.assert_unavailable("the balances cannot be reached", false);
    }
    assert_eq!(send(&router, "GET", HISTORY, None).await.status, 200);

    proxy.restore().await;
    let accepted = vec![
        change_until_decided(&wallet, change("bob", "k0", "5")).await.unwrap(),
        change_until_decided(&wallet, change("bob", "k1", "5")).await.unwrap(),
    ];
    world.check(&wallet, &accepted).await;

    // a server that has lost its data
    proxy.cut();
    assert_eq!(send(&router, "GET", BALANCE, None).await.status, 503);
    proxy.restore().await;
    world.lose_balances().await;
    world.check(&wallet, &accepted).await;
}

async fn changes_continue_while_the_database_is_unavailable(server: &str) {
    let (proxy, url) = Proxy::of_url(&database::create(server).await).await;
    let (proxy_of_direct, url_of_direct) = Proxy::of_url(&database::create(server).await).await;
    let history = History::new(database::open(&url).await);
    let log = MemoryLog::default();
    let world = World::new(Store::Memory(Arc::default()), Arc::new(log.clone()), history.clone()).await;
    let world = World { memory_log: Some(log), ..world };
    let wallet = world.open().await;
    let history = History::new(database::open(&url_of_direct).await);
    let direct: Arc<dyn ChangeLog> = Arc::new(DirectLog::new(history.clone()));
    let direct = World::new(Store::Memory(Arc::default()), direct, history).await;
    let direct_wallet = direct.open().await;
    let router_of_direct = router(direct_wallet.clone()).await;
    let router = router(wallet.clone()).await;
    assert_eq!(send(&router, "POST", CREDITS, Some("k0")).await.status, 200);

    proxy.cut();
    proxy_of_direct.cut();
    assert_eq!(send(&router, "GET", BALANCE, None).await.status, 200);
    assert_eq!(send(&router, "POST", CREDITS, None).await.status, 200, "a new key needs no database");
    assert_eq!(send(&router, "POST", CREDITS, Some("k0")).await.status, 200, "a key in the store needs no database");
    send(&router, "POST", CREDITS, Some("k1")).await.assert_unavailable("the Idempotency-Key cannot be checked", false);
    send(&router, "GET", HISTORY, None).await.assert_unavailable("the history cannot be read", false);
    send(&router_of_direct, "POST", CREDITS, None).await.assert_unavailable("the change is not recorded yet", true);

    proxy.restore().await;
    proxy_of_direct.restore().await;
    let accepted = change_until_decided(&wallet, change("bob", "k1", "5")).await.unwrap();
    assert_eq!(accepted.balance.to_string(), "15");
    world.check(&wallet, &[accepted]).await;
    direct.check(&direct_wallet, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs POSTGRES_URL"]
async fn changes_continue_while_postgres_is_unavailable() {
    changes_continue_while_the_database_is_unavailable("POSTGRES_URL").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MARIADB_URL"]
async fn changes_continue_while_mariadb_is_unavailable() {
    changes_continue_while_the_database_is_unavailable("MARIADB_URL").await;
}

#[tokio::test]
async fn start_without_redis_fails_with_the_name_of_the_variable() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = Config { redis_url: Some(format!("redis://:hunter2@{closed}").into()), ..Config::default() };
    let error = WalletParts::connect(&config, database::open("sqlite::memory:").await).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("REDIS_URL") && !text.contains("hunter2"), "{text}");
}
