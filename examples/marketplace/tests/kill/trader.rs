//! Traders who list tokens and buy each other's tokens.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::sync::watch;

use crate::{
    change::{self, Change},
    ledger::{Ledger, Receipt},
    random::Random,
    support::http::{Answer, Client, Request},
};

/// How long a purchase can remain undecided.
const DECIDED_WITHIN: Duration = Duration::from_secs(60);

/// The users who trade. All traders share them, so their balances are known only when no request is under way.
pub(crate) const USERS: [&str; 4] = ["trader-1", "trader-2", "trader-3", "trader-4"];

/// A client that lists tokens, pays in for their buyers, and sends the purchases.
#[derive(Debug)]
pub(crate) struct Trader {
    name: String,
    random: Random,
    sent: u64,
}

impl Trader {
    pub(crate) fn new(name: String, random: Random) -> Self {
        Self { name, random, sent: 0 }
    }

    /// Trades until `running` is false. The last purchase is decided before this returns.
    pub(crate) async fn run(mut self, client: Client, ledger: Arc<Ledger>, running: watch::Receiver<bool>) -> Self {
        while *running.borrow() {
            self.trade(&client, &ledger).await;
            tokio::time::sleep(self.random.millis(50)).await;
        }
        self
    }

    async fn trade(&mut self, client: &Client, ledger: &Ledger) {
        self.sent += 1;
        let seller = self.random.index(USERS.len());
        let price = 1 + self.random.below(200);
        // the chain refuses tokens `revert-…`, and does not answer the first call for tokens `flaky-…`
        let kind = ["token", "token", "token", "token", "token", "revert", "flaky"][self.random.index(7)];
        let token = format!("{kind}-{}-{}", self.name, self.sent);
        let listing = json!({ "token_id": token, "seller": USERS[seller], "price": price.to_string() });
        let api = self.random.index(client.apis.len());
        let listed = client.send(api, &Request::post("/market/listings".to_owned(), listing)).await;
        let Answer::Definite(201, listing) = listed else { return }; // it may be listed, but it is not bought
        let Some(id) = listing["id"].as_i64() else { return ledger.violation(format!("no id in {listing}")) };

        let buyer = USERS[(seller + 1 + self.random.index(USERS.len() - 1)) % USERS.len()];
        // the amount does not always cover the price
        if self.random.chance(80) {
            let key = format!("{}-{}", self.name, self.sent);
            let amount = (1 + self.random.below(200) as i64) * 1_000_000;
            let change = Change { user: buyer.to_owned(), key, amount };
            change::make(client, ledger, &mut self.random, &change).await;
        }
        self.buy(client, ledger, id, buyer).await;
    }

    /// Sends purchases until the listing is sold or the client has tried often enough.
    async fn buy(&mut self, client: &Client, ledger: &Ledger, id: i64, buyer: &str) {
        let started = Instant::now();
        for _ in 0..3 {
            let mut request = Request::post(format!("/market/listings/{id}/purchase"), json!({ "buyer": buyer }));
            if self.random.chance(5) {
                request.timeout = self.random.millis(200);
            }
            let api = self.random.index(client.apis.len());
            let answers = if self.random.chance(20) {
                let other = self.random.index(client.apis.len());
                let (first, second) = tokio::join!(client.send(api, &request), client.send(other, &request));
                vec![first, second]
            } else {
                vec![client.send(api, &request).await]
            };
            for answer in answers {
                self.record(ledger, id, buyer, answer);
            }
            loop {
                let shown = Request::get(format!("/market/listings/{id}"));
                let status = match client.send(self.random.index(client.apis.len()), &shown).await {
                    Answer::Definite(200, listing) => listing["status"].as_str().unwrap_or("missing").to_owned(),
                    answer => format!("unknown: {answer:?}"),
                };
                match status.as_str() {
                    "sold" => return ledger.count("listings sold"),
                    "open" => break,
                    _ if started.elapsed() > DECIDED_WITHIN => {
                        return ledger.violation(format!("listing {id} remains {status}"));
                    }
                    _ => tokio::time::sleep(self.random.millis(100)).await,
                }
            }
        }
        ledger.count("listings not sold");
    }

    fn record(&self, ledger: &Ledger, id: i64, buyer: &str, answer: Answer) {
        match answer {
            Answer::Unknown(_) => ledger.count("purchases without an outcome"),
            Answer::Definite(200, receipt) => {
                let text = |field: &str| receipt[field].as_str().map(str::to_owned);
                match (text("order_id"), text("buyer"), text("tx_hash")) {
                    (Some(order_id), Some(named), Some(tx_hash)) if named == buyer => {
                        ledger.receipt(id, Receipt { order_id, buyer: named, tx_hash });
                    }
                    _ => ledger.violation(format!("listing {id}, buyer {buyer}: {receipt}")),
                }
            }
            // the balance does not cover the price, or the listing is sold or reserved
            Answer::Definite(402 | 409, _) => {}
            Answer::Definite(status, body) => {
                ledger.violation(format!("purchase of listing {id}: {status} {}", body["error"]));
            }
        }
    }
}
