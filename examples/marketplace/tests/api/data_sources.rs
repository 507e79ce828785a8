//! Tests of data sources on all databases: concurrent migrations, and the main use cases.

#[cfg(all(feature = "postgres", feature = "mysql"))]
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use marketplace::{
    config::Config,
    data_source::{
        DataSourceError, DataSourceName, DataSources,
        migrations::{MarketMigrator, WalletMigrator},
    },
};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use sea_orm_migration::MigratorTrait;
use serde_json::json;

use crate::{
    database::{Server, TestDatabase},
    process::Process,
    shop::Shop,
};

fn config(market: &TestDatabase, wallet: Option<&TestDatabase>) -> Config {
    Config {
        market_database: market.config(DataSourceName::Market),
        wallet_database: wallet.map(|database| database.config(DataSourceName::Wallet)),
        ..Config::default()
    }
}

async fn assert_migrated<M: MigratorTrait>(database: &TestDatabase, table: &str) {
    let names: Vec<_> = M::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    assert_eq!(database.applied_migrations(table).await, names);
}

/// Three processes migrate an empty database at the same time.
///
/// Then ten pools of one process apply the same migrations again.
async fn migrate_at_once(server: Server) {
    let database = server.database().await;
    let start = || {
        let process = Process::start(&[], &[("DATABASE_URL", &database.url)]);
        tokio::task::spawn_blocking(move || {
            process.address();
            process
        })
    };
    let processes = try_join_all([start(), start(), start()]).await.expect("all processes start");
    assert_migrated::<MarketMigrator>(&database, "market_migrations").await;
    assert_migrated::<WalletMigrator>(&database, "wallet_migrations").await;
    drop(processes);

    database.forget_migrations(&["market_migrations", "wallet_migrations"]).await;
    let config = config(&database, None);
    let opened = join_all((0..10).map(|_| tokio::spawn(open(config.clone())))).await;
    let opened: Vec<_> = opened.into_iter().map(|task| task.expect("no task panics").expect("it opens")).collect();
    assert_migrated::<MarketMigrator>(&database, "market_migrations").await;
    assert_migrated::<WalletMigrator>(&database, "wallet_migrations").await;
    for sources in opened {
        sources.market.close().await.expect("it closes");
    }
    database.drop().await;
}

async fn open(config: Config) -> Result<DataSources, DataSourceError> {
    DataSources::open(&config).await
}

/// Lists a token, pays in, buys the token, and reads everything again, also after a restart.
async fn main_flows(config: Config) {
    let shop = Shop::with(config.clone()).await;
    let id = shop.list("42", "12.5").await;
    shop.pay_in("bob", "20").await;
    shop.pay_in("Bob", "1").await;
    assert_eq!(shop.buy(id, "bob").await.status, 200);
    assert_eq!(shop.buy(id, "Bob").await.status, 409);
    assert_eq!(shop.get("/market/listings?status=sold").await.body[0]["token_id"], "42");
    assert_eq!(shop.get("/market/reports/sales").await.body["alice"]["revenue"], "12.5");
    let text = "größer 🦀";
    let said = shop.post("/chat/rooms/lobby/messages", json!({ "from": "alice", "text": text })).await;
    assert_eq!(said.status, 201, "{said:?}");
    assert_eq!(shop.get("/health").await.status, 200);

    check_flows(shop, id, text).await;
    check_flows(Shop::with(config).await, id, text).await;
}

