//! Processes that are killed while they work on an order.

use std::{future::pending, sync::Arc};

use async_trait::async_trait;
use axum::{Router, body::Bytes, http::StatusCode, routing::get};
use marketplace::{
    config::Config,
    market::entity::{Entity, Status},
    wallet::log::{AppendError, ChangeLog, DirectLog, EpochWriter, Event, LogError},
};
use sea_orm::EntityTrait as _;
use tokio::{net::TcpListener, sync::Notify};

use crate::{
    repair::{DEADLINE, LONG_LEASE, Parts, assert_books_agree, decided, opened},
    repair_wallet::{expire_leases, shop_with_log},
    shop::Shop,
};

/// A point of a purchase at which the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// Before the log receives the change with this key.
    BeforeChange(&'static str),
    /// After the log has stored the change with this key.
    AfterChange(&'static str),
    /// Before the chain receives the transfer.
    BeforeTransfer,
    /// After the chain has decided the transfer.
    AfterTransfer,
}

/// Stops the process at a point: the process does not continue, and is killed.
#[derive(Debug, Clone)]
struct Stop {
    point: Point,
    reached: Arc<Notify>,
}

impl Stop {
    async fn at(&self, is_reached: impl FnOnce(Point) -> bool) {
        if is_reached(self.point) {
            self.reached.notify_one();
            pending::<()>().await;
        }
    }
}

struct StoppingLog {
    log: DirectLog,
    stop: Stop,
}

#[async_trait]
impl ChangeLog for StoppingLog {
    fn name(&self) -> &str {
        self.log.name()
    }

    async fn append(&self, event: &Event) -> Result<(), AppendError> {
        self.stop.at(|point| matches!(point, Point::BeforeChange(key) if event.key.ends_with(key))).await;
        let appended = self.log.append(event).await;
        self.stop.at(|point| matches!(point, Point::AfterChange(key) if event.key.ends_with(key))).await;
        appended
    }

    async fn begin_epoch(&self) -> Result<Box<dyn EpochWriter>, LogError> {
        self.log.begin_epoch().await
    }
}

/// Serves a chain that forwards calls to the chain at `url`. Returns its URL.
async fn stopping_chain(url: String, stop: Stop) -> String {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = async move |body: Bytes| {
        stop.at(|point| point == Point::BeforeTransfer).await;
        let answer = http.post(&url).body(body).send().await.unwrap().bytes().await.unwrap();
        stop.at(|point| point == Point::AfterTransfer).await;
        answer
    };
    let chain = Router::new().route("/", get(StatusCode::NO_CONTENT).post(call));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, chain).await });
    url
}

/// Starts a process in which bob buys a listing. Kills the process when the purchase has reached the point.
async fn buy_and_kill(parts: &Parts, id: i64, point: Point) {
    let (config, chain) = (parts.config(LONG_LEASE), parts.chain_url());
    let process = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let stop = Stop { point, reached: Arc::default() };
            let (chain, reached) = (stopping_chain(chain, stop.clone()).await, stop.reached.clone());
            let config = Config { chain_rpc_url: Some(chain.as_str().into()), ..config };
            let shop = shop_with_log(&config, |log, _| StoppingLog { log, stop }).await;
            tokio::select! {
                answer = shop.buy(id, "bob") => panic!("{point:?} is not reached: {answer:?}"),
                () = reached.notified() => {}
                () = tokio::time::sleep(DEADLINE) => panic!("{point:?} is not reached"),
            }
        });
        runtime.shutdown_timeout(DEADLINE);
    };
    tokio::task::spawn_blocking(move || std::thread::spawn(process).join().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn process_that_is_killed_in_any_step_is_repaired_at_the_next_start() {
    use Point::{AfterChange, AfterTransfer, BeforeChange, BeforeTransfer};
    for (token, point, status) in [
        ("42", BeforeChange(":pay"), Status::Reserved),
        ("42", AfterChange(":pay"), Status::Reserved),
        ("42", BeforeTransfer, Status::Paid),
        ("42", AfterTransfer, Status::Paid),
        ("42", BeforeChange(":payout"), Status::Settled),
        ("42", AfterChange(":payout"), Status::Settled),
        ("revert-1", AfterChange(":pay"), Status::Reserved),
        ("revert-1", AfterTransfer, Status::Paid),
        ("revert-1", BeforeChange(":refund"), Status::Refunding),
        ("revert-1", AfterChange(":refund"), Status::Refunding),
    ] {
        println!("{token} {point:?}");
        let parts = Parts::start().await;
        let (first, id) = opened(&parts, token).await;
        drop(first);
        buy_and_kill(&parts, id, point).await;
        let left = Entity::find_by_id(id).one(&parts.database().await).await.unwrap().unwrap();
        assert_eq!(left.status, status);

        expire_leases(&parts).await;
        let next = Shop::with(parts.config(LONG_LEASE)).await;
        let sold = token == "42";
        assert_eq!(decided(&next, id).await["status"], if sold { "sold" } else { "open" });
        assert_books_agree(&parts, &next, left.order_id.as_deref(), sold).await;
        assert_eq!(parts.chain().transfers().await.unwrap().len(), usize::from(sold));
        parts.stop().await;
    }
}
