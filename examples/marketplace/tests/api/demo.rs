//! The command `demo`, on embedded and on real parts.

use std::time::Duration;

use marketplace::{
    config::Config,
    demo::{self, DemoError, Settings},
};

use crate::shop::Shop;

#[tokio::test]
async fn demo_has_no_surprises_on_embedded_parts() {
    let shop = Shop::with(Config { order_lease: Duration::from_secs(5), ..Config::default() }).await;
    let addr = shop.serve().await;
    let report = demo::run(&Settings::from_arguments(&["--quick"], addr).unwrap()).await.unwrap();
    assert_eq!(report.surprises, 0);
    assert!(report.requests > 30, "{report:?}");
}

#[tokio::test]
async fn demo_without_a_marketplace_names_the_command_that_starts_one() {
    let unused = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let error = demo::run(&Settings::from_arguments(&["--quick"], unused).unwrap()).await.unwrap_err();
    assert!(matches!(error, DemoError::NoMarketplace { .. }), "{error:?}");
    assert!(error.to_string().contains("cargo run -p marketplace"), "{error}");
}

#[tokio::test]
#[ignore = "needs REDIS_URL"]
async fn balances_that_are_not_in_redis_are_a_surprise() {
    let shop = Shop::with(Config { order_lease: Duration::from_secs(5), ..Config::default() }).await;
    let redis_url = std::env::var("REDIS_URL").expect("REDIS_URL is set");
    let other = Config {
        redis_url: Some(redis_url.as_str().into()),
        redis_prefix: format!("demo-{}:", uuid::Uuid::new_v4().simple()),
        ..Config::default()
    };
    let settings = Settings::from_arguments(&["--quick"], shop.serve().await).unwrap().with_parts_of(&other);
    assert_eq!(demo::run(&settings).await.unwrap().surprises, 1);
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
async fn demo_has_no_surprises_on_real_parts() {
    use tower_apm::devserver::{DevServer, Kind, Query};

    use crate::{database::Server, process::Process};

    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"));
    let run = format!("demo-{}", uuid::Uuid::new_v4().simple());
    let database = Server::Postgres.database().await;
    let (redis, brokers, prefix) = (variable("REDIS_URL"), variable("KAFKA_BROKERS"), format!("{run}:"));
    let apm = DevServer::bind("127.0.0.1:0").expect("a port is free");
    let variables = [
        ("DATABASE_URL", database.url.as_str()),
        ("REDIS_URL", &redis),
        ("REDIS_PREFIX", &prefix),
        ("KAFKA_BROKERS", &brokers),
        ("KAFKA_TOPIC", &run),
        ("MARKETPLACE_ORDER_LEASE_SECONDS", "5"),
        ("ELASTIC_APM_SERVER_URL", &apm.url()),
    ];
    let of_run = |asked: &str| variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned());
    let config = Config::from_variables(of_run).unwrap();
    let shop = Shop::with(config.clone()).await;
    let history = Process::start(&["history"], &variables);
    history.address();

    let settings = Settings::from_arguments(&["--quick"], shop.serve().await).unwrap().with_parts_of(&config);
    assert_eq!(demo::run(&settings).await.unwrap().surprises, 0);

    let error = apm.store().wait_for(Duration::from_secs(60), |store| {
        let errors = store.query(&Query::new().kind(Kind::Error)).events;
        errors.iter().map(|event| event.body()).find(|error| error["exception"]["message"] == "the record is not JSON")
    });
    let error = error.await.expect("the error is recorded");
    assert_eq!(error["context"]["tags"]["partition"], "0", "{error}");

    // two changes, of which one was delivered twice
    let booked = apm.store().wait_for(Duration::from_secs(60), |store| {
        let transactions = store.query(&Query::new().kind(Kind::Transaction)).events;
        let labels = transactions.iter().map(|event| event.body()["context"]["tags"].clone());
        let keys: Vec<_> =
            labels.filter(|tags| tags["account"] == "frank").map(|tags| tags["idempotency_key"].to_string()).collect();
        (keys.len() == 3).then_some(keys)
    });
    let keys: std::collections::HashSet<_> = booked.await.expect("three transactions").into_iter().collect();
    assert_eq!(keys.len(), 2, "{keys:?}");

    shop.state.stop();
    drop((history, shop));
    database.drop().await;
}
