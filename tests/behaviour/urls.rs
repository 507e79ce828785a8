//! The URL of a request as the client used it, and names with methods beyond those of RFC 9110.

use axum::{
    Router,
    http::{Method, Request},
    routing::{any, get},
};
use serde_json::{Value, json};
use tower_apm::{
    Transaction,
    testkit::{Kind, TestAgent, TestAgentBuilder},
};

use crate::http::{Client, empty, send, serve};

fn protocols() -> Vec<TestAgentBuilder> {
    let mut builders = vec![TestAgent::builder()];
    if cfg!(feature = "otlp") {
        builders.push(TestAgent::builder().otlp(tower_apm::OtlpProtocol::HttpProtobuf));
    }
    builders
}

fn app() -> Router {
    let handler = async || {
        Transaction::current().capture_error(&std::io::Error::other("no such room"));
    };
    Router::new().route("/a", any(handler))
}

fn with_headers(target: &str, headers: &[(&str, &str)]) -> Request<axum::body::Body> {
    empty(headers.iter().fold(Request::get(target), |request, (name, value)| request.header(*name, *value)))
}

/// The URLs of all transactions and errors.
async fn urls(apm: &TestAgent) -> Vec<Value> {
    apm.flush().await;
    let events = [Kind::Transaction, Kind::Error].into_iter().flat_map(|kind| apm.events(kind));
    events.map(|event| event["context"]["request"]["url"].clone()).collect()
}

#[tokio::test]
async fn client_scheme_and_host_are_recorded_without_headers_and_sampling() {
    let headers = [("host", "pod-7:3000"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "shop.example")];
    for (captures, rate, events) in [(true, 1.0, 2), (false, 1.0, 2), (true, 0.0, 1), (false, 0.0, 1)] {
        for builder in protocols() {
            let apm = builder
                .configure(move |agent| agent.capture_headers(captures).transaction_sample_rate(rate))
                .start()
                .await;
            send(app().layer(apm.layer()), with_headers("/a?x=1", &headers)).await;
            let urls = urls(&apm).await;
            assert!(urls.len() >= events, "{urls:?}");
            for url in urls.iter().filter(|url| !url.is_null()) {
                assert_eq!(url["full"], "https://shop.example/a?x=1", "{captures} {rate}");
            }
            let headers = apm.events(Kind::Error)[0]["context"]["request"]["headers"].clone();
            assert!(
                captures && rate == 1.0 || headers.as_object().is_none_or(|headers| headers.is_empty()),
                "{headers}"
            );
        }
    }
}

#[tokio::test]
async fn absolute_target_takes_precedence_over_the_host_header() {
    for builder in protocols() {
        let apm = builder.start().await;
        let addr = serve(app(), apm.layer()).await;
        let head = "GET http://user:hunter2@shop.example:8443/a HTTP/1.1\nhost: inner:1\nconnection: close";
        Client::send(addr, head).await.read_until("200 OK").await;
        let transaction = apm.expect_transaction("GET /a").await;
        let url = &transaction.json()["context"]["request"]["url"];
        assert_eq!(url["full"], "http://shop.example:8443/a");
        assert_eq!((&url["hostname"], &url["port"]), (&json!("shop.example"), &json!(8443)));
        apm.assert_no_secret("hunter2");
    }
}

#[tokio::test]
async fn http2_authority_takes_precedence_over_the_host_header() {
    let apm = TestAgent::start().await;
    let request = with_headers("https://shop.example/a", &[("host", "inner:1")]);
    send(app().layer(apm.layer()), request).await;
    assert_eq!(urls(&apm).await[0]["full"], "https://shop.example/a");
}

