//! The start-up line of the agent, and its log level.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use tower_apm::{Agent, EnvVars};
use tracing::{Level, Subscriber, field, subscriber::with_default};
use tracing_subscriber::{Layer, layer, layer::SubscriberExt};

/// Level, target and text of each line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String, String)>>>);

impl Lines {
    fn of(&self, level: Level) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.0 == level).map(|line| line.2.clone()).collect()
    }

    fn targets(&self) -> Vec<String> {
        self.0.lock().unwrap().drain(..).map(|line| line.1).collect()
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        struct Text(String);
        impl field::Visit for Text {
            fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let (level, target) = (*event.metadata().level(), event.metadata().target().to_owned());
        self.0.lock().unwrap().push((level, target, text.0));
    }
}

// spec: logging.md
#[test]
fn startup_line_contains_service_host_and_options() {
    let lines = Lines::default();
    let environment = [("ELASTIC_APM_LOG_FILE", "apm.log"), ("ELASTIC_APM_API_KEY", "hunter2")];
    let agent = with_default(tracing_subscriber::registry().with(lines.clone()), || {
        let builder = Agent::builder().env_vars(EnvVars::from_iter(environment)).disable_send(true);
        builder.service_name("shop").service_version("1.2").secret_token("hunter3").build().unwrap()
    });
    let logged = lines.of(Level::INFO);
    let [line] = &logged[..] else { panic!("{logged:?}") };
    assert_eq!(line, &agent.startup_summary());
    for fact in [
        format!("tower-apm {} (pid {}, ", env!("CARGO_PKG_VERSION"), std::process::id()),
        format!("{} {}, host ", std::env::consts::OS, std::env::consts::ARCH),
        "rust 1.".to_owned(),
        r#"server_url="http://127.0.0.1:8200" (default)"#.to_owned(),
        r#"service_name="shop" (code)"#.to_owned(),
        r#"service_version="1.2" (code)"#.to_owned(),
        r#"api_key="[REDACTED]" (ELASTIC_APM_API_KEY)"#.to_owned(),
        r#"log_level="info" (default)"#.to_owned(),
    ] {
        assert!(line.contains(&fact), "{fact} is not in {line}");
    }
    assert!(!line.contains("hunter") && !line.contains('\n'), "{line}");
    let warnings = lines.of(Level::WARN);
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("ELASTIC_APM_LOG_FILE"), "{warning}");
}

#[test]
fn log_level_applies_only_to_the_agent_in_any_subscriber() {
    for (level, expected) in [("warning", &["tower_apm", "shop"][..]), ("error", &["shop"]), ("off", &["shop"])] {
        let environment = EnvVars::from_iter([("ELASTIC_APM_LOG_LEVEL", level)]);
        let agent = Agent::builder().env_vars(environment).disable_send(true).build().unwrap();
        let lines = Lines::default();
        let warn = || {
            drop(agent.layer().response_trace_id_header("no header"));
            tracing::warn!(target: "shop", "out of apes");
        };
        // in any order of layers
        with_default(tracing_subscriber::registry().with(agent.tracing_layer()).with(lines.clone()), warn);
        assert_eq!(lines.targets(), expected, "{level}");
        with_default(tracing_subscriber::registry().with(lines.clone()).with(agent.tracing_layer()), warn);
        assert_eq!(lines.targets(), expected, "{level}");
        let without_spans = agent.tracing_layer_without_spans();
        with_default(tracing_subscriber::registry().with(without_spans).with(lines.clone()), warn);
        assert_eq!(lines.targets(), expected, "{level}");
        // a layer with its own filter does not bypass the level
        let filtered = lines.clone().with_filter(tracing::level_filters::LevelFilter::TRACE);
        with_default(tracing_subscriber::registry().with(agent.tracing_layer()).with(filtered), warn);
        assert_eq!(lines.targets(), expected, "{level}");
    }
}

#[test]
fn tracing_layer_max_level_hint_is_info() {
    let agent = Agent::builder().env_vars(EnvVars::empty()).disable_send(true).build().unwrap();
    let hint = |subscriber: &dyn Subscriber| subscriber.max_level_hint();
    let info = Some(tracing::level_filters::LevelFilter::INFO);
    assert_eq!(hint(&tracing_subscriber::registry().with(agent.tracing_layer())), info);
    assert_eq!(hint(&tracing_subscriber::registry().with(agent.tracing_layer_without_spans())), info);
}
