//! The server accepts every log record as a log record.

use std::{error::Error, fs, io, time::Duration};

use proptest::{
    option, prop_assert_eq,
    strategy::Strategy,
    test_runner::{Config, RngSeed, TestRunner},
};
use tower_apm::{Agent, EnvVars};
use tracing::subscriber::with_default;
use tracing_subscriber::{layer::SubscriberExt, registry};

use crate::{
    SECRET, serve,
    strategies::{float, integer, text},
};

const CASES: u32 = 200;
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
struct Line {
    message: String,
    /// A value for each of some fields.
    text: String,
    integer: i64,
    float: f64,
    error: Option<String>,
    in_transaction: bool,
}

fn line() -> impl Strategy<Value = Line> {
    (text(), text(), integer(), float(), option::of(text()), proptest::bool::ANY).prop_map(
        |(message, text, integer, float, error, in_transaction)| Line {
            message,
            text,
            integer,
            float,
            error,
            in_transaction,
        },
    )
}

impl Line {
    fn log(&self) {
        let Self { message, text, integer, float, .. } = self;
        let url = format!("https://u:{SECRET}@h/?token={SECRET}");
        match &self.error {
            Some(error) => {
                let error = &io::Error::other(error.clone()) as &(dyn Error + 'static);
                tracing::error!(error, a.b = %text, created = integer, password = SECRET, float, url, "{message}");
            }
            None => tracing::info!(
                text,
                integer,
                ratio = float,
                x_timestamp = text,
                "log.target" = text,
                "log.file" = %text,
                "log.line" = 7_u64,
                "{message} {url}"
            ),
        }
    }
}

#[test]
#[ignore = "needs APM_SERVER_DECODER"]
fn random_log_records_are_accepted_by_the_real_server() {
    let (_server, url, documents) = serve("lines");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { cases: CASES, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() };
    let builder = Agent::builder().env_vars(EnvVars::empty()).server_url(url).log_sending(true);
    let agent = builder.service_name("lines").metrics_interval(Duration::ZERO).build().unwrap();
    let tested = TestRunner::new(config).run(&line(), |line| {
        // without the layer that records errors: each line is one event
        with_default(registry().with(agent.log_layer()), || match line.in_transaction {
            true => agent.start_transaction("a job", "scheduled").in_scope(|| line.log()),
            false => line.log(),
        });
        let delivered = runtime.block_on(agent.flush(DEADLINE));
        let stats = agent.stats();
        prop_assert_eq!((delivered, stats.accepted), (Ok(()), stats.recorded), "{}", stats);
        Ok(())
    });
    let events = agent.stats().accepted;
    let text = fs::read_to_string(&documents).unwrap();
    fs::remove_file(&documents).unwrap();
    if let Err(error) = tested {
        panic!("{error}");
    }
    assert!(!text.contains(SECRET), "{}", text.lines().find(|line| line.contains(SECRET)).unwrap());
    let documents: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len() as u64, events, "a document for each event");
    // a log record that the server reads as an error would have an `error` field
    let lines =
        documents.iter().filter(|document| document.get("error").is_none() && document["log"]["level"].is_string());
    assert_eq!(lines.count(), CASES as usize);
}
