//! The output of the subscriber that `install()` sets.
//!
//! Each case runs in a separate process, because a subscriber can be set only once.

use std::{env, error::Error, process::Command};

use opentelemetry::{
    Context,
    trace::{TraceContextExt, Tracer},
};
use serde_json::{Value, json};
use tower_apm::{Agent, LogFormat, Transaction};

const CASE: &str = "TOWER_APM_TEST_LOG_FORMAT";

/// The service that the tests start as a child process. As a test it does nothing.
#[test]
fn the_service() {
    let Ok(case) = env::var(CASE) else { return };
    let format = match case.as_str() {
        "full" => LogFormat::Full,
        "compact" => LogFormat::Compact,
        "json" => LogFormat::Json,
        "ecs" => LogFormat::Ecs,
        _ => LogFormat::Off,
    };
    let builder = Agent::builder().service_name("shop").service_version("1.2").environment("test");
    let agent = builder.service_node_name("n1").disable_send(true).log_format(format).install().unwrap();
    tracing::info!("outside");
    log::warn!(target: "other_crate::module", "by the log crate");
    agent.start_transaction("settle", "scheduled").in_scope(|| {
        let error = "x".parse::<u8>().unwrap_err();
        let span = tracing::info_span!("sell", order = 7, api_key = "hunter2", otel.kind = "internal");
        span.in_scope(|| {
            let error = &error as &(dyn Error + 'static);
            tracing::error!(error, user.id = "0xabc", token = "hunter2", price = 1.5, "not sold");
        });
        tracing::warn!(trace.id = "mine", "log.level" = "mine", "logged by the service");
    });
}

/// Like [`the_service`], with code that logs while a lock is held and while a thread ends.
#[test]
fn the_service_that_logs_in_callbacks() {
    if env::var(CASE).is_err() {
        return;
    }
    // a deadlock fails the test
    std::thread::spawn(|| {
        std::thread::sleep(std::time::Duration::from_secs(60));
        std::process::abort();
    });
    let filter = |_: &tower_apm::FinishedTransaction<'_>| {
        tracing::info!("logged in a filter");
        let error = "x".parse::<u8>().unwrap_err();
        tracing::error!(error = &error as &(dyn Error + 'static), "logged with an error");
        Transaction::current().is_active()
    };
    let builder = Agent::builder().service_name("shop").disable_send(true);
    let agent = builder.transaction_filter(filter).log_sending(true).install().unwrap();
    let tracer = opentelemetry::global::tracer("shop");
    for _ in 0..3 {
        let context = Context::current_with_span(tracer.start("root"));
        let _attached = context.clone().attach();
        // the span's lock is held while it ends
        context.span().record_error(&Logs);
        context.span().end();
    }
    // its destructor runs after that of OpenTelemetry's context
    std::thread::spawn(|| {
        LATE.with(|_| ());
        drop(Context::current());
    })
    .join()
    .unwrap();
    assert_eq!(agent.stats().filtered, 0, "{}", agent.stats());
}

thread_local! {
    static LATE: Late = const { Late };
}

struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        tracing::info!("logged at the end of a thread");
    }
}

#[derive(Debug)]
struct Logs;

impl Error for Logs {}

impl std::fmt::Display for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        tracing::info!("logged by an error");
        f.write_str("no funds")
    }
}

/// The lines that the service prints, without those of the test harness.
fn printed(case: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let is_ours = |line: &str| ["outside", "not sold", "logged by the service"].iter().any(|text| line.contains(text));
    let text = output("the_service", case, variables);
    text.lines().filter(|line| is_ours(line)).map(str::to_owned).collect()
}

