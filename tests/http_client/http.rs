//! HTTP requests: documents, outcomes, and the ends of spans.

use std::{error::Error, io};

use axum::{
    body::Bytes,
    http::{Request, Response},
};
use http_body_util::{BodyExt, Empty, Full};
use opentelemetry::trace::{Tracer, TracerProvider};
use serde_json::json;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_apm::{ClientService, client_layer, testkit::Kind, testkit::TestAgent};

use crate::{
    agents, by_otlp, document, events, in_transaction, only_span,
    server::{CHUNK, CHUNKS, HttpClient, Server, client, closed_port, cut_response},
    spans,
};

fn recorded_client() -> ClientService<HttpClient> {
    client_layer().layer(client())
}

/// Sends a request and reads the response to its end.
async fn fetch(server: &Server, path: &str) {
    let response = recorded_client().oneshot(server.get(path)).await.unwrap();
    response.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn request_is_an_exit_span_of_its_transaction() {
    let server = Server::start().await;
    let [intake, otlp] = agents().await;
    for apm in [&intake, &otlp] {
        in_transaction(apm, fetch(&server, "/ok?page=2&api_key=hunter2")).await;
        apm.expect_span(&format!("GET {}", server.address)).await.child_of("work");
    }
    let url = "http://127.0.0.1:8080/ok?page=2&api_key=[REDACTED]";
    let want = json!({
        "name": "GET 127.0.0.1:8080",
        "type": "external",
        "subtype": "http",
        "action": "GET",
        "outcome": "success",
        "sync": true,
        "sample_rate": 1.0,
        "otel": { "span_kind": "CLIENT" },
        "context": {
            "http": { "url": url, "method": "GET", "response": { "status_code": 200 } },
            "destination": {
                "address": "127.0.0.1",
                "port": 8080,
                "service": { "name": "", "type": "", "resource": "127.0.0.1:8080" }
            },
            "service": { "target": { "type": "http", "name": "127.0.0.1:8080" } }
        }
    });
    assert_eq!(document(&only_span(&intake).await, server.port()), want);
    assert_eq!(document(&only_span(&otlp).await, server.port()), by_otlp(want));
}

#[tokio::test]
async fn outcome_follows_from_the_status() {
    let server = Server::start().await;
    for (status, outcome) in
        [(204, "success"), (304, "success"), (399, "success"), (400, "failure"), (404, "failure"), (503, "failure")]
    {
        let apm = TestAgent::start().await;
        in_transaction(&apm, fetch(&server, &format!("/status/{status}"))).await;
        let span = only_span(&apm).await;
        assert_eq!(
            (&span["outcome"], &span["context"]["http"]["response"]["status_code"]),
            (&json!(outcome), &json!(status))
        );
        assert_eq!(events(&apm, Kind::Error).await, [] as [serde_json::Value; 0]);
    }
}

#[tokio::test]
async fn credentials_of_the_url_are_not_recorded() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    let url = server.url("/ok?token=hunter2&q=apes").replace("http://", "http://ada:hunter2@");
    let request = Request::get(url).body(Full::<Bytes>::default()).unwrap();
    let refused = format!("http://ada:hunter2@{}/?token=hunter2", closed_port().await);
    let refused = Request::get(refused).body(Full::<Bytes>::default()).unwrap();
    in_transaction(&apm, async {
        recorded_client().oneshot(request).await.unwrap();
        recorded_client().oneshot(refused).await.unwrap_err();
    })
    .await;
    assert_eq!(spans(&apm).await.len(), 2);
    apm.assert_no_secret("hunter2");
    let url = server.url("/ok?token=[REDACTED]&q=apes");
    assert!(spans(&apm).await.iter().any(|span| span["context"]["http"]["url"] == *url), "{url}");
}

#[tokio::test]
async fn refused_connection_is_a_failure_with_an_error() {
    let address = closed_port().await;
    for apm in agents().await {
        let request = Request::get(format!("http://{address}/ok")).body(Full::<Bytes>::default()).unwrap();
        in_transaction(&apm, recorded_client().oneshot(request)).await.unwrap_err();
        let span = only_span(&apm).await;
        assert_eq!((&span["outcome"], span["context"]["http"].get("response")), (&json!("failure"), None));
        let errors = events(&apm, Kind::Error).await;
        assert_eq!((errors.len(), &errors[0]["parent_id"]), (1, &span["id"]));
        apm.expect_error("client error (Connect)").await.caused_by("tcp connect error");
    }
}

