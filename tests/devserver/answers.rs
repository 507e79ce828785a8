//! Does it answer as the APM Server does?

use std::io::Write;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use tower_apm::devserver::{DevServer, Kind, Query};

use crate::{
    client::{Connection, NDJSON, lines, post, request},
    spec::{ERROR, LOG, METADATA, METRICSET, SPAN, TRANSACTION},
};

const INTAKE: &str = "POST /intake/v2/events";

fn server() -> DevServer {
    DevServer::bind("127.0.0.1:0").unwrap()
}

fn held(server: &DevServer) -> usize {
    server.store().query(&Query::new()).total
}

#[test]
fn valid_events_are_accepted_with_an_empty_response() {
    let server = server();
    let body = lines(&[METADATA, TRANSACTION, SPAN, ERROR, METRICSET, LOG]);
    let answer = request(&server, INTAKE, &[NDJSON], body.as_bytes());
    assert_eq!((answer.status, answer.body.as_str()), (202, ""));
    let verbose = request(&server, "POST /intake/v2/events?flushed=true&verbose", &[NDJSON], body.as_bytes());
    assert_eq!((verbose.status, verbose.counts()), (202, (5, 0)));
    assert_eq!(server.store().query(&Query::new().kind(Kind::Span)).total, 2);
}

#[test]
fn empty_body_is_accepted_and_metadata_must_be_first() {
    let server = server();
    for (body, status) in [
        (String::new(), 202),
        (lines(&[METADATA]), 202),
        (METADATA.to_owned(), 400),
        (lines(&[TRANSACTION]), 400),
        (lines(&["", METADATA, TRANSACTION]), 400),
        (lines(&[r#"{"metadata":{"service":{"name":"a.b","agent":{"name":"r","version":"1"}}}}"#, SPAN]), 400),
    ] {
        let answer = post(&server, &body);
        assert_eq!(answer.status, status, "{body}");
        if status == 400 {
            assert_eq!(answer.counts(), (0, 1), "{body}");
        }
    }
    assert_eq!(held(&server), 1, "the one good metadata");
}

#[test]
fn bad_events_are_named_and_good_ones_kept() {
    let server = server();
    let bad = r#"{"transaction":{"id":"1"}}"#;
    let answer = post(&server, &lines(&[METADATA, TRANSACTION, bad, SPAN]));
    assert_eq!((answer.status, answer.counts()), (400, (2, 1)));
    assert_eq!(answer.header("connection"), Some("close"));
    let error = &answer.json()["errors"][0];
    assert_eq!(error["document"], bad);
    assert!(error["message"].as_str().unwrap().contains("transaction.trace_id"), "{error}");

    let many = post(&server, &lines(&[&[METADATA][..], &[bad; 8], &[SPAN]].concat()));
    assert_eq!(many.counts(), (1, 5), "no more than five are named");
    assert_eq!(server.store().stats().rejected.transaction, 9);
}

#[test]
fn a_line_too_long_is_skipped_and_reported() {
    let server = server();
    let long = SPAN.replace("SELECT", &"x".repeat(400_000));
    let answer = post(&server, &lines(&[METADATA, &long, TRANSACTION]));
    assert_eq!((answer.status, answer.counts()), (400, (1, 1)));
    assert_eq!(answer.json()["errors"][0]["document"].as_str().unwrap().len(), 307_200);
}

#[test]
fn method_and_exact_content_type_are_checked() {
    let server = server();
    let body = lines(&[METADATA, SPAN]);
    for (line, content_type, status) in [
        (INTAKE, Some("application/x-ndjson; charset=utf-8"), 202),
        (INTAKE, Some("APPLICATION/X-NDJSON"), 202),
        (INTAKE, None, 415),
        (INTAKE, Some(""), 415),
        (INTAKE, Some("application/json"), 415),
        (INTAKE, Some("text/plain"), 415),
        (INTAKE, Some("text/plain;x=application/x-ndjson"), 415),
        (INTAKE, Some("application/x-ndjsonp"), 415),
        ("PUT /intake/v2/events", Some("application/x-ndjson"), 400),
        ("GET /intake/v2/events", None, 400),
    ] {
        let headers: Vec<_> = content_type.map(|value| ("Content-Type", value)).into_iter().collect();
        let answer = request(&server, line, &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{line} {content_type:?}");
        if status != 202 {
            assert_eq!(answer.counts(), (0, 1));
        }
    }
    assert_eq!(held(&server), 4, "of refused requests nothing is stored");
    let unknown = request(&server, "GET /nowhere", &[], b"");
    assert_eq!((unknown.status, unknown.json()["error"].as_str()), (404, Some("404 page not found")));
}

#[test]
fn error_content_type_follows_the_accept_header() {
    let server = server();
    for (accept, label) in [
        (Some("application/json"), "application/json"),
        (Some("text/html, */*; q=0.2"), "application/json"),
        (Some("text/plain"), "text/plain; charset=utf-8"),
        (None, "text/plain; charset=utf-8"),
    ] {
        let headers: Vec<_> = accept.map(|accept| ("Accept", accept)).into_iter().chain([NDJSON]).collect();
        let answer = request(&server, INTAKE, &headers, b"{}\n");
        assert_eq!((answer.header("content-type"), answer.counts()), (Some(label), (0, 1)), "{accept:?}");
    }
}

#[test]
fn secret_token_is_required_if_set() {
    let server = DevServer::builder().secret_token("hunter2").api_key("a2V5").bind("127.0.0.1:0").unwrap();
    let body = lines(&[METADATA, SPAN]);
    for (sent, status) in [
        (None, 401),
        (Some("Bearer wrong"), 401),
        (Some("hunter2"), 401),
        (Some("Bearer hunter2"), 202),
        (Some("ApiKey a2V5"), 202),
    ] {
        let headers: Vec<_> = sent.map(|sent| ("Authorization", sent)).into_iter().chain([NDJSON]).collect();
        let answer = request(&server, INTAKE, &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{sent:?}");
        if status == 401 {
            let error = answer.json();
            assert!(error["error"].as_str().unwrap().starts_with("authentication failed"), "{error}");
            assert_eq!(answer.header("connection"), Some("close"));
        }
        let info = request(&server, "GET /", &headers, b"");
        assert_eq!((info.status, info.body.is_empty()), (200, status == 401), "strangers learn no version");
        let config = request(&server, "GET /config/v1/agents?service.name=shop", &headers, b"");
        assert_eq!(config.status == 401, status == 401);
        for line in ["GET /api/events", "GET /api/stats", "GET /api/agent-config", "DELETE /api/agent-config"] {
            let answer = request(&server, line, &headers, b"");
            assert_eq!(answer.status == 401, status == 401, "{line}: on this machine too");
        }
    }
    assert_eq!(server.store().query(&Query::new().kind(Kind::Span)).total, 2);
}

#[test]
fn compressed_bodies_are_detected_by_header_or_content() {
    let server = server();
    let body = lines(&[METADATA, TRANSACTION, SPAN]);
    for (encoding, packed) in [
        (Some("gzip"), gzip(&body)),
        (Some("deflate"), zlib(&body)),
        (None, gzip(&body)),
        (None, zlib(&body)),
        (Some("identity"), body.clone().into_bytes()),
    ] {
        let headers: Vec<_> =
            encoding.map(|encoding| ("Content-Encoding", encoding)).into_iter().chain([NDJSON]).collect();
        let answer = request(&server, "POST /intake/v2/events?verbose", &headers, &packed);
        assert_eq!((answer.status, answer.counts()), (202, (2, 0)), "{encoding:?}");
    }
}

#[test]
fn a_compressed_stream_that_breaks_is_the_servers_failure() {
    let server = server();
    let body = lines(&[METADATA, TRANSACTION, SPAN]);
    for (encoding, packed) in [("gzip", gzip(&body)), ("deflate", zlib(&body))] {
        let cut = &packed[..packed.len() - 4];
        let answer = request(&server, INTAKE, &[NDJSON, ("Content-Encoding", encoding)], cut);
        assert_eq!((answer.status, answer.counts()), (500, (2, 1)), "{encoding}: what came before the cut stays");
        let plain = request(&server, INTAKE, &[NDJSON, ("Content-Encoding", encoding)], body.as_bytes());
        assert_eq!((plain.status, plain.counts()), (400, (0, 1)), "{encoding}: not compressed at all");
    }
}

#[test]
fn a_connection_serves_many_requests() {
    let server = server();
    let mut connection = Connection::open(server.addr());
    for _ in 0..3 {
        let answer = connection.request(INTAKE, &[NDJSON], lines(&[METADATA, SPAN]).as_bytes()).unwrap();
        assert_eq!(answer.status, 202);
    }
    assert_eq!(server.store().stats().requests, 3);
}

#[test]
fn agents_learn_the_version_and_browsers_get_the_page() {
    let server = server();
    for (accept, agent, is_page) in [
        ("application/json", "apm-agent-nodejs/4.18.0 (shop 1.0.0)", false),
        ("text/plain", "apm-agent-python/6.26.2 (shop 1.0.0)", false),
        ("text/html, image/gif, image/jpeg, */*; q=0.2", "apm-agent-java/1.55.1 (shop 1.0.0)", false),
        ("*/*", "curl/8.5.0", false),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Mozilla/5.0", true),
    ] {
        let answer = request(&server, "GET /", &[("Accept", accept), ("User-Agent", agent)], b"");
        assert_eq!(answer.status, 200);
        if is_page {
            assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{agent}");
        } else {
            let info = answer.json();
            assert_eq!((info["version"].as_str(), info["publish_ready"].as_bool()), (Some("9.5.0"), Some(true)));
        }
    }
    let head = request(&server, "HEAD /", &[], b"");
    assert_eq!(head.status, 200);
}

#[test]
fn page_runs_its_own_files_only() {
    let server = server();
    let page = request(&server, "GET /ui", &[], b"");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for inline in ["<style", "<script>", "style=", "onclick", "javascript:"] {
        assert!(!page.body.contains(inline), "{inline} is against the policy");
    }
    let files = [("/ui/page.js", "text/javascript"), ("/ui/page.css", "text/css")].map(|(path, content_type)| {
        assert!(page.body.contains(&format!("=\"{path}\"")), "{path}");
        let file = request(&server, &format!("GET {path}"), &[], b"");
        assert!(file.header("content-type").unwrap().starts_with(content_type), "{path}");
        file
    });
    for file in files.iter().chain([&page]) {
        assert_eq!((file.status, file.header("x-content-type-options")), (200, Some("nosniff")));
        for outside in ["src=\"http", "href=\"http", "@import", "innerHTML", "insertAdjacentHTML", "document.write"] {
            assert!(!file.body.contains(outside), "{outside}");
        }
    }
}

#[test]
fn the_central_configuration_is_empty_and_tagged() {
    let server = server();
    for (line, body) in [
        ("GET /config/v1/agents?service.name=shop&service.environment=test", ""),
        ("POST /config/v1/agents", r#"{"service":{"name":"shop","environment":null}}"#),
    ] {
        let first = request(&server, line, &[("Accept", "*/*")], body.as_bytes());
        assert_eq!((first.status, first.json()), (200, serde_json::json!({})), "{line}");
        assert_eq!(first.header("etag"), Some("\"-\""));
        assert_eq!(first.header("cache-control"), Some("max-age=30, must-revalidate"));
        let again = request(&server, line, &[("If-None-Match", "\"-\"")], body.as_bytes());
        assert_eq!((again.status, again.header("etag")), (304, Some("\"-\"")), "{line}");
    }
    assert_eq!(request(&server, "PUT /config/v1/agents", &[], b"").status, 405);
    let nameless = request(&server, "GET /config/v1/agents", &[("Accept", "*/*")], b"");
    assert_eq!((nameless.status, nameless.json()["error"].as_str()), (400, Some("service.name is required")));
    assert_eq!(nameless.header("cache-control"), Some("max-age=300, must-revalidate"));
}

#[test]
fn agent_config_is_served_until_it_is_removed() {
    let server = server();
    let told = r#"{"service":{"name":"shop"},"settings":{"transaction_sample_rate":0.2,"recording":true}}"#;
    let put = request(&server, "PUT /api/agent-config", &[], told.as_bytes());
    assert_eq!(put.status, 200, "{put:?}");
    let asked = "GET /config/v1/agents?service.name=shop&service.environment=production";
    let first = request(&server, asked, &[("Accept", "*/*")], b"");
    assert_eq!(first.json(), serde_json::json!({ "recording": "true", "transaction_sample_rate": "0.2" }));
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("\"{}\"", put.json()["etag"].as_str().unwrap()));
    assert_eq!(request(&server, asked, &[("If-None-Match", &tag)], b"").status, 304);
    let listed = request(&server, "GET /api/agent-config", &[], b"").json();
    assert_eq!(listed["configurations"][0]["service"], serde_json::json!({ "name": "shop" }));

    let other = r#"{"service":{"name":"shop","environment":"production"},"settings":{"capture_body":"all"}}"#;
    request(&server, "PUT /api/agent-config", &[], other.as_bytes());
    let changed = request(&server, asked, &[("If-None-Match", &tag)], b"");
    assert_eq!((changed.status, changed.body.contains("capture_body")), (200, true), "the nearer one holds");
    let gone = "DELETE /api/agent-config?service.name=shop&service.environment=production";
    assert_eq!([gone, gone].map(|gone| request(&server, gone, &[], b"").status), [204, 404]);
    assert!(request(&server, gone, &[], b"").body.contains("service.name"), "it says by what it is found");
    assert_eq!(request(&server, asked, &[("If-None-Match", &tag)], b"").status, 304);
}

#[test]
fn agent_config_with_unknown_options_is_served_with_warnings() {
    let server = server();
    let told = br#"{"settings":{"transaction_sample_rate":"2","ignore_url_groups":"x","capture_body":"all"}}"#;
    let put = request(&server, "PUT /api/agent-config", &[], told);
    let warnings = serde_json::json!([
        "transaction_sample_rate=\"2\" is not allowed: it is a number from 0 to 1 such as 0.25",
        "ignore_url_groups is nothing that tower-apm lets be set here",
    ]);
    assert_eq!((put.status, &put.json()["warnings"]), (200, &warnings));
    let handed_on = request(&server, "GET /config/v1/agents?service.name=shop", &[], b"");
    assert_eq!(handed_on.json()["transaction_sample_rate"], "2", "another agent may know it");
    let taken = request(&server, "PUT /api/agent-config", &[], br#"{"settings":{"capture_body":"all"}}"#);
    assert!(taken.json().get("warnings").is_none());
}

#[test]
fn invalid_agent_config_is_refused_with_the_expected_form() {
    let server = server();
    let refused = request(&server, "PUT /api/agent-config", &[], br#"{"settings":{"recording":[]}}"#);
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].as_str().unwrap().starts_with("settings.recording is []"));
    assert_eq!(request(&server, "DELETE /api/agent-config?name=shop", &[], b"").status, 400);
    assert_eq!(request(&server, "GET /api/agent-config", &[], b"").json(), serde_json::json!({ "configurations": [] }));
}

#[test]
fn server_version_can_be_set_or_hidden() {
    let old = DevServer::builder().version("7.17.0").bind("127.0.0.1:0").unwrap();
    let secretive = DevServer::builder().version("").bind("127.0.0.1:0").unwrap();
    assert_eq!(request(&old, "GET /", &[], b"").json()["version"], "7.17.0");
    assert!(request(&secretive, "GET /", &[], b"").json().get("version").is_none());
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
