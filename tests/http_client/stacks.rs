//! The client layer in stacks of tower.

use std::{collections::HashSet, time::Duration};

use axum::{
    body::Bytes,
    http::{Request, Response},
};
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceBuilder, ServiceExt, retry::Policy};
use tower_apm::{client_layer, testkit::Kind, testkit::TestAgent};

use crate::{
    events, in_transaction, only_span,
    server::{Server, client},
    spans,
};

/// Retries requests for which the status is 500 or above.
#[derive(Clone)]
struct Attempts(usize);

impl<R, E> Policy<Request<Full<Bytes>>, Response<R>, E> for Attempts {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut Request<Full<Bytes>>, result: &mut Result<Response<R>, E>) -> Option<Self::Future> {
        let fails = result.as_ref().is_ok_and(|response| response.status().is_server_error());
        self.0 = self.0.checked_sub(1)?;
        fails.then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn each_attempt_of_a_retry_above_has_a_span() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    let client = ServiceBuilder::new().retry(Attempts(5)).layer(client_layer()).service(client());
    in_transaction(&apm, async {
        let response = client.oneshot(server.get("/flaky")).await.unwrap();
        assert_eq!(response.status(), 200);
    })
    .await;
    let spans = spans(&apm).await;
    let status = |span: &serde_json::Value| span["context"]["http"]["response"]["status_code"].clone();
    assert_eq!(spans.iter().map(status).collect::<Vec<_>>(), [503, 503, 200]);
    let sent: HashSet<_> = server.header("traceparent").into_iter().flatten().collect();
    let ids: Vec<_> = spans.iter().map(|span| span["id"].as_str().unwrap()).collect();
    assert_eq!(sent.len(), 3);
    assert!(ids.iter().all(|id| sent.iter().any(|header| header.contains(id))), "{ids:?} {sent:?}");
}

#[tokio::test]
async fn all_attempts_of_a_retry_below_are_one_span() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    let client = ServiceBuilder::new().layer(client_layer()).retry(Attempts(5)).service(client());
    in_transaction(&apm, client.oneshot(server.get("/flaky"))).await.unwrap();
    let span = only_span(&apm).await;
    assert_eq!((&span["outcome"], server.header("traceparent").len()), (&"success".into(), 3));
}

#[tokio::test]
async fn timeout_below_is_an_error_of_the_client() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    let client = ServiceBuilder::new().layer(client_layer()).timeout(Duration::from_millis(20)).service(client());
    in_transaction(&apm, client.oneshot(server.get("/never"))).await.unwrap_err();
    assert_eq!(only_span(&apm).await["outcome"], "failure");
    apm.expect_error("request timed out").await.kind("Elapsed");
}

#[tokio::test]
async fn timeout_above_cancels_the_request() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    let client = ServiceBuilder::new().timeout(Duration::from_millis(20)).layer(client_layer()).service(client());
    in_transaction(&apm, client.oneshot(server.get("/never"))).await.unwrap_err();
    assert_eq!(only_span(&apm).await["outcome"], "unknown");
    assert_eq!(events(&apm, Kind::Error).await.len(), 0);
}

#[tokio::test]
async fn concurrent_requests_have_the_parents_of_their_callers() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    let client = ServiceBuilder::new().layer(client_layer()).buffer(8).concurrency_limit(4).service(client());
    let calls = (0..20).map(|n| {
        let (apm, server, mut client) = (&apm, &server, client.clone());
        apm.agent().start_transaction(format!("work {n}"), "scheduled").run(async move {
            let response = client.ready().await.unwrap().call(server.get("/ok")).await.unwrap();
            response.into_body().collect().await.unwrap();
        })
    });
    join_all(calls).await;
    let spans = spans(&apm).await;
    let transactions = events(&apm, Kind::Transaction).await;
    let parents: HashSet<_> = spans.iter().map(|span| span["parent_id"].as_str().unwrap()).collect();
    assert_eq!((spans.len(), parents.len(), transactions.len()), (20, 20, 20));
    assert!(transactions.iter().all(|transaction| parents.contains(transaction["id"].as_str().unwrap())));
}

#[tokio::test]
async fn twenty_requests_of_one_transaction_are_twenty_spans() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    let mut client = ServiceBuilder::new().layer(client_layer()).service(client());
    in_transaction(&apm, async {
        let calls: Vec<_> = (0..20).map(|_| client.call(server.get("/ok"))).collect();
        for response in join_all(calls).await {
            response.unwrap().into_body().collect().await.unwrap();
        }
    })
    .await;
    let spans = spans(&apm).await;
    let ids: HashSet<_> = spans.iter().map(|span| span["id"].as_str().unwrap().to_owned()).collect();
    let sent: HashSet<_> =
        server.header("traceparent").into_iter().flatten().map(|sent| sent[36..52].to_owned()).collect();
    assert_eq!((ids.len(), ids), (20, sent));
    assert!(spans.iter().all(|span| span["outcome"] == "success"));
    apm.expect_transaction("work").await.field("/span_count/started", 20);
}
