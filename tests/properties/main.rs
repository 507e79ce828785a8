//! Whatever a service tells the agent, the real server's decoder takes all of it, and no secret is in it.
//!
//! A binary of its own, for it installs an agent. Needs the program in `tests/apm-server`, named by `APM_SERVER_DECODER`.
//! `PROPTEST_CASES` makes more services' days, `PROPTEST_RNG_SEED` others.

#[path = "../apm_server_process/mod.rs"]
mod apm_server_process;
mod day;
mod lines;
mod sender;
mod told;

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

use crate::{apm_server_process::ApmServer, day::Day};

/// Days, unless `PROPTEST_CASES` says how many.
const CASES: u32 = 150;
/// Nothing takes this long, on no machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Stands wherever a secret can be.
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
fn whatever_is_told_arrives_without_its_secrets() {
    let (_server, url, documents) = serve("properties");
    let agent = Agent::builder().env_vars(EnvVars::empty()).service_name("properties").server_url(url);
    let agent = agent.exporter(Exporter::IntakeAndOtlp).metrics_interval(Duration::ZERO);
    let agent = agent.capture_body(CaptureBody::All).log_filter("off").install().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    // from now on it is known that the server has no use for what is not sampled
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
    let tested = TestRunner::new(config).run(&day::day(), |day: Day| {
        let before = agent.stats();
        runtime.block_on(day.live(&agent));
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
    assert!(otlp.len() as u64 >= stats.copies.accepted, "by OTLP too: {} {stats}", otlp.len());
    assert!(!text.contains(SECRET), "{}", text.lines().find(|line| line.contains(SECRET)).unwrap());
}
