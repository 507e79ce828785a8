//! Reads the state of the marketplace: history, listings, chain and balances.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, Database, DbErr, QueryResult, Statement};
use serde::Deserialize;
use serde_json::json;

use crate::support::{
    deployment::Deployment,
    http::{Answer, Client, Request, millionths},
};

/// One row of the history.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) user: String,
    pub(crate) key: String,
    pub(crate) amount: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) id: i64,
    pub(crate) seller: String,
    pub(crate) price: i64,
    pub(crate) status: String,
    pub(crate) order_id: Option<String>,
    pub(crate) buyer: Option<String>,
    pub(crate) tx_hash: Option<String>,
}

/// A transfer that the chain has settled.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) order_id: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) tx_hash: String,
}

/// The state of all parts while no client sends requests.
#[derive(Debug)]
pub(crate) struct State {
    /// The oldest first.
    pub(crate) history: Vec<Row>,
    pub(crate) listings: Vec<Listing>,
    pub(crate) transfers: Vec<Transfer>,
    /// For each API, the balance of each user of the history and of `users`.
    pub(crate) balances: Vec<HashMap<String, i64>>,
}

impl State {
    /// Reads the state. An error means that a part does not answer yet.
    pub(crate) async fn read(deployment: &Deployment, client: &Client, users: &[String]) -> Result<Self, String> {
        let history = history(&deployment.wallet_url).await.map_err(|error| error.to_string())?;
        let listings = listings(&deployment.market_url).await.map_err(|error| error.to_string())?;
        let transfers = transfers(&format!("http://{}/", deployment.chain.addr)).await?;
        let mut balances = vec![HashMap::new(); client.apis.len()];
        for user in history.iter().map(|row| &row.user).chain(users) {
            for (api, balances) in balances.iter_mut().enumerate() {
                if !balances.contains_key(user) {
                    balances.insert(user.clone(), balance(client, api, user).await?);
                }
            }
        }
        Ok(Self { history, listings, transfers, balances })
    }
}

async fn balance(client: &Client, api: usize, user: &str) -> Result<i64, String> {
    let answer = client.send(api, &Request::get(format!("/wallet/{user}/balance"))).await;
    match &answer {
        Answer::Definite(200, body) => millionths(&body["balance"]).ok_or(format!("{answer:?}")),
        _ => Err(format!("api-{}, balance of {user}: {answer:?}", api + 1)),
    }
}

async fn history(url: &str) -> Result<Vec<Row>, DbErr> {
    let rows = rows(url, "SELECT user_id, change_key, amount FROM ledger_entries ORDER BY id").await?;
    let read =
        |row: &QueryResult| Ok(Row { user: row.try_get_by(0)?, key: row.try_get_by(1)?, amount: row.try_get_by(2)? });
    rows.iter().map(read).collect()
}

async fn listings(url: &str) -> Result<Vec<Listing>, DbErr> {
    let sql = "SELECT id, seller, price, status, order_id, buyer, tx_hash FROM listings ORDER BY id";
    let read = |row: &QueryResult| {
        Ok(Listing {
            id: row.try_get_by(0)?,
            seller: row.try_get_by(1)?,
            price: row.try_get_by(2)?,
            status: row.try_get_by(3)?,
            order_id: row.try_get_by(4)?,
            buyer: row.try_get_by(5)?,
            tx_hash: row.try_get_by(6)?,
        })
    };
    rows(url, sql).await?.iter().map(read).collect()
}

/// Reads with a new connection: the server can have been killed since the last time.
async fn rows(url: &str, sql: &str) -> Result<Vec<QueryResult>, DbErr> {
    let db = Database::connect(url).await?;
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await;
    db.close().await?;
    rows
}

async fn transfers(url: &str) -> Result<Vec<Transfer>, String> {
    #[derive(Deserialize)]
    struct Reply {
        result: Vec<Transfer>,
    }
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "market_transfers" });
    let http = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
    let reply = http.post(url).json(&call).send().await.map_err(|error| error.to_string())?;
    Ok(reply.json::<Reply>().await.map_err(|error| error.to_string())?.result)
}
