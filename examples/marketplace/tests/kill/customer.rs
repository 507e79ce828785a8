//! Customers who send credits and debits. Each customer sends one change at a time, so the balance is always known.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    change::{self, Change},
    ledger::{Ledger, Outcome},
    random::Random,
    support::http::{Answer, Client, Request, millionths},
};

/// The number of accepted changes that are remembered, to repeat some of them.
const REMEMBERED: usize = 20;

/// A user whose only changes come from this client.
#[derive(Debug)]
pub(crate) struct Customer {
    user: String,
    random: Random,
    sent: u64,
    balance: i64,
    accepted: VecDeque<(Change, Outcome)>,
}

impl Customer {
    pub(crate) fn new(user: String, random: Random) -> Self {
        Self { user, random, sent: 0, balance: 0, accepted: VecDeque::new() }
    }

    /// Sends changes until `running` is false. The last change is decided before this returns.
    pub(crate) async fn run(mut self, client: Client, ledger: Arc<Ledger>, running: watch::Receiver<bool>) -> Self {
        while *running.borrow() {
            if !self.change(&client, &ledger).await {
                break; // the balance is no longer known
            }
            if self.random.chance(10) {
                self.read_balance(&client, &ledger).await;
            }
            if self.random.chance(10) && !self.accepted.is_empty() {
                let (change, outcome) = self.accepted[self.random.index(self.accepted.len())].clone();
                change::repeat(&client, &ledger, &mut self.random, &change, outcome).await;
            }
            tokio::time::sleep(Duration::from_millis(5) + self.random.millis(40)).await;
        }
        self
    }

    /// Makes one change and compares the answer with the known balance. Returns `false` if there was no answer.
    async fn change(&mut self, client: &Client, ledger: &Ledger) -> bool {
        self.sent += 1;
        let amount = 1 + self.random.below(100_000_000) as i64;
        // more debits than credits, so that some are not covered
        let amount = if self.random.chance(40) { amount } else { -amount };
        let change = Change { user: self.user.clone(), key: format!("{}-{}", self.user, self.sent), amount };
        let Some(outcome) = change::make(client, ledger, &mut self.random, &change).await else { return false };
        let expected = match self.balance + amount {
            balance @ 0.. => Outcome::Accepted(balance),
            _ => Outcome::Refused(402),
        };
        if outcome != expected {
            let known = ledger.describe(&change.id());
            ledger.violation(format!("{outcome:?} instead of {expected:?}, balance {}: {known}", self.balance));
        }
        if let Outcome::Accepted(_) = outcome {
            self.balance += amount;
            self.accepted.push_back((change, outcome));
            if self.accepted.len() > REMEMBERED {
                self.accepted.pop_front();
            }
        }
        true
    }

    async fn read_balance(&mut self, client: &Client, ledger: &Ledger) {
        let request = Request::get(format!("/wallet/{}/balance", self.user));
        let api = self.random.index(client.apis.len());
        match client.send(api, &request).await {
            Answer::Unknown(_) => {}
            Answer::Definite(200, body) if millionths(&body["balance"]) == Some(self.balance) => {
                ledger.count("balances read");
            }
            answer => {
                let (user, balance) = (&self.user, self.balance);
                ledger.violation(format!("api-{}: {user} has {balance}, but {answer:?}", api + 1));
            }
        }
    }
}
