//! What is asked, and what each answer leads to, against the development server.

use std::{
    fmt,
    future::{pending, ready},
    sync::{Arc, Mutex},
};

use futures_util::future::Either;
use tokio::sync::Notify;
use tracing::{Level, Subscriber, field::Visit};
use tracing_subscriber::{Layer, layer};

use super::*;
use crate::{
    apm_server::{ServerSettings, ServerVersion, look_up},
    config::{CodeOptions, EnvVars, resolve},
    devserver::{Answer as Laid, DevServer},
};

const PATH: &str = "/config/v1/agents";

fn client(server: &DevServer) -> ServerClient {
    let url = server.url();
    let variables = [
        ("ELASTIC_APM_SERVER_URL", &*url),
        ("ELASTIC_APM_SECRET_TOKEN", "hunter2"),
        ("ELASTIC_APM_SERVICE_NAME", "shop"),
        ("ELASTIC_APM_SERVICE_VERSION", "1.2"),
    ];
    let (config, _) = resolve(&CodeOptions::default(), &EnvVars::from_iter(variables));
    ServerClient::new(&ServerSettings::from_config(&config, None)).unwrap()
}

/// What came of some polls: the pauses after them, and what was applied by then.
struct Polls {
    pauses: Vec<u64>,
    applied: Vec<(usize, Central)>,
}

/// Polls as often as there are steps, without the pauses; a step is what happens before the next poll.
async fn polls(server: &DevServer, environment: Option<&str>, steps: &[&dyn Fn()]) -> Polls {
    let (pauses, applied, done) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()), Notify::new());
    let wait = |pause: Duration| {
        let mut pauses = pauses.lock().unwrap();
        steps[pauses.len()]();
        pauses.push(pause.as_secs());
        if pauses.len() < steps.len() {
            return Either::Left(ready(()));
        }
        done.notify_one();
        Either::Right(pending())
    };
    let apply = |central| applied.lock().unwrap().push((pauses.lock().unwrap().len(), central));
    tokio::select! {
        () = follow_with(client(server), "shop".to_owned(), environment.map(str::to_owned), apply, wait) => {}
        () = done.notified() => {}
    }
    let (pauses, applied) = (pauses.into_inner().unwrap(), applied.into_inner().unwrap());
    Polls { pauses, applied }
}

fn header(request: &http::Request<()>, name: &str) -> Option<String> {
    request.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

// spec: configuration.md
#[tokio::test]
async fn central_config_request_has_service_environment_and_credentials() {
    for (environment, query) in
        [(None, "service.name=shop"), (Some("pre prod"), "service.name=shop&service.environment=pre%20prod")]
    {
        let server = DevServer::builder().secret_token("hunter2").bind("127.0.0.1:0").unwrap();
        let polls = polls(&server, environment, &[&|| {}]).await;
        assert_eq!((polls.pauses, polls.applied), (vec![30], vec![(0, Central::new())]));
        let requests = server.requests(PATH);
        let [request] = &requests[..] else { panic!("{requests:?}") };
        assert_eq!(request.uri().query(), Some(query));
        assert_eq!(header(request, "authorization").as_deref(), Some("Bearer hunter2"));
        let agent = format!("apm-agent-rust/{} (shop 1.2)", env!("CARGO_PKG_VERSION"));
        assert_eq!(header(request, "user-agent"), Some(agent));
        assert_eq!(header(request, "if-none-match"), None);
        assert!(!format!("{requests:?}").contains("hunter2"));
    }
}

// spec: configuration.md
#[tokio::test]
async fn poll_without_a_response_keeps_the_central_config() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    server.set_agent_config("shop", [("capture_body", "all")]);
    let failures = [Laid::unavailable(), Laid::cut()];
    server.script_agent_config([&[Laid::normal(), Laid::normal()], &failures[..]].concat());
    let change = || server.set_agent_config("shop", [("capture_body", "off")]);
    let nothing = || {};
    let polls = polls(&server, None, &[&nothing, &nothing, &nothing, &change, &nothing, &nothing]).await;
    assert_eq!(polls.pauses, [30, 30, 300, 300, 30, 30]);
    let set = |value: &str| Central::from([("capture_body".to_owned(), value.to_owned())]);
    assert_eq!(polls.applied, [(0, set("all")), (4, set("off"))], "a 304 or a failure changes nothing");
    let tags: Vec<_> = server.requests(PATH).iter().map(|request| header(request, "if-none-match")).collect();
    let [None, Some(first), second, third, fourth, Some(last)] = &tags[..] else { panic!("{tags:?}") };
    assert!(first.starts_with('"') && first.ends_with('"'), "{first}: as it came");
    assert_eq!([second, third, fourth], [&Some(first.clone()); 3], "a failure does not forget the tag");
    assert_ne!(last, first);
}

// spec: transport.md
#[tokio::test]
async fn version_response_without_a_version_warns_about_credentials_once() {
    use tracing_subscriber::layer::SubscriberExt;

    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    for (token, warnings) in [("hunter2", 0), ("hunter3", 1)] {
        let server = DevServer::builder().secret_token(token).bind("127.0.0.1:0").unwrap();
        let version = ServerVersion::default();
        tokio::select! {
            () = look_up(client(&server), version.clone()) => {}
            () = async { version.asked().await; tokio::task::yield_now().await } => {}
        }
        let lines = std::mem::take(&mut *lines.0.lock().unwrap());
        let warned = lines.iter().filter(|(level, _)| *level == Level::WARN).collect::<Vec<_>>();
        assert_eq!(warned.len(), warnings, "{lines:?}");
        assert!(warned.iter().all(|(_, text)| text.contains("secret_token")), "{lines:?}");
        assert_eq!(version.takes_unsampled(), token == "hunter3", "what is not known is taken for old");
    }
}

/// Levels and texts of what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn fmt::Debug) {
                self.0.push_str(&format!("{value:?}"));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        if event.metadata().target() == "tower_apm" {
            self.0.lock().unwrap().push((*event.metadata().level(), text.0));
        }
    }
}

// spec: configuration.md
#[tokio::test]
async fn log_level_of_a_failed_poll_depends_on_the_status() {
    use tracing_subscriber::layer::SubscriberExt;

    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    for (status, level) in [
        (200, None),
        (304, None),
        (400, Some(Level::DEBUG)),
        (401, Some(Level::DEBUG)),
        (403, Some(Level::DEBUG)),
        (404, Some(Level::DEBUG)),
        (500, Some(Level::ERROR)),
        (503, Some(Level::ERROR)),
    ] {
        lines.0.lock().unwrap().clear();
        let answer = Answer { status, ..Answer::default() };
        let (mut poll, applied) = (Poll::default(), Mutex::new(0));
        for _ in 0..2 {
            assert_eq!(poll.answered(Ok(&answer), |_| *applied.lock().unwrap() += 1), PAUSE, "{status}");
        }
        assert_eq!(*applied.lock().unwrap(), if status == 200 { 2 } else { 0 });
        let lines = lines.0.lock().unwrap();
        assert_eq!(lines.first().map(|(level, _)| *level), level, "{status}: {lines:?}");
        assert!(lines.iter().all(|(_, text)| text.contains(&status.to_string())), "{lines:?}");
        let errors = lines.iter().filter(|(level, _)| *level == Level::ERROR).count();
        assert!(errors <= 1, "{status} is told once: {lines:?}");
    }
}
