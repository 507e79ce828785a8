//! The rules of the real server, and error messages that name the field. The full comparison is in `differential`.

use tower_apm::devserver::DevServer;

use crate::{
    client::{lines, post},
    spec::{ERROR, FULL, LOG, METADATA, METRICSET, SPAN, TRANSACTION},
};

/// What agents of other languages send and what a strict reader would stumble over.
#[test]
fn unusual_json_of_real_agents_is_accepted() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let context = |inner: &str| TRANSACTION.replace("\"type\"", &format!("\"context\":{{{inner}}},\"type\""));
    for line in [
        TRANSACTION.replace("\":", "\": ").replace(",\"", ", \""),
        SPAN.replace("\"type\"", "\"action\":null,\"subtype\":null,\"type\""),
        context(r#""service":{},"message":{},"user":{},"tags":{},"custom":{},"request":{},"response":{}"#),
        context(r#""service":{"version":null},"tags":{"age":7.0,"gone":null}"#),
        context(r#""request":{"method":"GET","url":{"port":8080}}"#),
        context(r#""request":{"method":"GET","url":{"port":"8080","protocol":"http:","search":"?a=b"}}"#),
        context(r#""request":{"method":"GET","env":{"A":1},"body":{"a":[]},"cookies":{"a":"[REDACTED]"}}"#),
        context(r#""user":{"id":4711}"#),
        TRANSACTION.replace("\"type\"", "\"dropped_spans_stats\":[],\"sample_rate\":1,\"type\""),
        TRANSACTION.replace("\"type\"", "\"sample_rate\":1.0,\"sampled\":false,\"result\":\"\",\"type\""),
        SPAN.replace("\"type\":\"db\"", "\"type\":\"external.http\",\"stacktrace\":[]"),
        SPAN.replace("\"type\"", "\"stacktrace\":[{\"filename\":\"a.py\",\"vars\":{\"<truncated>\":1}}],\"type\""),
        ERROR.replace("\"message\"", "\"cause\":[{\"type\":\"E\",\"message\":\"m\"}],\"message\""),
        METRICSET.replace("\"samples\"", "\"span\":{\"type\":\"t\",\"subtype\":null},\"samples\""),
        LOG.replace("\"message\":\"hello\"", "\"message\":null"),
        TRANSACTION.replace("\"type\"", "\"unknown\":{\"deep\":[{}]},\"TYPE\":\"x\",\"type\""),
        TRANSACTION.replace("GET", "\\ud83d"),
    ] {
        let answer = post(&server, &lines(&[METADATA, &line]));
        assert_eq!((answer.status, answer.counts()), (202, (1, 0)), "{line}\n{}", answer.body);
    }
}

#[test]
fn lines_with_every_field_are_accepted() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let answer = post(&server, &lines(&FULL));
    assert_eq!((answer.status, answer.counts()), (202, (7, 0)), "{}", answer.body);
}

#[test]
fn broken_rule_is_reported_with_its_field() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let context = |inner: &str| TRANSACTION.replace("\"type\"", &format!("\"context\":{{{inner}}},\"type\""));
    let long = "x".repeat(1025);
    for (line, field) in [
        (TRANSACTION.replace("\"trace_id\"", "\"traceid\""), "transaction.trace_id"),
        (TRANSACTION.replace("GET /ok", &long), "transaction.name"),
        (TRANSACTION.replace("32.5", "\"32.5\""), "transaction.duration"),
        (TRANSACTION.replace("32.5", "-1"), "transaction.duration"),
        (TRANSACTION.replace("\"started\":1", "\"started\":1.0"), "transaction.span_count.started"),
        (TRANSACTION.replace("\"type\"", "\"outcome\":\"ok\",\"type\""), "transaction.outcome"),
        (TRANSACTION.replace("\"type\"", "\"timestamp\":1.787e15,\"type\""), "transaction.timestamp"),
        (context(r#""response":{"status_code":200.0}"#), "transaction.context.response.status_code"),
        (context(r#""request":{"headers":{}}"#), "transaction.context.request.method"),
        (context(r#""request":{"method":"GET","headers":{"a":1}}"#), "context.request.headers.a"),
        (context(r#""request":{"method":"GET","url":{"port":"http"}}"#), "context.request.url.port"),
        (context(r#""tags":{"a":{"b":1}}"#), "transaction.context.tags.a"),
        (context(&format!(r#""tags":{{"a":"{long}"}}"#)), "transaction.context.tags.a"),
        (context(r#""service":{"name":"a.b"}"#), "transaction.context.service.name"),
        (SPAN.replace("\"parent_id\"", "\"parent\""), "span.parent_id"),
        (SPAN.replace("\"timestamp\"", "\"time\""), "start, timestamp"),
        (SPAN.replace("\"type\"", "\"stacktrace\":[{}],\"type\""), "span.stacktrace.0"),
        (SPAN.replace("\"type\"", "\"composite\":{\"count\":1},\"type\""), "span.composite.count"),
        (ERROR.replace("\"exception\"", "\"exceptions\""), "exception, log"),
        (ERROR.replace("\"exception\"", "\"trace_id\":\"t\",\"exception\""), "error.parent_id"),
        (ERROR.replace("\"message\"", "\"cause\":[{\"code\":1}],\"message\""), "error.exception.cause.0"),
        (METRICSET.replace("go.heap", "go*heap"), "metricset.samples.go*heap"),
        (METRICSET.replace("{\"value\":2.42e+10}", "{\"values\":[1]}"), "metricset.samples.go.heap.counts"),
        (LOG.replace("\"hello\"", "5"), "log.message"),
    ] {
        let answer = post(&server, &lines(&[METADATA, &line]));
        assert_eq!((answer.status, answer.counts()), (400, (0, 1)), "{line}");
        let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(field), "{field} is not named in: {message}");
    }
}

/// Deep nesting must neither exhaust the stack nor be mistaken for something else.
#[test]
fn deep_nesting_is_survived() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let nested = |levels: usize| {
        let cause = r#""cause":[{"message":"m","#.repeat(levels) + r#""type":"t""# + &"}]".repeat(levels);
        ERROR.replace("\"message\"", &format!("{cause},\"message\""))
    };
    let deep = |levels: usize| {
        let custom = "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels);
        TRANSACTION.replace("\"type\"", &format!("\"context\":{{\"custom\":{custom}}},\"type\""))
    };
    let answer = post(&server, &lines(&[METADATA, &nested(200), &nested(10_000), &deep(5_000), SPAN]));
    assert_eq!(answer.counts(), (3, 1), "{}", answer.body);
}