fn output(service: &str, case: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([service, "--exact", "--nocapture", "--test-threads=1"]).env(CASE, case);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("ELASTIC_APM_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("hunter2") || !matches!(case, "ecs"), "{text}");
    text
}

fn objects(case: &str, variables: &[(&str, &str)]) -> Vec<Value> {
    printed(case, variables).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

// spec: log-correlation.md
#[test]
fn text_output_ends_with_the_trace_ids() {
    for case in ["full", "compact"] {
        let lines = printed(case, &[]);
        let [outside, inside, own] = &lines[..] else { panic!("{lines:?}") };
        assert!(!outside.contains("trace.id"), "{outside}");
        let (_, ids) = inside.split_once(" trace.id=").unwrap();
        let ids: Vec<_> = ids.split(' ').collect();
        let [trace, transaction, span] = ids[..] else { panic!("{ids:?}") };
        assert_eq!(trace.len(), 32);
        assert_eq!(transaction.strip_prefix("transaction.id=").unwrap().len(), 16);
        assert_eq!(span.strip_prefix("span.id=").unwrap().len(), 16);
        assert!(own.ends_with(&format!(r#" trace.id="mine" {transaction}"#)), "the service's own value is kept: {own}");
    }
}

// spec: log-correlation.md
#[test]
fn json_output_has_trace_id_fields() {
    let lines = objects("json", &[]);
    let [outside, inside, _] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(outside.get("trace.id"), None);
    assert_eq!(inside["fields"]["message"], "not sold");
    assert_eq!(inside["trace.id"].as_str().unwrap().len(), 32);
    assert!(inside["transaction.id"].is_string() && inside["span.id"].is_string());
}

// spec: log-reformatting.md
#[test]
fn ecs_output_has_the_fields_of_ecs() {
    let lines = objects("ecs", &[]);
    let [outside, inside, own] = &lines[..] else { panic!("{lines:?}") };
    let service = json!({
        "service.name": "shop", "service.version": "1.2", "service.environment": "test", "service.node.name": "n1",
        "event.dataset": "shop",
    });
    for line in &lines {
        for (name, value) in service.as_object().unwrap() {
            assert_eq!(&line[name], value);
        }
        let timestamp = line["@timestamp"].as_str().unwrap();
        assert!(timestamp.len() == "2026-11-25T21:04:05.067Z".len() && timestamp.ends_with('Z'), "{timestamp}");
    }
    assert_eq!((&outside["log.level"], &outside["message"]), (&json!("info"), &json!("outside")));
    assert_eq!((&outside["log.logger"], outside.get("trace.id")), (&json!("log_output"), None));
    let wanted = json!({
        "log.level": "error", "message": "not sold", "log.origin.file.name": file!(), "user.id": "0xabc",
        "error.type": "ParseIntError", "error.message": "invalid digit found in string",
        "labels": {"order": 7, "api_key": "[REDACTED]", "token": "[REDACTED]", "price": 1.5},
    });
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&inside[name], value, "{name} of {inside}");
    }
    assert_eq!(inside["trace.id"].as_str().unwrap().len(), 32);
    assert!(inside["transaction.id"].is_string() && inside["span.id"].is_string() && inside["error.id"].is_string());
    // fields of the service take precedence, except for those that the log record defines
    assert_eq!((&own["trace.id"], &own["log.level"]), (&json!("mine"), &json!("warn")));
    assert_eq!((own.get("span.id"), own.get("error.id")), (None, None));
}

#[test]
fn log_crate_line_has_its_own_target_in_every_format() {
    for case in ["full", "compact", "json", "ecs"] {
        let text = output("the_service", case, &[]);
        let line = text.lines().find(|line| line.contains("by the log crate")).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("other_crate::module") && !line.contains("log.target"), "{case}: {line}");
    }
    let json = output("the_service", "json", &[]);
    let line = json.lines().find(|line| line.contains("by the log crate")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["target"], &line["level"]), (&json!("other_crate::module"), &json!("WARN")));
    assert_eq!(line["fields"], json!({"message": "by the log crate"}));
}

// spec: log-reformatting.md
#[test]
fn log_ecs_reformatting_variable_overrides_the_format() {
    let lines = objects("compact", &[("ELASTIC_APM_LOG_ECS_REFORMATTING", "override")]);
    assert_eq!((lines.len(), &lines[0]["event.dataset"]), (3, &json!("shop")));
    assert_eq!(printed("off", &[("ELASTIC_APM_LOG_ECS_REFORMATTING", "override")]), [""; 0]);
}

/// Without the protection, the process would hang or abort.
// spec: log-correlation.md
#[test]
fn log_lines_in_filters_error_texts_and_destructors_do_not_deadlock() {
    let text = output("the_service_that_logs_in_callbacks", "full", &[]);
    for (line, times) in [
        ("logged in a filter", 3),
        ("logged with an error", 3),
        ("logged by an error", 3),
        ("logged at the end of a thread", 1),
    ] {
        assert_eq!(text.lines().filter(|logged| logged.contains(line)).count(), times, "{line} in:\n{text}");
    }
    let in_filter = text.lines().find(|line| line.contains("logged in a filter")).unwrap();
    assert!(in_filter.contains("transaction.id="), "{in_filter}");
}
