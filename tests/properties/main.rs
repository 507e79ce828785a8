//! The real server's decoder accepts everything that a service can record, and no secret is in it.
//!
//! This test needs its own binary, because it installs an agent, and the program in `tests/apm-server`, which
//! `APM_SERVER_DECODER` names. `PROPTEST_CASES` sets the number of cases, `PROPTEST_RNG_SEED` selects others.

#[path = "../apm_server_process/mod.rs"]
mod apm_server_process;
mod log_records;
mod metadata;
mod service_traffic;
mod strategies;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::{
    prop_assert_eq,
    test_runner::{Config, RngSeed, TestRunner},
};
use tower_apm::{Agent, CaptureBody, EnvVars, Exporter};

use crate::{apm_server_process::ApmServer, service_traffic::Traffic};

/// Cases, unless `PROPTEST_CASES` is set.
const CASES: u32 = 150;
/// Longer than the test takes on any machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Is in every place that can contain a secret.
const SECRET: &str = "hunter2-and-more";

/// The decoder as a server, its URL, and the file of the documents that it makes.
fn serve(name: &str) -> (ApmServer, String, PathBuf) {
    let documents = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.ndjson", std::process::id()));
    let arguments = ["serve", "-addr", "127.0.0.1:0", "-out", documents.to_str().unwrap()];
    let mut server = apm_server_process::start(&arguments);
    let mut url = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    (server, url.trim().to_owned(), documents)
}

#[test]
#[ignore = "needs APM_SERVER_DECODER"]
fn random_traffic_is_accepted_by_the_real_server_without_secrets() {
    let (_server, url, documents) = serve("properties");
    let agent = Agent::builder().env_vars(EnvVars::empty()).service_name("properties").server_url(url);
    let agent = agent.exporter(Exporter::IntakeAndOtlp).metrics_interval(Duration::ZERO);
    let agent = agent.capture_body(CaptureBody::All).log_filter("off").install().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    // from now on the agent knows that the server accepts no unsampled transactions
    agent.start_transaction("begin", "test").in_scope(|| ());
    runtime.block_on(agent.flush(DEADLINE)).unwrap();

    let set = |variable| env::var_os(variable).is_some();
    let default = Config::default();
    let cases = if set("PROPTEST_CASES") { default.cases } else { CASES };
    let config = Config {
        cases,
        rng_seed: if set("PROPTEST_RNG_SEED") { default.rng_seed } else { RngSeed::Fixed(1) },
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..default
    };
    let tested = TestRunner::new(config).run(&service_traffic::traffic(), |traffic: Traffic| {
        let before = agent.stats();
        runtime.block_on(traffic.run(&agent));
        runtime.block_on(agent.flush(DEADLINE)).unwrap();
        let after = agent.stats();
        prop_assert_eq!(
            after.recorded - before.recorded,
            after.accepted - before.accepted,
            "{} {:?}",
            after,
            after.dropped
        );
        prop_assert_eq!(
            after.recorded - before.recorded,
            after.copies.accepted - before.copies.accepted,
            "{} {:?}",
            after,
            after.copies
        );
        Ok(())
    });
    let text = fs::read_to_string(&documents).unwrap();
    fs::remove_file(&documents).unwrap();
    if let Err(error) = tested {
        panic!("{error}");
    }
    let stats = agent.stats();
    println!("{stats}");
    assert!(stats.recorded > u64::from(cases), "{stats}");
    assert_eq!((stats.rejected, stats.dropped.total(), stats.waiting), (0, 0, 0), "{stats}");
    let (otlp, native): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.contains(r#""name":"opentelemetry/"#));
    assert_eq!(native.len() as u64, stats.accepted, "a document for each event");
    assert!(otlp.len() as u64 >= stats.copies.accepted, "over OTLP too: {} {stats}", otlp.len());
    assert!(!text.contains(SECRET), "{}", text.lines().find(|line| line.contains(SECRET)).unwrap());
}