async fn check_flows(shop: Shop, id: i64, text: &str) {
    let balances = [shop.balance("bob").await, shop.balance("Bob").await, shop.balance("alice").await];
    assert_eq!(balances, ["7.5", "1", "12.5"]);
    // The history can lag behind the balances.
    shop.await_history("bob", 2).await;
    let amounts: Vec<_> = shop.history("bob").await.iter().map(|entry| entry["amount"].clone()).collect();
    assert_eq!(amounts, [json!("-12.5"), json!("20")]);
    // On all databases, names that differ only in case are different users.
    assert_eq!(shop.history("Bob").await.len(), 1);
    assert_eq!(shop.status_of(id).await, "sold");
    let events = reqwest::get(format!("http://{}/chat/rooms/lobby/events", shop.serve().await));
    let first = events.await.expect("the stream begins").chunk().await.expect("it has an event");
    let first = String::from_utf8(first.expect("it is open").to_vec()).expect("events are text");
    assert!(first.contains(text), "{first}");
    shop.state.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_migrate_one_sqlite_file_at_once() {
    migrate_at_once(Server::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs POSTGRES_URL"]
async fn processes_migrate_one_postgres_database_at_once() {
    migrate_at_once(Server::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MARIADB_URL"]
async fn processes_migrate_one_mariadb_database_at_once() {
    migrate_at_once(Server::MariaDb).await;
}

#[tokio::test]
async fn main_flows_on_sqlite() {
    let database = Server::Sqlite.database().await;
    main_flows(config(&database, None)).await;
    database.drop().await;
}

#[tokio::test]
#[ignore = "needs POSTGRES_URL"]
async fn main_flows_on_postgres() {
    let database = Server::Postgres.database().await;
    main_flows(config(&database, None)).await;
    database.drop().await;
}

#[tokio::test]
#[ignore = "needs MARIADB_URL"]
async fn main_flows_on_mariadb() {
    let database = Server::MariaDb.database().await;
    main_flows(config(&database, None)).await;
    database.drop().await;
}

#[tokio::test]
#[ignore = "needs POSTGRES_URL and MARIADB_URL"]
async fn data_sources_can_be_on_different_databases() {
    let servers = [Server::Postgres, Server::MariaDb, Server::Sqlite];
    let markets = join_all(servers.map(Server::database)).await;
    let mut wallets = join_all(servers.map(Server::database)).await;
    wallets.rotate_left(1);
    join_all(markets.iter().zip(&wallets).map(|(market, wallet)| main_flows(config(market, Some(wallet))))).await;
    for (market, wallet) in markets.into_iter().zip(wallets) {
        assert_migrated::<MarketMigrator>(&market, "market_migrations").await;
        assert_migrated::<WalletMigrator>(&wallet, "wallet_migrations").await;
        market.drop().await;
        wallet.drop().await;
    }
}

/// Names of users and keys must be compared by their bytes, as in memory and in Redis.
#[tokio::test]
#[ignore = "needs MARIADB_URL"]
async fn text_is_compared_by_its_bytes_on_mariadb() {
    let database = Server::MariaDb.database().await;
    let sources = DataSources::open(&config(&database, None)).await.expect("it opens");
    let collations = "SELECT DISTINCT TABLE_NAME AS name FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() \
                      AND COLLATION_NAME <> 'utf8mb4_nopad_bin' AND TABLE_NAME NOT LIKE '%_migrations'";
    let others = sources.wallet.query_all_raw(Statement::from_string(DbBackend::MySql, collations)).await;
    assert!(others.expect("the query is valid").is_empty(), "all tables are created by `create_table`");
    drop(sources);
    database.drop().await;
}

#[tokio::test]
#[ignore = "needs MARIADB_URL"]
async fn wrong_password_ends_the_process_without_printing_it() {
    let url = std::env::var("MARIADB_URL").expect("MARIADB_URL is set: see scripts/real-parts.sh");
    let (head, host) = url.split_once('@').expect("the URL has a user");
    let user = head.rsplit_once(':').expect("the URL has a password").0;
    let wrong = format!("{user}:wrong-secret@{host}");
    let ended = Process::start(&[], &[("WALLET_DATABASE_URL", &wrong)]).output();
    assert!(!ended.succeeded);
    let expected = "data source wallet: the database cannot be opened, check WALLET_DATABASE_URL";
    assert!(ended.error.contains(expected) && ended.error.contains("Access denied"), "{}", ended.error);
    assert!(!ended.error.contains("wrong-secret") && !ended.output.contains("wrong-secret"), "{ended:?}");
}

#[tokio::test]
#[ignore = "needs POSTGRES_URL"]
async fn database_in_fields_is_opened() {
    let database = Server::Postgres.database().await;
    let url = reqwest::Url::parse(&database.url).expect("the URL is valid");
    let variables = |name: &str| {
        let value = match name {
            "DATABASE_TYPE" => "postgres".to_owned(),
            "DATABASE_HOST" => url.host_str()?.to_owned(),
            "DATABASE_PORT" => url.port()?.to_string(),
            "DATABASE_USERNAME" => url.username().to_owned(),
            "DATABASE_PASSWORD" => url.password()?.to_owned(),
            "DATABASE_NAME" => url.path()[1..].to_owned(),
            _ => return None,
        };
        Some(value)
    };
    let sources = DataSources::open(&Config::from_variables(variables).expect("it is valid")).await.expect("it opens");
    assert_migrated::<MarketMigrator>(&database, "market_migrations").await;
    drop(sources);
    database.drop().await;
}

#[cfg(all(feature = "postgres", feature = "mysql"))]
#[tokio::test]
async fn unreachable_server_is_reported_without_the_password() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let started = Instant::now();
    let processes = ["postgres", "mysql"].map(|scheme| {
        let url = format!("{scheme}://shop:hunter2@{free}/shop");
        Process::start(&[], &[("DATABASE_URL", &url)])
    });
    for process in processes {
        let ended = process.output();
        assert!(!ended.succeeded && started.elapsed() < Duration::from_secs(30), "{ended:?}");
        let expected = "data source market: no database answers within 5 s, check DATABASE_URL";
        assert!(ended.error.contains(expected), "{}", ended.error);
        assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
    }
}
