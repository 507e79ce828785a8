//! `Debug` output of public types, which helps to find a fault and shows no secrets.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, Response},
};
use tower::{Layer, Service, service_fn};
use tower_apm::{
    Agent, AgentBuilder, ApmFutureExt, CloudProvider, EnvVars, Panicked, ServiceError, Transaction, User,
    devserver::DevServer, testkit::TestAgent, trace_context,
};

/// The planted secret.
const SECRET: &str = "hunter2";

/// The `Debug` outputs of values that hold the secret, in both forms, and a text that each must show.
#[derive(Default)]
struct Outputs(Vec<(&'static str, String, &'static str)>);

impl Outputs {
    fn add(&mut self, name: &'static str, value: &dyn Debug, shown: &'static str) {
        self.0.push((name, format!("{value:?}\n{value:#?}"), shown));
    }
}

fn builder() -> AgentBuilder {
    let environment = [("ELASTIC_APM_SECRET_TOKEN", SECRET), ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2")];
    Agent::builder()
        .env_vars(EnvVars::from_iter(environment))
        .service_name("shop")
        .secret_token(SECRET)
        .api_key(SECRET)
        .server_url("https://ada:hunter2@apm.example.com")
        .server_urls([
            "http://ada:hunter2@one.example.com",
            "two.example.com?token=hunter2",
            "hunter2@three.example.com",
        ])
        .otlp_endpoint("https://ada:hunter2@otlp.example.com/v1?token=hunter2")
        .otlp_headers([("authorization", "Bearer hunter2"), ("x-api-key", SECRET)])
        .cloud_provider(CloudProvider::None)
        .central_config(false)
}

/// The agent sends nothing.
fn agent() -> (Agent, Arc<Mutex<Outputs>>) {
    let outputs = Arc::new(Mutex::new(Outputs::default()));
    let (of_transactions, of_errors) = (outputs.clone(), outputs.clone());
    let agent = builder()
        .env_vars(EnvVars::from_iter([("ELASTIC_APM_SECRET_TOKEN", SECRET)]))
        .disable_send(true)
        .transaction_filter(move |transaction| {
            of_transactions.lock().unwrap().add("FinishedTransaction", transaction, "GET /account");
            true
        })
        .error_filter(move |error| {
            of_errors.lock().unwrap().add("ReportedError", error, "LoginFailed");
            true
        });
    (agent.build().unwrap(), outputs)
}

#[derive(Debug, thiserror::Error)]
#[error("login with password=hunter2 failed")]
struct LoginFailed;

/// The transaction has the secret in everything that can be set on it.
fn fill(tx: &Transaction) {
    tx.set_name("GET /account?access_token=hunter2 password=hunter2")
        .set_label("password", SECRET)
        .set_custom_context("password", SECRET)
        .set_result(SECRET)
        .set_user(User::id("0xdef").name(SECRET).email(SECRET));
}

#[tokio::test]
async fn debug_output_of_public_types_contains_no_secret() {
    let (agent, collected) = agent();
    let mut outputs = Outputs::default();

    outputs.add("AgentBuilder", &builder(), "apm.example.com");
    outputs.add("EnvVars", &EnvVars::from_iter([("ELASTIC_APM_API_KEY", SECRET)]), "ELASTIC_APM_API_KEY");
    outputs.add("Agent", &agent, "shop");
    outputs.add("ApmMeterProvider", &agent.meter_provider(), "ApmMeterProvider");
    outputs.add("ApmMetricExporter", &agent.metric_exporter(), "ApmMetricExporter");
    outputs.add("User", &User::id("0xdef").name(SECRET).email(SECRET), "0xdef");

    let started = agent.start_transaction("GET /account?access_token=hunter2", "job");
    fill(&started);
    outputs.add("StartedTransaction", &started, "trace_id");
    let carried = started.in_scope(|| {
        outputs.add("Transaction", &Transaction::current(), "trace_id");
        let captured = Transaction::current().error(&LoginFailed).label("password", SECRET).custom("a", SECRET);
        outputs.add("ErrorBuilder", &captured.message_template("password=hunter2"), "LoginFailed");
        Transaction::current().capture_error(&LoginFailed);
        let secret = SECRET.to_owned();
        async move { drop(secret) }.in_current_transaction()
    });
    outputs.add("InTransaction", &carried, "trace_id");
    drop(carried);

    let mut headers = HeaderMap::new();
    headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
    headers.insert("baggage", "session=hunter2,password=hunter2".parse().unwrap());
    outputs.add("TraceContext", &trace_context::extract(&headers), "0af7651916cd43dd8448eb211c80319c");

    let message = "cannot connect to postgres://ada:hunter2@db: password=hunter2".to_owned();
    outputs.add("Panicked", &Panicked { message: message.clone() }, "cannot connect");
    outputs.add("ServiceError", &ServiceError { message }, "cannot connect");

    let inner = service_fn(|_: Request<Body>| async { Ok::<_, std::io::Error>(Response::new(Body::from(SECRET))) });
    let layer = agent.layer().module("market").on_request(|tx, _| fill(tx));
    outputs.add("ApmLayer", &layer, "market");
    let mut service = layer.layer(inner);
    let request = Request::get("/account?access_token=hunter2").header("authorization", "Bearer hunter2");
    let responding = service.call(request.body(Body::from(SECRET)).unwrap());
    outputs.add("ResponseFuture", &responding, "ResponseFuture");
    let response = responding.await.unwrap();
    outputs.add("ResponseBody", response.body(), "ResponseBody");
    drop(response);
    outputs.add("ApmService", &agent.layer().module("market").layer(Router::<()>::new()), "market");

    let server = DevServer::builder().secret_token(SECRET).api_key(SECRET);
    outputs.add("DevServerBuilder", &server, "***");
    outputs.add("DevServer", &server.bind("127.0.0.1:0").unwrap(), "127.0.0.1");
    let kit = TestAgent::builder().deadline(Duration::from_secs(7)).configure(|agent| agent.secret_token(SECRET));
    outputs.add("TestAgentBuilder", &kit, "7s");
    outputs.add("TestAgent", &kit.start().await, "127.0.0.1");

    outputs.0.append(&mut collected.lock().unwrap().0);
    for name in ["FinishedTransaction", "ReportedError"] {
        assert!(outputs.0.iter().any(|(of, ..)| *of == name), "no {name} was shown");
    }
    let wrong = outputs.0.iter().filter(|(_, output, shown)| output.contains(SECRET) || !output.contains(shown));
    let wrong: Vec<_> = wrong.map(|(name, output, _)| format!("{name}: {output}")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
