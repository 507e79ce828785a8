//! The clients that send requests while parts are killed.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    customer::Customer,
    ledger::Ledger,
    random::Random,
    support::http::{Answer, Client, Request, millionths},
    trader::{self, Trader},
};

const CUSTOMERS: usize = 5;
const TRADERS: usize = 3;

/// The clients while they are idle.
#[derive(Debug)]
pub(crate) struct Clients {
    customers: Vec<Customer>,
    traders: Vec<Trader>,
    random: Random,
    pub(crate) users: Vec<String>,
}

/// The clients while they send requests.
#[derive(Debug)]
pub(crate) struct Load {
    running: watch::Sender<bool>,
    customers: Vec<JoinHandle<Customer>>,
    traders: Vec<JoinHandle<Trader>>,
    sampler: JoinHandle<()>,
    random: Random,
    users: Vec<String>,
}

impl Clients {
    pub(crate) fn new(random: &mut Random) -> Self {
        let names: Vec<String> = (1..=CUSTOMERS).map(|number| format!("customer-{number}")).collect();
        let customers = names.iter().map(|name| Customer::new(name.clone(), random.fork())).collect();
        let traders = (1..=TRADERS).map(|number| Trader::new(format!("desk-{number}"), random.fork())).collect();
        let users = names.into_iter().chain(trader::USERS.map(str::to_owned)).collect();
        Self { customers, traders, random: random.fork(), users }
    }

    /// Starts all clients.
    pub(crate) fn start(mut self, client: &Client, ledger: &Arc<Ledger>) -> Load {
        let running = watch::Sender::new(true);
        let spawn_customer =
            |customer: Customer| tokio::spawn(customer.run(client.clone(), ledger.clone(), running.subscribe()));
        let spawn_trader =
            |trader: Trader| tokio::spawn(trader.run(client.clone(), ledger.clone(), running.subscribe()));
        let sampler =
            sample(client.clone(), ledger.clone(), running.subscribe(), self.random.fork(), self.users.clone());
        Load {
            customers: self.customers.into_iter().map(spawn_customer).collect(),
            traders: self.traders.into_iter().map(spawn_trader).collect(),
            sampler: tokio::spawn(sampler),
            running,
            random: self.random,
            users: self.users,
        }
    }
}

impl Load {
    /// Stops the clients. Each client first waits for the outcome of its last change.
    pub(crate) async fn stop(self) -> Clients {
        self.running.send_replace(false);
        let (mut customers, mut traders) = (Vec::new(), Vec::new());
        for customer in self.customers {
            customers.push(customer.await.expect("a customer does not panic"));
        }
        for trader in self.traders {
            traders.push(trader.await.expect("a trader does not panic"));
        }
        self.sampler.await.expect("the sampler does not panic");
        Clients { customers, traders, random: self.random, users: self.users }
    }
}

/// Reads balances and checks that they are not negative.
async fn sample(
    client: Client,
    ledger: Arc<Ledger>,
    running: watch::Receiver<bool>,
    mut random: Random,
    users: Vec<String>,
) {
    while *running.borrow() {
        let (api, user) = (random.index(client.apis.len()), &users[random.index(users.len())]);
        let answer = client.send(api, &Request::get(format!("/wallet/{user}/balance"))).await;
        if let Answer::Definite(_, body) = &answer {
            match millionths(&body["balance"]) {
                Some(0..) => ledger.count("balances sampled"),
                _ => ledger.violation(format!("api-{}, balance of {user}: {answer:?}", api + 1)),
            }
        }
        tokio::time::sleep(random.millis(100)).await;
    }
}