#[tokio::test]
async fn errors_of_an_unsampled_transaction_are_recorded() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_sample_rate(0.0)).start().await;
    let refused = Request::get(format!("http://{}/", closed_port().await)).body(Full::<Bytes>::default()).unwrap();
    let cut = Request::get(format!("http://{}/", cut_response().await)).body(Full::<Bytes>::default()).unwrap();
    in_transaction(&apm, async {
        recorded_client().oneshot(refused).await.unwrap_err();
        recorded_client().oneshot(cut).await.unwrap().into_body().collect().await.unwrap_err();
    })
    .await;
    assert_eq!((spans(&apm).await.len(), events(&apm, Kind::Error).await.len()), (0, 2));
}

#[tokio::test]
async fn panic_of_the_client_is_a_failure() {
    let apm = TestAgent::start().await;
    let inner =
        service_fn(async |_: Request<Empty<Bytes>>| -> io::Result<Response<Empty<Bytes>>> { panic!("no client") });
    let request = Request::get("http://rates.example/").body(Empty::new()).unwrap();
    let call = apm.agent().start_transaction("work", "scheduled").run(client_layer().layer(inner).oneshot(request));
    tokio::spawn(call).await.unwrap_err();
    assert_eq!(only_span(&apm).await["outcome"], "failure");
}

#[derive(Debug, thiserror::Error)]
#[error("the exchange is closed")]
struct Closed(#[source] io::Error);

#[tokio::test]
async fn errors_of_any_type_are_recorded_with_their_causes() {
    let apm = TestAgent::start().await;
    let request = || Request::get("http://rates.example/").body(Empty::<Bytes>::new()).unwrap();
    let closed = || Closed(io::Error::other("maintenance"));
    let typed = service_fn(async |_: Request<Empty<Bytes>>| Err::<Response<Empty<Bytes>>, _>(closed()));
    let boxed = service_fn(async |_: Request<Empty<Bytes>>| {
        Err::<Response<Empty<Bytes>>, Box<dyn Error + Send + Sync>>(Box::new(closed()))
    });
    in_transaction(&apm, async {
        let error: Closed = client_layer().layer(typed).oneshot(request()).await.unwrap_err();
        assert_eq!(error.0.to_string(), "maintenance", "the caller gets the client's own error");
    })
    .await;
    apm.expect_error("the exchange is closed").await.kind("Closed").caused_by("maintenance");
    apm.clear();
    in_transaction(&apm, client_layer().layer(boxed).oneshot(request())).await.unwrap_err();
    apm.expect_error("the exchange is closed").await.kind("Closed").caused_by("maintenance");
}

#[tokio::test]
async fn span_ends_with_the_response_body() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    in_transaction(&apm, async {
        let response = recorded_client().oneshot(server.get("/large")).await.unwrap();
        assert_eq!(spans(&apm).await, [] as [serde_json::Value; 0], "the body is not read yet");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), CHUNK.len() * CHUNKS);
        assert_eq!(only_span(&apm).await["outcome"], "success");
    })
    .await;
}

#[tokio::test]
async fn body_that_is_dropped_early_ends_the_span() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    in_transaction(&apm, async {
        let mut response = recorded_client().oneshot(server.get("/endless")).await.unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(spans(&apm).await.len(), 0);
        drop(response);
        assert_eq!(only_span(&apm).await["outcome"], "success");
    })
    .await;
}

#[tokio::test]
async fn body_that_breaks_is_a_failure_with_an_error() {
    for apm in agents().await {
        let request = Request::get(format!("http://{}/", cut_response().await)).body(Full::<Bytes>::default()).unwrap();
        in_transaction(&apm, async {
            let response = recorded_client().oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap_err();
        })
        .await;
        let span = only_span(&apm).await;
        assert_eq!(span["outcome"], "failure");
        assert_eq!(span["context"]["http"]["response"]["status_code"], 200);
        let errors = events(&apm, Kind::Error).await;
        assert_eq!((errors.len(), &errors[0]["parent_id"]), (1, &span["id"]));
    }
}

