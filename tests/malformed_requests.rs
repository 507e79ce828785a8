//! Malformed headers and bodies of requests are logged once, without their values.
//!
//! This test needs its own binary: it sets the global subscriber, because the agent's thread logs a part of the warnings,
//! and each header is logged once per process.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, http::Request, routing::post};
use tower::ServiceExt;
use tower_apm::{Agent, CaptureBody, EnvVars, devserver::DevServer, trace_context};
use tracing::field::{Field, Visit};
use tracing_subscriber::{Layer, layer::SubscriberExt};

/// Longer than the test takes on any machine.
const DEADLINE: Duration = Duration::from_secs(60);
const SECRET: &str = "hunter2";

/// The warnings of the agent.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.0.push_str(&format!("{field}={value:?} "));
            }
        }
        if event.metadata().target() == "tower_apm" && *event.metadata().level() <= tracing::Level::WARN {
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }
}

type Header<'a> = (&'a str, &'a str);

#[tokio::test]
async fn malformed_headers_and_bodies_are_logged_once_without_their_values() {
    let warnings = Warnings::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(warnings.clone())).unwrap();
    let server = DevServer::builder().bind("127.0.0.1:0").unwrap();
    let agent = Agent::builder().env_vars(EnvVars::empty()).service_name("shop").server_url(server.url());
    let agent = agent.metrics_interval(Duration::ZERO).capture_body(CaptureBody::All).build().unwrap();
    let app = Router::new().route("/", post(async |body: String| body)).layer(agent.layer());
    let send = async |headers: &[Header<'_>], body: &str| {
        let mut request = Request::post("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        agent.flush(DEADLINE).await.unwrap();
    };
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let json = ("content-type", "application/json");

    send(&[("traceparent", parent), ("tracestate", "es=s:0.5, ,a=b"), ("baggage", "a=1, ,b=2;ttl=3"), json], "{}")
        .await;
    send(&[("traceparent", parent), ("tracestate", ""), ("baggage", ""), ("content-type", "text/plain")], "[REDACTED]")
        .await;
    send(&[("tracestate", "without a parent it does not count")], "").await;
    assert_eq!(warnings.take(), [""; 0], "valid values are not logged");

    let malformed = format!("00-{SECRET}-01");
    let baggage = format!("a=1,{SECRET}");
    let cases: [(&str, &[Header<'_>], &str); 5] = [
        ("traceparent", &[("traceparent", &malformed)], ""),
        ("elastic-apm-traceparent", &[("elastic-apm-traceparent", parent), ("elastic-apm-traceparent", parent)], ""),
        ("tracestate", &[("traceparent", parent), ("tracestate", SECRET)], ""),
        ("baggage", &[("baggage", &baggage)], ""),
        ("body", &[json], SECRET),
    ];
    for (what, headers, body) in cases {
        send(headers, body).await;
        let logged = warnings.take();
        assert_eq!(logged.len(), 1, "{what}: {logged:?}");
        assert!(logged[0].contains(what) && !logged[0].contains(SECRET), "{what}: {logged:?}");
        send(headers, body).await;
        assert_eq!(warnings.take(), [""; 0], "{what} is not logged again");
    }
    for header in [&malformed, parent] {
        send(&[("traceparent", header), ("traceparent", header)], "").await;
        assert_eq!(warnings.take(), [""; 0], "a header is logged once, for whatever reason");
    }
    let _ = trace_context::extract_message(|name| (name == "elasticapmtraceparent").then_some(SECRET.as_bytes()));
    let logged = warnings.take();
    assert!(
        logged.len() == 1 && logged[0].contains("elasticapmtraceparent") && !logged[0].contains(SECRET),
        "{logged:?}"
    );
    agent.shutdown(DEADLINE).await.unwrap();
}
