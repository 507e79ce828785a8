//! The health of a process: `GET /health`, and the command `marketplace health`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::get};
use sea_orm::{DatabaseConnection, DbErr};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    data_source::{DataSourceName, DataSources},
    http_client,
};

/// The path of the health check. The agent does not record it as a transaction.
pub const PATH: &str = "/health";

/// How long a data source can take to answer.
const DATA_SOURCE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long `marketplace health` waits for the process.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(4);

/// The health of a process. Clones share their state.
///
/// A process is healthy if all its data sources answer and all parts that were added with [`Health::part`] are ready.
#[derive(Debug, Clone, Default)]
pub struct Health {
    data_sources: Arc<[(DataSourceName, DatabaseConnection)]>,
    problems: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

/// The state of one part of a process, such as the balances.
#[derive(Debug, Clone)]
pub struct PartHealth {
    name: &'static str,
    problems: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

/// The body of `GET /health`.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    status: String,
    /// The reasons why the process is not healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// The reason why `marketplace health` fails.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    #[error("MARKETPLACE_ADDR is {0}: with port 0, the port of the process is unknown")]
    UnknownPort(SocketAddr),
    #[error("no process answers on {addr}")]
    NoAnswer { addr: SocketAddr, source: reqwest::Error },
    #[error("the process on {addr} is not healthy: {problems}")]
    Unhealthy { addr: SocketAddr, problems: String },
}

impl Health {
    /// Returns the health of a process that uses all data sources.
    pub fn new(sources: &DataSources) -> Self {
        Self::of([(DataSourceName::Market, sources.market.clone()), (DataSourceName::Wallet, sources.wallet.clone())])
    }

    /// Returns the health of a process that uses these data sources.
    pub fn of(data_sources: impl IntoIterator<Item = (DataSourceName, DatabaseConnection)>) -> Self {
        Self { data_sources: data_sources.into_iter().collect(), problems: Arc::default() }
    }

    /// Adds a part. It is not ready until [`PartHealth::set_ready`] is called.
    pub fn part(&self, name: &'static str) -> PartHealth {
        let part = PartHealth { name, problems: self.problems.clone() };
        part.set_not_ready("starting");
        part
    }

    /// Checks all data sources and parts.
    ///
    /// Returns the reasons why the process is not healthy, or nothing if it is healthy.
    pub async fn problems(&self) -> Vec<String> {
        let checks = self
            .data_sources
            .iter()
            .map(|(name, db)| async move { check(db).await.err().map(|error| format!("data source {name}: {error}")) });
        let problems: Vec<_> = futures_util::future::join_all(checks).await.into_iter().flatten().collect();
        let parts = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.into_iter().chain(parts.iter().map(|(part, reason)| format!("{part}: {reason}"))).collect()
    }
}

/// Checks a data source.
///
/// The error is a reason for clients. Errors of the database can contain addresses, so they are only logged.
async fn check(db: &DatabaseConnection) -> Result<(), &'static str> {
    let answered: Result<Result<(), DbErr>, _> = timeout(DATA_SOURCE_TIMEOUT, db.ping()).await;
    match answered {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the health check of a data source failed");
            Err("the database returns an error")
        }
        Err(_) => Err("the database does not answer"),
    }
}

impl PartHealth {
    /// Marks the part as ready.
    pub fn set_ready(&self) {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).remove(self.name);
    }

    /// Marks the part as not ready. Clients can read the reason.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name, reason.into());
    }
}

/// Returns the route `GET /health`, which answers 200 if the process is healthy, or else 503 with the reasons.
pub fn router<S: Clone + Send + Sync + 'static>(health: Health) -> Router<S> {
    Router::new().route(PATH, get(move || respond(health.clone())))
}

async fn respond(health: Health) -> impl IntoResponse {
    let problems = health.problems().await;
    let (code, status) =
        if problems.is_empty() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "unavailable") };
    (code, Json(Report { status: status.to_owned(), problems }))
}

/// Asks the process that listens on `addr` for its health. An unspecified address such as 0.0.0.0 means this machine.
pub async fn check_process(addr: SocketAddr) -> Result<(), HealthError> {
    let addr = reachable(addr)?;
    let no_answer = |source| HealthError::NoAnswer { addr, source };
    let http = http_client::for_this_machine().timeout(PROCESS_TIMEOUT).build().map_err(no_answer)?;
    let response = http.get(format!("http://{addr}{PATH}")).send().await.map_err(no_answer)?;
    if response.status().is_success() {
        return Ok(());
    }
    let status = response.status();
    let problems = match response.json::<Report>().await {
        Ok(report) => report.problems.join("; "),
        Err(_) => format!("it answers {status}"),
    };
    Err(HealthError::Unhealthy { addr, problems })
}

fn reachable(addr: SocketAddr) -> Result<SocketAddr, HealthError> {
    let ip = match addr.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    match addr.port() {
        0 => Err(HealthError::UnknownPort(addr)),
        port => Ok(SocketAddr::from((ip, port))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Config;

    async fn serve(router: Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        addr
    }

    #[tokio::test]
    async fn process_is_healthy_when_all_parts_are_ready() {
        let health = Health::default();
        let addr = serve(router(health.clone())).await;
        check_process(addr).await.unwrap();
        let (balances, consumer) = (health.part("balances"), health.part("consumer"));
        consumer.set_not_ready("no partition is assigned");
        let error = check_process(addr).await.unwrap_err().to_string();
        let problems = "balances: starting; consumer: no partition is assigned";
        assert_eq!(error, format!("the process on {addr} is not healthy: {problems}"));
        balances.set_ready();
        consumer.set_ready();
        check_process(addr).await.unwrap();
    }

    #[tokio::test]
    async fn closed_data_source_makes_the_process_unhealthy() {
        let sources = DataSources::open(&Config::default()).await.unwrap();
        let health = Health::new(&sources);
        assert!(health.problems().await.is_empty());
        sources.market.close_by_ref().await.unwrap();
        let reason = "the database returns an error";
        let expected = [format!("data source market: {reason}"), format!("data source wallet: {reason}")];
        assert_eq!(health.problems().await, expected);
    }

    #[tokio::test]
    async fn answers_without_a_report_are_not_healthy() {
        let addr = serve(Router::new()).await;
        let error = check_process(addr).await.unwrap_err().to_string();
        assert!(error.contains("it answers 404"), "{error}");
    }

    #[test]
    fn unspecified_address_means_this_machine() {
        for (addr, expected) in
            [("0.0.0.0:3000", "127.0.0.1:3000"), ("[::]:3000", "[::1]:3000"), ("192.0.2.1:3000", "192.0.2.1:3000")]
        {
            assert_eq!(reachable(addr.parse().unwrap()).unwrap(), expected.parse().unwrap());
        }
        assert!(matches!(reachable("0.0.0.0:0".parse().unwrap()), Err(HealthError::UnknownPort(_))));
    }
}