#[tokio::test]
async fn response_without_a_body_ends_the_span_at_once() {
    let server = Server::start().await;
    for (method, path) in [("HEAD", "/ok"), ("GET", "/status/204"), ("GET", "/status/200")] {
        let apm = TestAgent::start().await;
        let request = Request::builder().method(method).uri(server.url(path)).body(Full::<Bytes>::default()).unwrap();
        in_transaction(&apm, async {
            let response = recorded_client().oneshot(request).await.unwrap();
            assert_eq!(only_span(&apm).await["outcome"], "success", "{method} {path}");
            drop(response);
        })
        .await;
    }
}

#[tokio::test]
async fn cancelled_request_has_an_unknown_outcome() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    in_transaction(&apm, async {
        let mut request = Box::pin(recorded_client().oneshot(server.get("/never")));
        assert!(futures_util::poll!(&mut request).is_pending());
    })
    .await;
    let span = only_span(&apm).await;
    assert_eq!((&span["outcome"], span["context"]["http"].get("response")), (&json!("unknown"), None));
}

#[tokio::test]
async fn redirect_is_a_response() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    in_transaction(&apm, fetch(&server, "/redirect")).await;
    let span = only_span(&apm).await;
    assert_eq!(
        (&span["outcome"], &span["context"]["http"]["response"]["status_code"]),
        (&json!("success"), &json!(307))
    );
}

#[tokio::test]
async fn method_and_body_reach_the_server() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    let request = Request::post(server.url("/echo")).body(Full::from("apes")).unwrap();
    let body = in_transaction(&apm, async {
        recorded_client().oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
    });
    assert_eq!(body.await, "apes");
    assert_eq!(only_span(&apm).await["name"], format!("POST {}", server.address));
}

#[tokio::test]
async fn server_address_of_the_layer_is_the_destination() {
    let apm = TestAgent::start().await;
    let inner = service_fn(async |_: Request<Empty<Bytes>>| Ok::<_, io::Error>(Response::new(Empty::<Bytes>::new())));
    let layer = client_layer().server_address("orders.internal", 8443);
    let host = Request::get("/orders/7").header("host", "orders.example:81").body(Empty::new()).unwrap();
    in_transaction(&apm, async {
        layer.layer(inner).oneshot(Request::get("/orders/7").body(Empty::new()).unwrap()).await.unwrap();
        client_layer().layer(inner).oneshot(host).await.unwrap();
    })
    .await;
    let spans = spans(&apm).await;
    let of = |n: usize| {
        let context = &spans[n]["context"];
        json!([spans[n]["name"], context["http"]["url"], context["service"]["target"]["name"]])
    };
    let orders = "orders.internal:8443";
    assert_eq!(of(0), json!([format!("GET {orders}"), format!("http://{orders}/orders/7"), orders]));
    let orders = "orders.example:81";
    assert_eq!(of(1), json!([format!("GET {orders}"), format!("http://{orders}/orders/7"), orders]));
}

#[tokio::test]
async fn request_outside_of_a_transaction_is_not_recorded() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    fetch(&server, "/ok").await;
    assert_eq!(server.header("traceparent"), [None]);
    assert_eq!(spans(&apm).await.len(), 0);
}

#[tokio::test]
async fn spans_of_the_client_are_part_of_the_exit_span() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("client");
    let inner = service_fn(async |_: Request<Empty<Bytes>>| {
        tracer.in_span("resolve", |_| ());
        Ok::<_, io::Error>(Response::new(Empty::<Bytes>::new()))
    });
    let mut client = client_layer().layer(inner);
    in_transaction(&apm, async {
        let request = Request::get("http://rates.example/").body(Empty::new()).unwrap();
        client.ready().await.unwrap().call(request).await.unwrap();
        tracer.in_span("after", |_| ());
    })
    .await;
    let names: Vec<_> = spans(&apm).await.iter().map(|span| span["name"].clone()).collect();
    assert_eq!(names, ["GET rates.example", "after"], "spans within an exit span are not recorded");
}
