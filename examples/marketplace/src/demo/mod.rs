//! `marketplace demo`: sends traffic to a marketplace for a few minutes and describes the events that the traffic causes.
//!
//! Most steps are HTTP requests. In the first round, three more steps need the parts of the marketplace: with `REDIS_URL`,
//! the demo deletes the balances in Redis. With `KAFKA_BROKERS`, it sends a record again and sends a record that cannot be
//! read.

mod lost_balances;
#[cfg(feature = "kafka")]
mod records;
#[cfg(feature = "kafka")]
mod redelivery;
mod retry;
mod round;
mod socket;
mod visitor;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use reqwest::Url;
use tokio_tungstenite::tungstenite;

use self::visitor::Visitors;
use crate::config::{Config, KafkaConfig, SecretUrl};

/// The options of a demo.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The marketplace's address.
    pub base: Url,
    /// No further round starts after this time. There is at least one round.
    pub duration: Duration,
    /// One round without pauses, in which the slow requests are short.
    pub quick: bool,
    /// The parts of the marketplace that the demo uses directly.
    pub parts: Parts,
}

/// The parts of the marketplace that the demo uses directly. They must be those of the marketplace at the settings' address.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// The Redis server and the prefix of its keys.
    redis: Option<(SecretUrl, String)>,
    kafka: Option<KafkaConfig>,
}

/// The result of a demo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of requests.
    pub requests: usize,
    /// The number of responses and results that the demo does not expect.
    pub surprises: usize,
}

