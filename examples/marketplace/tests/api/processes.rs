//! Tests of the commands of the program, and of variables that it refuses.

use std::time::Duration;

use tower_apm::devserver::{DevServer, Kind, Query};

use crate::{
    database::Server,
    process::{Ended, Process},
};

fn health_of(address: &str) -> Ended {
    Process::start(&["health"], &[("MARKETPLACE_ADDR", address)]).output()
}

/// Writes a file for a `…_FILE` variable. The file is removed with the handle.
struct SecretFile(std::path::PathBuf);

impl SecretFile {
    fn new(content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("marketplace-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, content).expect("the file is written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the path is text")
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn secrets_come_from_files_and_health_checks_are_not_recorded() {
    let apm = DevServer::builder().api_key("a2V5OmtleQ==").bind("127.0.0.1:0").expect("a port is free");
    let database = Server::Sqlite.database().await;
    let (key, url) = (SecretFile::new("a2V5OmtleQ==\n"), SecretFile::new(&format!("{}\n", database.url)));
    let process = Process::start(
        &[],
        &[
            ("ELASTIC_APM_SERVER_URL", &apm.url()),
            ("ELASTIC_APM_API_KEY_FILE", key.path()),
            ("DATABASE_URL_FILE", url.path()),
        ],
    );
    let address = process.address();
    let port = address.rsplit_once(':').expect("the address has a port").1;
    for address in [&address, &format!("0.0.0.0:{port}")] {
        let ended = health_of(address);
        assert!(ended.succeeded && ended.error.is_empty(), "{ended:?}");
    }
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    for path in ["health", "market/listings"] {
        let answer = http.get(format!("http://{address}/{path}")).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    let transactions = apm.store().wait_for(Duration::from_secs(60), |store| {
        let page = store.query(&Query::new().kind(Kind::Transaction));
        let names: Vec<_> = page.events.iter().map(|event| event.body()["name"].to_string()).collect();
        names.iter().any(|name| name.contains("/market/listings")).then_some(names)
    });
    let names = transactions.await.expect("the request is recorded");
    assert!(names.iter().all(|name| !name.contains("health")), "{names:?}");
    assert!(!database.applied_migrations("market_migrations").await.is_empty());

    drop(process);
    let ended = health_of(&address);
    assert!(!ended.succeeded && ended.error.contains(&format!("no process answers on {address}")), "{ended:?}");
    database.drop().await;
}

#[test]
fn chain_answers_health_checks() {
    let chain = Process::start(&["chain"], &[]);
    let ended = health_of(&chain.address());
    assert!(ended.succeeded && ended.error.is_empty(), "{ended:?}");
}

#[test]
fn variables_that_cannot_be_used_end_the_process() {
    let missing = "/no/such/file";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("MARKETPLACE_ADDR", "localhost")], "MARKETPLACE_ADDR is \"localhost\""),
        (&[("DATABASE_URL", "hunter2")], "data source market: DATABASE_URL does not begin with"),
        (
            &[("WALLET_DATABASE_URL", "sqlite:hunter2.db"), ("WALLET_DATABASE_PASSWORD", "hunter2")],
            "data source wallet: WALLET_DATABASE_URL and WALLET_DATABASE_PASSWORD are both set",
        ),
        (&[("DATABASE_URL", "sqlite:///no/such/folder/hunter2.db")], "check DATABASE_URL"),
        (&[("DATABASE_URL_FILE", missing)], "DATABASE_URL_FILE is \"/no/such/file\""),
        (&[("ELASTIC_APM_API_KEY_FILE", missing)], "ELASTIC_APM_API_KEY_FILE is \"/no/such/file\""),
        (&[("ELASTIC_APM_SECRET_TOKEN_FILE", missing)], "ELASTIC_APM_SECRET_TOKEN_FILE is \"/no/such/file\""),
        (&[("KAFKA_BROKERS", "127.0.0.1:1")], "KAFKA_BROKERS is set, but"),
        (&[("REDIS_URL", "http://:hunter2@redis")], "REDIS_URL is not a URL"),
    ];
    for (variables, expected) in cases {
        let ended = Process::start(&[], variables).output();
        assert!(!ended.succeeded && ended.error.contains(expected), "{variables:?}: {ended:?}");
        assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
    }
}

#[test]
fn unknown_commands_print_the_usage() {
    for arguments in [&["helth"][..], &["health", "now"]] {
        let ended = Process::start(arguments, &[]).output();
        assert!(!ended.succeeded && ended.error.contains("marketplace health"), "{ended:?}");
    }
}
