//! Does the JSON interface show what came?

use serde_json::json;
use tower_apm::devserver::DevServer;

use crate::{
    client::{get, lines, post, request},
    spec::{ERROR, LOG, METADATA, METRICSET, SPAN, TRANSACTION},
};

fn filled() -> DevServer {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let other = METADATA.replace("shop", "bank");
    assert_eq!(post(&server, &lines(&[METADATA, TRANSACTION, SPAN, ERROR, METRICSET, LOG])).status, 202);
    assert_eq!(post(&server, &lines(&[&other, &TRANSACTION.replace("GET /ok", "GET /late")])).status, 202);
    server
}

#[test]
fn every_filter_narrows() {
    let server = filled();
    for (query, total) in [
        ("", 8),
        ("?type=transaction", 2),
        ("?type=metadata", 2),
        ("?type=span", 1),
        ("?service=bank", 2),
        ("?service=shop&type=transaction", 1),
        ("?trace_id=0123456789abcdef0123456789abcdef", 3),
        ("?name=GET%20/late", 1),
        ("?name=GET", 0),
        ("?type=error&name=Sold", 1),
        ("?type=error&name=it+is+gone", 1),
        ("?type=metricset&name=go.heap", 1),
        ("?q=SELECT%20from", 1),
        ("?type=&service=&trace_id=&name=&limit=", 8),
    ] {
        let listing = get(&server, &format!("/api/events{query}")).json();
        assert_eq!(listing["total"], total, "{query}");
        assert_eq!(listing["events"].as_array().unwrap().len(), total, "{query}");
    }
}

#[test]
fn the_newest_come_first_and_the_total_counts_all() {
    let server = filled();
    let listing = get(&server, "/api/events?type=transaction&limit=1").json();
    assert_eq!(listing["total"], 2);
    let events = listing["events"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["type"], "transaction");
    assert_eq!(events[0]["event"]["name"], "GET /late");
    assert_eq!(events[0]["metadata"]["service"]["name"], "bank");
    let time = events[0]["received_at"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z') && time.starts_with("20"), "{time}");
}

/// Numbers keep their form, unknown fields stay, half a surrogate pair does no harm.
#[test]
fn an_event_is_shown_as_it_was_received() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let event = r#"{"id": "1","trace_id":"2","parent_id":"3","name":"\ud83d","type":"t","duration":7.0,"start":2.42e+10,"unknown":[1.0]}"#;
    assert_eq!(post(&server, &lines(&[METADATA, &format!("{{\"span\":{event}}}")])).status, 202);
    let listing = get(&server, "/api/events?type=span");
    assert!(listing.body.contains(event), "{}", listing.body);
}

#[test]
fn bad_parameters_are_named_with_what_is_allowed() {
    let server = filled();
    for (query, words) in [
        ("?type=txn", ["type=txn", "metricset"]),
        ("?limit=0", ["limit=0", "whole number"]),
        ("?limit=ten", ["limit=ten", "whole number"]),
        ("?before=now", ["before=now", "`next`"]),
        ("?user=0xabc", ["user", "trace_id"]),
    ] {
        let answer = get(&server, &format!("/api/events{query}"));
        assert_eq!(answer.status, 400, "{query}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn clear_removes_events_and_keeps_the_counts() {
    let server = filled();
    assert_eq!(request(&server, "DELETE /api/events", &[], b"").status, 204);
    assert_eq!(get(&server, "/api/events").json(), json!({ "total": 0, "events": [] }));
    let stats = get(&server, "/api/stats").json();
    assert_eq!((&stats["held"], &stats["bytes"], &stats["requests"]), (&json!(0), &json!(0), &json!(2)));
    assert_eq!(stats["accepted"]["transaction"], 2);
}

#[test]
fn the_oldest_are_evicted_and_counted() {
    let server = DevServer::builder().max_events(3).bind("127.0.0.1:0").unwrap();
    let spans: Vec<_> = (0..10).map(|number| SPAN.replace("SELECT FROM t", &format!("span {number}"))).collect();
    let body = [METADATA].into_iter().chain(spans.iter().map(String::as_str)).collect::<Vec<_>>();
    assert_eq!(post(&server, &lines(&body)).counts(), (10, 0));
    let names: Vec<_> = server
        .store()
        .query(&tower_apm::devserver::Query::new())
        .events
        .iter()
        .map(|event| event.body()["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["span 9", "span 8", "span 7"]);
    let stats = get(&server, "/api/stats").json();
    assert_eq!((&stats["held"], &stats["evicted"]), (&json!(3), &json!(8)));
}
