//! The layer as a middleware of `reqwest-middleware`.

mod http_server;

use http_server::{Server, agents, assert_document, in_transaction, only_span, spans};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use tower_apm::{ClientLayer, client_layer, testkit::TestAgent};

fn client() -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new()).with(client_layer()).build()
}

#[tokio::test]
async fn request_is_an_exit_span() {
    let server = Server::start().await;
    for apm in agents().await {
        let request = client().get(server.url("/ok?page=2&token=hunter2"));
        let text = in_transaction(&apm, async { request.send().await.unwrap().text().await.unwrap() });
        assert_eq!(text.await, "hello");
        let span = only_span(&apm).await;
        assert_document(&span, &server);
        assert_eq!(server.parents().last().unwrap(), span["id"].as_str().unwrap());
    }
}

#[tokio::test]
async fn refused_connection_is_a_failure_with_an_error() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let apm = TestAgent::start().await;
    in_transaction(&apm, client().get(format!("http://{address}/")).send()).await.unwrap_err();
    assert_eq!(only_span(&apm).await["outcome"], "failure");
    let message = format!("error sending request for url (http://{address}/)");
    apm.expect_error(&message).await.caused_by("tcp connect error");
}

#[tokio::test]
async fn path_of_the_url_is_omitted_in_errors_of_the_client() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let apm = TestAgent::start().await;
    let client = ClientBuilder::new(reqwest::Client::new()).with(client_layer().omit_url_path()).build();
    let error = in_transaction(&apm, client.get(format!("http://{address}/hunter2")).send()).await.unwrap_err();
    assert_eq!(error.url().unwrap().path(), "/hunter2", "the caller gets the whole URL");
    apm.expect_error(&format!("error sending request for url (http://{address}/)")).await;
    apm.assert_no_secret("hunter2");
}

/// Sends a request up to three times.
struct Attempts;

#[async_trait::async_trait]
impl Middleware for Attempts {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        for _ in 0..2 {
            let response = next.clone().run(request.try_clone().unwrap(), extensions).await?;
            if response.status().is_success() {
                return Ok(response);
            }
        }
        next.run(request, extensions).await
    }
}

#[tokio::test]
async fn each_attempt_of_a_middleware_before_has_a_span() {
    let server = Server::start().await;
    let apm = TestAgent::start().await;
    let layer: ClientLayer = client_layer();
    let client = ClientBuilder::new(reqwest::Client::new()).with(Attempts).with(layer).build();
    in_transaction(&apm, client.get(server.url("/flaky")).send()).await.unwrap();
    let spans = spans(&apm).await;
    let outcomes: Vec<_> = spans.iter().map(|span| span["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failure", "failure", "success"]);
    let ids: Vec<_> = spans.iter().map(|span| span["id"].as_str().unwrap()).collect();
    assert_eq!(server.parents(), ids);
}
