//! `reqwest::Client` under the layer, and `send_with_span`.

mod http_server;

use std::time::Duration;

use futures_util::{StreamExt, future::join_all};
use http_server::{Server, agents, assert_document, in_transaction, only_span, spans};
use reqwest::Client;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_apm::{ClientService, RequestBuilderExt, client_layer, testkit::TestAgent};

fn recorded(client: &Client) -> ClientService<Client> {
    ServiceBuilder::new().layer(client_layer()).service(client.clone())
}

#[tokio::test]
async fn request_through_the_layer_is_an_exit_span() {
    let (server, client) = (Server::start().await, Client::new());
    for apm in agents().await {
        let request = client.get(server.url("/ok?page=2&token=hunter2")).build().unwrap();
        let mut service = recorded(&client);
        let text = in_transaction(&apm, async {
            service.ready().await.unwrap().call(request).await.unwrap().text().await.unwrap()
        });
        assert_eq!(text.await, "hello");
        let span = only_span(&apm).await;
        assert_document(&span, &server);
        assert_eq!(server.parents().last().unwrap(), span["id"].as_str().unwrap());
    }
}

#[tokio::test]
async fn send_with_span_is_an_exit_span() {
    let (server, client) = (Server::start().await, Client::new());
    for apm in agents().await {
        let request = client.get(server.url("/ok?page=2&token=hunter2"));
        let text = in_transaction(&apm, async { request.send_with_span().await.unwrap().text().await.unwrap() });
        assert_eq!(text.await, "hello");
        let span = only_span(&apm).await;
        assert_document(&span, &server);
        assert_eq!(server.parents().last().unwrap(), span["id"].as_str().unwrap());
    }
}

#[tokio::test]
async fn response_keeps_its_url_address_and_length() {
    let (server, client) = (Server::start().await, Client::new());
    let apm = TestAgent::start().await;
    in_transaction(&apm, async {
        let response = client.get(server.url("/redirect")).send_with_span().await.unwrap();
        assert_eq!(response.url().as_str(), server.url("/ok"));
        assert_eq!((response.remote_addr(), response.content_length()), (Some(server.address), Some(5)));
    })
    .await;
    let span = only_span(&apm).await;
    assert_eq!(
        (&span["context"]["http"]["url"], &span["context"]["http"]["response"]["status_code"]),
        (&server.url("/redirect").into(), &200.into()),
        "a redirect is part of the span"
    );
    let id = span["id"].as_str().unwrap();
    assert_eq!(server.parents(), [id, id]);
}

#[tokio::test]
async fn span_ends_with_the_body() {
    let (server, client) = (Server::start().await, Client::new());
    let apm = TestAgent::start().await;
    in_transaction(&apm, async {
        let mut body = client.get(server.url("/ok")).send_with_span().await.unwrap().bytes_stream();
        assert_eq!(spans(&apm).await.len(), 0);
        while body.next().await.is_some() {}
        assert_eq!(only_span(&apm).await["outcome"], "success");
    })
    .await;
}

#[tokio::test]
async fn timeout_of_the_client_is_a_failure_with_an_error() {
    let (server, client) = (Server::start().await, Client::new());
    let apm = TestAgent::start().await;
    let request = client.get(server.url("/never?token=hunter2")).timeout(Duration::from_millis(20));
    let error = in_transaction(&apm, request.send_with_span()).await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(only_span(&apm).await["outcome"], "failure");
    let url = server.url("/never?token=[REDACTED]");
    apm.expect_error(&format!("error sending request for url ({url})")).await.caused_by("operation timed out");
    apm.assert_no_secret("hunter2");
}

#[tokio::test]
async fn path_of_the_url_is_omitted_in_spans_and_errors_of_the_client() {
    let (server, client) = (Server::start().await, Client::new());
    let layer = || ServiceBuilder::new().layer(client_layer().omit_url_path()).service(client.clone());
    for apm in agents().await {
        let request = client.get(server.url("/ok?page=hunter2")).build().unwrap();
        let late = client.get(server.url("/never?page=hunter2")).timeout(Duration::from_millis(20)).build().unwrap();
        in_transaction(&apm, async {
            layer().oneshot(request).await.unwrap().bytes().await.unwrap();
            let error = layer().oneshot(late).await.unwrap_err();
            assert_eq!(error.url().unwrap().query(), Some("page=hunter2"), "the caller gets the whole URL");
        })
        .await;
        for span in spans(&apm).await {
            assert_eq!(span["context"]["http"]["url"], server.url("/"));
        }
        let message = format!("error sending request for url ({})", server.url("/"));
        apm.expect_error(&message).await.caused_by("operation timed out");
        apm.assert_no_secret("hunter2");
    }
}

#[tokio::test]
async fn twenty_requests_at_once_are_twenty_spans() {
    let (server, client) = (Server::start().await, Client::new());
    let apm = TestAgent::start().await;
    let service = ServiceBuilder::new().buffer(32).concurrency_limit(4).service(client.clone());
    let service = ServiceBuilder::new().layer(client_layer()).service(service);
    in_transaction(&apm, async {
        let calls = (0..20).map(|_| service.clone().oneshot(client.get(server.url("/ok")).build().unwrap()));
        for response in join_all(calls).await {
            response.unwrap().bytes().await.unwrap();
        }
    })
    .await;
    let mut ids: Vec<_> = spans(&apm).await.iter().map(|span| span["id"].as_str().unwrap().to_owned()).collect();
    let mut parents = server.parents();
    (ids.sort(), parents.sort());
    assert_eq!((ids.len(), ids), (20, parents));
}

#[tokio::test]
async fn cancelled_request_has_an_unknown_outcome() {
    let (server, client) = (Server::start().await, Client::new());
    let apm = TestAgent::start().await;
    in_transaction(&apm, async {
        let mut request = Box::pin(client.get(server.url("/never")).send_with_span());
        assert!(futures_util::poll!(&mut request).is_pending());
    })
    .await;
    assert_eq!(only_span(&apm).await["outcome"], "unknown");
}