/// The reason why a demo was not finished.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("{0}")]
    Arguments(String),
    #[error("no marketplace answers at {base}: start one with `cargo run -p marketplace`")]
    NoMarketplace { base: Url, source: reqwest::Error },
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    #[error("the connection was lost")]
    Lost(#[from] reqwest::Error),
    #[error("the WebSocket was lost")]
    Socket(#[source] Box<tungstenite::Error>),
    #[error("the WebSocket was closed or no message arrived in time")]
    NoMessage,
    #[error("the demo cannot use Redis: check REDIS_URL")]
    Redis(#[source] redis::RedisError),
    #[cfg(feature = "kafka")]
    #[error("the demo cannot use Kafka: check KAFKA_BROKERS")]
    Kafka(#[source] rdkafka::error::KafkaError),
}

const WHAT_TO_LOOK_FOR: &str = "
What to look for among the events:
  POST /market/listings/{id}/purchase   four outcomes under one name: HTTP 2xx, 4xx (402, 409) and 5xx. A trace contains spans for SQL, Redis, Kafka
                                        and the chain, depending on the parts, and the transactions that write the history
  a transaction with HTTP 5xx           an error whose last cause is the message of the chain: \"execution reverted: …\"
  the slowest purchase                  a span of 1.5 s that shows that the chain was slow
  repair an order                       the purchase of flaky-1 is a failed request, and a background transaction with the same label order_id
  book wallet change                    a change of a balance that is written into the history
  GET /market/reports/sales             a slow request, and a request whose client disconnected before the response
  GET /chat/rooms/{room}/events         an event stream: the transaction ends with the response head, so the latency of the route stays right
  GET /chat/rooms/{room}/ws             a WebSocket: the transaction ends with the upgrade
  WS /chat/rooms/{room}/ws message      a transaction for each message of the client, linked to the upgrade
  GET unknown route                     requests that match no route, under one name
  a search for a user id                everything that carol did, in all modules";

impl Settings {
    /// Reads `[URL] [--seconds N] [--quick]`; without a URL, the marketplace at `addr`.
    pub fn from_arguments(arguments: &[&str], addr: SocketAddr) -> Result<Self, DemoError> {
        let wrong = |what: String| DemoError::Arguments(what);
        let url = |text: &str| Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.host().is_some());
        let base = url(&format!("http://{addr}/")).ok_or_else(|| wrong(format!("{addr} makes no URL")))?;
        let mut settings = Self { base, duration: Duration::from_secs(120), quick: false, parts: Parts::default() };
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            match argument {
                "--quick" => (settings.quick, settings.duration) = (true, Duration::ZERO),
                "--seconds" => {
                    let value = arguments.next().copied().unwrap_or_default();
                    let seconds = value.parse().map_err(|_| wrong(format!("--seconds is {value:?}, not a number")))?;
                    settings.duration = Duration::from_secs(seconds);
                }
                other => {
                    let what = || wrong(format!("{other:?} is no http URL and no option"));
                    settings.base = url(other).ok_or_else(what)?;
                }
            }
        }
        Ok(settings)
    }

    /// Uses the parts of a marketplace with this configuration.
    pub fn with_parts_of(self, config: &Config) -> Self {
        let redis = config.redis_url.clone().map(|url| (url, config.redis_prefix.clone()));
        Self { parts: Parts { redis, kafka: config.kafka.clone() }, ..self }
    }
}

impl Visitors {
    /// Runs the steps that need the parts of the marketplace.
    async fn use_parts(&mut self, parts: &Parts) -> Result<(), DemoError> {
        if let Some((url, prefix)) = &parts.redis {
            self.lose_balances(url, prefix).await?;
        }
        #[cfg(feature = "kafka")]
        if let Some(kafka) = &parts.kafka {
            self.redeliver_change(kafka).await?;
            self.send_unreadable_record(kafka).await?;
        }
        let skipped = match (&parts.redis, &parts.kafka) {
            (Some(_), Some(_)) => return Ok(()),
            (Some(_), None) => "a redelivery and an unreadable record (set KAFKA_BROKERS",
            (None, _) => "lost balances, a redelivery and an unreadable record (set REDIS_URL and KAFKA_BROKERS",
        };
        println!("  -- not run: {skipped} as for the marketplace)");
        Ok(())
    }
}

/// Sends the traffic, prints each request, and returns the result.
pub async fn run(settings: &Settings) -> Result<Report, DemoError> {
    let mut visitors = Visitors::new(settings)?;
    visitors.check_service().await?;
    println!(
        "traffic for {}: {}",
        settings.base,
        if settings.quick { "one round".to_owned() } else { format!("about {} s", settings.duration.as_secs()) }
    );
    let begun = Instant::now();
    let mut round = 0;
    loop {
        round += 1;
        println!("\nround {round}");
        visitors.round(round).await?;
        if round == 1 {
            visitors.use_parts(&settings.parts).await?;
        }
        if begun.elapsed() >= settings.duration {
            break;
        }
    }
    let report = visitors.into_report();
    println!("\n{} requests in {} s, {} surprises", report.requests, begun.elapsed().as_secs(), report.surprises);
    println!("{WHAT_TO_LOOK_FOR}");
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings, DemoError> {
        Settings::from_arguments(arguments, SocketAddr::from(([127, 0, 0, 1], 3000)))
    }

    #[test]
    fn arguments_are_read() {
        let default = settings(&[]).unwrap();
        assert_eq!((default.base.as_str(), default.duration.as_secs()), ("http://127.0.0.1:3000/", 120));
        let all = settings(&["http://shop:8080", "--seconds", "30", "--quick"]).unwrap();
        assert_eq!(all.base.as_str(), "http://shop:8080/");
        assert!(all.quick);
        assert_eq!(settings(&["--quick", "--seconds", "30"]).unwrap().duration.as_secs(), 30);
    }

    #[test]
    fn invalid_argument_is_named() {
        for (arguments, named) in [
            (&["--seconds"][..], "--seconds"),
            (&["--seconds", "long"], "\"long\""),
            (&["--slow"], "\"--slow\""),
            (&["ftp://shop"], "\"ftp://shop\""),
        ] {
            let error = settings(arguments).unwrap_err().to_string();
            assert!(error.contains(named), "{arguments:?}: {error}");
        }
    }
}