#[tokio::test]
async fn options_asterisk_does_not_change_the_host() {
    for builder in protocols() {
        let apm = builder.start().await;
        let addr = serve(app(), apm.layer()).await;
        let head = "OPTIONS * HTTP/1.1\nhost: shop.example\nconnection: close";
        Client::send(addr, head).await.read_until("HTTP/1.1").await;
        let transaction = apm.expect_transaction("OPTIONS unknown route").await;
        let url = &transaction.json()["context"]["request"]["url"];
        assert_eq!((&url["full"], &url["hostname"]), (&json!("http://shop.example"), &json!("shop.example")));
    }
}

#[tokio::test]
async fn https_setting_of_the_layer_sets_the_scheme() {
    let full = async |apm: &TestAgent, app: Router, headers: &[(&str, &str)]| {
        apm.clear();
        send(app, with_headers("/a", headers)).await;
        urls(apm).await[0]["full"].clone()
    };
    let apm = TestAgent::start().await;
    let host = ("host", "shop.example");
    assert_eq!(full(&apm, app().layer(apm.layer()), &[host]).await, "http://shop.example/a");
    assert_eq!(full(&apm, app().layer(apm.layer().https()), &[host]).await, "https://shop.example/a");
    let inner = app().layer(tower_apm::layer().https()).layer(apm.layer());
    assert_eq!(full(&apm, inner, &[host]).await, "https://shop.example/a", "a layer further in states it");
    let proxied = [host, ("x-forwarded-proto", "http")];
    assert_eq!(full(&apm, app().layer(apm.layer().https()), &proxied).await, "http://shop.example/a");
}

#[tokio::test]
async fn hostile_headers_do_not_change_the_url() {
    let apm = TestAgent::start().await;
    let long = "a".repeat(5000);
    for (name, value) in [
        ("x-forwarded-host", "<script>alert(1)</script>"),
        ("x-forwarded-host", &*long),
        ("x-forwarded-proto", "javascript"),
        ("x-forwarded-port", "1; drop"),
        ("forwarded", "host=\"evil/../\";proto=x"),
    ] {
        apm.clear();
        send(app().layer(apm.layer()), with_headers("/a", &[("host", "h"), (name, value)])).await;
        assert_eq!(urls(&apm).await[0]["full"], "http://h/a", "{name}: {value}");
    }
    apm.clear();
    send(app().layer(apm.layer()), with_headers("/a", &[("host", "<script>")])).await;
    let url = &urls(&apm).await[0];
    assert_eq!((&url["full"], &url["hostname"], &url["pathname"]), (&Value::Null, &Value::Null, &json!("/a")));
}

#[tokio::test]
async fn user_and_password_of_a_host_are_not_sent() {
    for builder in protocols() {
        let apm = builder.start().await;
        for (name, value) in [
            ("host", "user:hunter2@h"),
            ("x-forwarded-host", "user:hunter2@h"),
            ("x-forwarded-host", "a, user:hun=\"ter2@h"),
            ("forwarded", "for=1.2.3.4;host=\"user:hunter2@h\""),
        ] {
            send(app().layer(apm.layer()), with_headers("/a", &[("host", "h"), (name, value)])).await;
        }
        apm.assert_no_secret("hunter2");
        apm.assert_no_secret("ter2");
        assert!(urls(&apm).await.iter().any(|url| url["full"] == "http://h/a"));
    }
}

#[tokio::test]
async fn registered_methods_are_part_of_transaction_names() {
    for builder in protocols() {
        let apm = builder.start().await;
        let app = Router::new().route("/calendars/{id}", any(async || ())).route("/b", get(async || ()));
        for method in ["PROPFIND", "REPORT", "MKCALENDAR", "QUERY"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request = empty(Request::builder().method(method.clone()).uri("/calendars/7"));
            send(app.clone().layer(apm.layer()), request).await;
            apm.expect_transaction(&format!("{method} /calendars/{{id}}")).await;
        }
        let request = empty(Request::builder().method("MINT").uri("/calendars/7"));
        send(app.layer(apm.layer()), request).await;
        apm.expect_transaction("OTHER /calendars/{id}").await;
    }
}
