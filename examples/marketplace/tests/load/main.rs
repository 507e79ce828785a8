//! Measures credits on real servers: latency, throughput, and the number of database transactions for the history.
//!
//! ```sh
//! cargo test --release -p marketplace --features postgres,mysql,kafka --test load -- --ignored --nocapture
//! ```
//!
//! Two APIs, one process of the history, PostgreSQL, Redis, Kafka and the client itself share the machine. `LOAD_SECONDS` sets
//! the duration of each measurement; the default is 20.

mod database;
mod latency;
#[path = "../support/mod.rs"]
mod support;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::time::sleep_until;

use self::{
    database::Writes,
    latency::Latencies,
    support::{
        deployment::{Database, Deployment},
        http::{Answer, Client, Request},
    },
};

const CONNECTIONS: u64 = 32;
const USERS: u64 = 200;
/// How long the history can take to catch up.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);

/// The rate at which the clients send requests.
#[derive(Debug, Clone, Copy)]
enum Rate {
    PerSecond(u64),
    /// Each connection sends a request as soon as it has received the previous answer.
    Maximum,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts servers with scripts/real-parts.sh, and measures for minutes"]
async fn credits() {
    let seconds = env::var("LOAD_SECONDS").map_or(20, |seconds| seconds.parse().expect("LOAD_SECONDS is a number"));
    let deployment = Deployment::start("load", Database::Postgres, 1).await;
    let client = Client::new(deployment.addresses());
    // warm-up, which opens connections and creates Kafka's producers
    run(&client, &deployment, Rate::Maximum, true, Duration::from_secs(5)).await;
    println!(
        "| rate | key by | accepted | refused | requests/s | p50 | p99 | slowest | \
         rows | write transactions | per second | rows in each (mean, largest) | caught up after |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for has_key in [true, false] {
        for rate in [Rate::PerSecond(100), Rate::PerSecond(500), Rate::PerSecond(2000), Rate::Maximum] {
            println!("{}", run(&client, &deployment, rate, has_key, Duration::from_secs(seconds)).await);
        }
    }
}

/// Sends credits for `duration` and returns a row of the table.
async fn run(client: &Client, deployment: &Deployment, rate: Rate, has_key: bool, duration: Duration) -> String {
    let before = database::last_id(&deployment.wallet_url).await.expect("PostgreSQL answers");
    let started = Instant::now();
    let refused = Arc::new(AtomicU64::new(0));
    let connections = (0..CONNECTIONS).map(|number| {
        let connection = Connection { client: client.clone(), number, rate, has_key, refused: refused.clone() };
        tokio::spawn(connection.run(started, duration))
    });
    let mut latencies = Latencies::default();
    for connection in connections.collect::<Vec<_>>() {
        latencies.add(connection.await.expect("a connection does not panic"));
    }
    let elapsed = started.elapsed();
    let writes = caught_up(&deployment.wallet_url, before, latencies.count()).await;
    let caught_up = started.elapsed() - elapsed;
    let accepted = latencies.count();
    let rate = match rate {
        Rate::PerSecond(rate) => format!("{rate}/s"),
        Rate::Maximum => format!("{CONNECTIONS} connections"),
    };
    let key = if has_key { "client" } else { "service" };
    let refused = refused.load(Ordering::Relaxed);
    let per_second = |count: u64| count as f64 / elapsed.as_secs_f64();
    format!(
        "| {rate} | {key} | {accepted} | {refused} | {:.0} | {:.1?} | {:.1?} | {:.1?} | {} | {} | {:.1} | {:.1}, {} | {:.1?} |",
        per_second(accepted),
        latencies.quantile(0.5),
        latencies.quantile(0.99),
        latencies.quantile(1.0),
        writes.rows,
        writes.transactions,
        per_second(writes.transactions),
        writes.rows as f64 / writes.transactions.max(1) as f64,
        writes.largest,
        caught_up,
    )
}

/// One connection, which sends one request at a time.
struct Connection {
    client: Client,
    number: u64,
    rate: Rate,
    has_key: bool,
    refused: Arc<AtomicU64>,
}

impl Connection {
    async fn run(self, started: Instant, duration: Duration) -> Latencies {
        let mut latencies = Latencies::default();
        for sent in 0.. {
            // a late request counts from the time at which it was due
            let due = match self.rate {
                Rate::PerSecond(rate) => {
                    let due =
                        started + Duration::from_secs(1) * (self.number + sent * CONNECTIONS) as u32 / rate as u32;
                    sleep_until(due.into()).await;
                    due
                }
                Rate::Maximum => Instant::now(),
            };
            if due.duration_since(started) >= duration || started.elapsed() >= duration {
                break;
            }
            let user = (self.number + sent * CONNECTIONS) % USERS;
            let body = json!({ "amount": "0.01", "reason": "load" });
            let mut request = Request::post(format!("/wallet/user-{user}/credits"), body);
            if self.has_key {
                request.key = Some(uuid::Uuid::new_v4().to_string());
            }
            match self.client.send((self.number % 2) as usize, &request).await {
                Answer::Definite(200, _) => latencies.record(due.elapsed()),
                _ => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        latencies
    }
}

/// Waits until the history contains all accepted changes.
async fn caught_up(url: &str, before: i64, accepted: u64) -> Writes {
    let started = Instant::now();
    loop {
        let writes = database::writes_after(url, before).await.expect("PostgreSQL answers");
        if writes.rows >= accepted {
            return writes;
        }
        assert!(started.elapsed() < CAUGHT_UP_WITHIN, "the history has {} of {accepted} changes", writes.rows);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
