//! `install()` in processes that have set a logger or a subscriber already.
//!
//! Each case runs in a separate process, because loggers and subscribers can be set only once.

use std::{collections::HashMap, env, process::Command};

use opentelemetry::{propagation::TextMapPropagator, trace::TraceContextExt};
use tower_apm::{Agent, AgentBuilder, BuildError, EnvVars, Transaction};
use tracing_log::{LogTracer, log};

const CASE: &str = "TOWER_APM_TEST_INSTALL";

/// As `env_logger` and `fern` are: it forwards nothing to `tracing`.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        println!("by the logger: {}", record.args());
    }

    fn flush(&self) {}
}

fn builder() -> AgentBuilder {
    Agent::builder().env_vars(EnvVars::empty()).service_name("shop").disable_send(true)
}

/// What `install()` sets for the whole process.
fn is_anything_set() -> bool {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = HashMap::from([("traceparent".to_owned(), parent.to_owned())]);
    let extracts = |propagator: &dyn TextMapPropagator| propagator.extract(&headers).has_active_span();
    Transaction::start("any", "scheduled").is_active()
        || tracing::dispatcher::has_been_set()
        || log::max_level() != log::LevelFilter::Off
        || opentelemetry::global::get_text_map_propagator(|propagator| extracts(propagator))
}

/// Not a test but the service that the others start.
#[test]
fn the_service() {
    let Ok(case) = env::var(CASE) else { return };
    match case.as_str() {
        "logger" => {
            log::set_boxed_logger(Box::new(Logger)).map(|()| log::set_max_level(log::LevelFilter::Info)).unwrap()
        }
        "log_tracer" => LogTracer::init().unwrap(),
        _ => {}
    }
    let _agent = builder().install().unwrap();
    assert!(Transaction::start("any", "scheduled").is_active());
    log::info!("said by log");
    tracing::info!("said by tracing");
}

/// Not a test either.
#[test]
fn the_service_with_mistakes() {
    if env::var(CASE).is_err() {
        return;
    }
    assert!(!is_anything_set());
    let failed = builder().log_filter("shop=loud").install();
    assert!(matches!(failed, Err(BuildError::LogFilter { .. })), "{failed:?}");
    assert!(!is_anything_set());
    let failed =
        builder().disable_send(false).server_url("https://apm.example").server_ca_cert_file("/missing").install();
    assert!(matches!(failed, Err(BuildError::CaCertUnreadable { .. })), "{failed:?}");
    assert!(!is_anything_set());

    let other = tracing_subscriber::registry();
    tracing::subscriber::set_global_default(other).unwrap();
    let failed = builder().install();
    assert!(matches!(failed, Err(BuildError::SubscriberAlreadySet)), "{failed:?}");
    assert!(!Transaction::start("any", "scheduled").is_active());
    assert_eq!(log::max_level(), log::LevelFilter::Off);
    println!("nothing was set");
}

fn output(service: &str, case: &str) -> String {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([service, "--exact", "--nocapture", "--test-threads=1"]).env(CASE, case);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const WARNING: &str = "already has a logger of the `log` crate";

#[test]
fn lines_of_the_log_crate_are_printed() {
    let printed = output("the_service", "no logger");
    assert!(printed.contains("said by log") && printed.contains("said by tracing"), "{printed}");
    assert!(!printed.contains(WARNING), "{printed}");
}

#[test]
fn install_keeps_an_existing_logger_and_logs_a_warning() {
    let printed = output("the_service", "logger");
    assert!(printed.contains("by the logger: said by log"), "{printed}");
    assert_eq!(printed.matches("said by log").count(), 1, "{printed}");
    assert!(printed.contains("said by tracing") && printed.contains(WARNING), "{printed}");
}

#[test]
fn install_keeps_an_existing_log_tracer() {
    let printed = output("the_service", "log_tracer");
    assert_eq!(printed.matches("said by log").count(), 1, "{printed}");
    assert!(printed.contains("said by tracing"), "{printed}");
}

#[test]
fn failed_install_sets_nothing() {
    let printed = output("the_service_with_mistakes", "mistakes");
    assert!(printed.contains("nothing was set"), "{printed}");
}
