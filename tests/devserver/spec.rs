//! Bodies to feed: our own, and those of the folder that `APM_SPEC_DIR` names (default `../shared/spec`), where it is.

use std::{env, fs, path::PathBuf};

/// A metadata line that is always taken.
pub(crate) const METADATA: &str =
    r#"{"metadata":{"service":{"name":"shop","agent":{"name":"rust","version":"0.1.0"}}}}"#;

/// A transaction, a span, an error, a metric set and a log that are always taken.
pub(crate) const TRANSACTION: &str = r#"{"transaction":{"id":"945254c567a5417e","trace_id":"0123456789abcdef0123456789abcdef","name":"GET /ok","type":"request","duration":32.5,"span_count":{"started":1}}}"#;
pub(crate) const SPAN: &str = r#"{"span":{"id":"1234567890aaaade","trace_id":"0123456789abcdef0123456789abcdef","parent_id":"945254c567a5417e","name":"SELECT FROM t","type":"db","duration":3.1,"timestamp":1787220000000000}}"#;
pub(crate) const ERROR: &str =
    r#"{"error":{"id":"0123456789abcdef0123456789abcdef","exception":{"type":"Sold","message":"it is gone"}}}"#;
pub(crate) const METRICSET: &str = r#"{"metricset":{"samples":{"go.heap":{"value":2.42e+10}}}}"#;
pub(crate) const LOG: &str = r#"{"log":{"message":"hello","log.level":"info"}}"#;

/// Lines that set every field that the rules know, so that no rule goes untested.
pub(crate) const FULL: [&str; 8] = [
    r#"{"metadata":{"service":{"name":"a b_c-1","version":"v","environment":"e","id":"i","agent":{"name":"n","version":"v","ephemeral_id":"e","activation_method":"a"},"language":{"name":"n","version":"v"},"runtime":{"name":"n","version":"v"},"framework":{"name":"n","version":"v"},"node":{"configured_name":"c"}},"process":{"pid":1,"ppid":2,"title":"t","argv":["a"]},"system":{"detected_hostname":"d","configured_hostname":"c","hostname":"h","architecture":"a","platform":"p","host_id":"h","container":{"id":"c"},"kubernetes":{"namespace":"n","node":{"name":"n"},"pod":{"name":"n","uid":"u"}}},"cloud":{"provider":"p","region":"r","availability_zone":"z","account":{"id":"i","name":"n"},"instance":{"id":"i","name":"n"},"project":{"id":"i","name":"n"},"machine":{"type":"t"},"service":{"name":"n"}},"user":{"id":"i","email":"e","username":"u","domain":"d"},"network":{"connection":{"type":"t"}},"labels":{"s":"t","n":1,"b":true}}}"#,
    r#"{"transaction":{"id":"i","trace_id":"t","parent_id":"p","name":"n","type":"t","result":"r","outcome":"success","duration":1.5,"timestamp":1787220000000000,"sampled":true,"sample_rate":0.5,"span_count":{"started":1,"dropped":2},"dropped_spans_stats":[{"destination_service_resource":"r","service_target_type":"t","service_target_name":"n","outcome":"failure","duration":{"count":1,"sum":{"us":5}}}],"links":[{"span_id":"s","trace_id":"t"}],"otel":{"span_kind":"SERVER","attributes":{"a":"b"}},"faas":{"id":"i","execution":"e","trigger":{"type":"t","request_id":"r"},"name":"n","version":"v","coldstart":true},"marks":{"agent":{"timeToFirstByte":1.5}},"session":{"id":"i","sequence":1},"experience":{"cls":1,"fid":1.5,"tbt":2,"longtask":{"count":1,"max":1.5,"sum":2}}}}"#,
    r#"{"transaction":{"id":"i","trace_id":"t","type":"t","duration":1,"span_count":{"started":0},"context":{"custom":{"a":{"b":1}},"tags":{"s":"t","n":1.5,"b":true},"user":{"id":5,"email":"e","username":"u","domain":"d"},"request":{"method":"GET","url":{"full":"f","raw":"r","protocol":"p","hostname":"h","port":"80","pathname":"p","search":"s","hash":"h"},"headers":{"a":"b","c":["d"]},"cookies":{"a":"b"},"env":{"a":"b"},"body":{"a":"b"},"http_version":"1.1","socket":{"remote_address":"::1","encrypted":false}},"response":{"status_code":200,"headers":{"a":"b"},"finished":true,"headers_sent":true,"transfer_size":1,"encoded_body_size":2,"decoded_body_size":3},"service":{"name":"n","version":"v","environment":"e","id":"i","agent":{"name":"n","version":"v","ephemeral_id":"e"},"framework":{"name":"n","version":"v"},"language":{"name":"n","version":"v"},"runtime":{"name":"n","version":"v"},"node":{"configured_name":"n"},"origin":{"id":"i","name":"n","version":"v"},"target":{"type":"t","name":"n"}},"message":{"queue":{"name":"q"},"routing_key":"r","age":{"ms":1},"headers":{"a":"b"},"body":"b"},"cloud":{"origin":{"account":{"id":"i"},"provider":"p","region":"r","service":{"name":"n"}}},"page":{"referer":"r","url":"u"}}}}"#,
    r#"{"span":{"id":"i","trace_id":"t","parent_id":"p","transaction_id":"t","name":"n","type":"t","subtype":"s","action":"a","outcome":"unknown","duration":1.5,"timestamp":"2026-08-20T10:00:00Z","start":1.5,"sample_rate":1,"sync":true,"child_ids":["c"],"links":[{"span_id":"s","trace_id":"t"}],"composite":{"compression_strategy":"exact_match","count":2,"sum":1.5},"stacktrace":[{"filename":"f","classname":"c","abs_path":"a","function":"f","module":"m","lineno":1,"colno":2,"context_line":"c","pre_context":["p"],"post_context":["p"],"library_frame":true,"vars":{"a":1}}],"otel":{"span_kind":"CLIENT","attributes":{"a":1}},"context":{"tags":{"s":"t"},"db":{"statement":"s","type":"t","instance":"i","user":"u","link":"l","rows_affected":1},"destination":{"address":"a","port":1,"service":{"resource":"r","name":"n","type":"t"}},"http":{"url":"u","method":"m","status_code":200,"request":{"id":"i","body":1},"response":{"status_code":200,"headers":{"a":"b"},"transfer_size":1,"encoded_body_size":2,"decoded_body_size":3}},"message":{"queue":{"name":"q"}},"service":{"target":{"type":"t"}}}}}"#,
    r#"{"error":{"id":"i","trace_id":"t","transaction_id":"t","parent_id":"p","timestamp":1787220000000000,"culprit":"c","exception":{"message":"m","type":"t","module":"m","code":"c","handled":false,"attributes":{"a":"b"},"stacktrace":[{"filename":"f"}],"cause":[{"message":"m","cause":[{"type":"t","code":5}]}]},"log":{"message":"m","level":"l","logger_name":"n","param_message":"p","stacktrace":[{"classname":"c"}]},"transaction":{"name":"n","type":"t","sampled":true},"context":{"custom":{"a":1},"tags":{"a":"b"},"user":{"id":"i"},"request":{"method":"m","body":"b"}}}}"#,
    r#"{"metricset":{"timestamp":1787220000000000,"samples":{"a.b":{"value":1.5,"type":"gauge","unit":"byte"},"h":{"values":[1.5,2],"counts":[1,2],"type":"histogram"}},"tags":{"a":"b"},"service":{"name":"n","version":"v"},"faas":{"id":"i"}}}"#,
    r#"{"metricset":{"samples":{"span.self_time.count":{"value":1},"span.self_time.sum.us":{"value":1}},"transaction":{"name":"n","type":"t"},"span":{"type":"t","subtype":"s"}}}"#,
    r#"{"log":{"@timestamp":"2026-08-20T10:00:00.123Z","message":"m","trace.id":"t","transaction.id":"t","span.id":"s","labels":{"a":"b"},"faas":{"id":"i"},"log.level":"l","log.logger":"l","log.origin.file.name":"n","log.origin.file.line":1,"log.origin.function":"f","log":{"level":"l","logger":"l","origin":{"file":{"name":"n","line":1},"function":"f"}},"service.name":"n","service.version":"v","service.environment":"e","service.node.name":"n","service":{"name":"n","version":"v","environment":"e","node":{"name":"n"}},"event.dataset":"d","event":{"dataset":"d"},"process.thread.name":"n","process":{"thread":{"name":"n"}},"error.type":"t","error.message":"m","error.stack_trace":"s","error":{"type":"t","message":"m","stack_trace":"s"}}}"#,
];

/// The bodies in a folder of the specification, by file name. Empty, and said so, where the folder is absent.
pub(crate) fn bodies(folder: &str) -> Vec<(String, String)> {
    let root = env::var_os("APM_SPEC_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/spec"), PathBuf::from);
    let Ok(entries) = fs::read_dir(root.join(folder)) else {
        println!("no {folder} in {}: only our own bodies are fed", root.display());
        return Vec::new();
    };
    let mut bodies: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some((name, fs::read_to_string(path).ok()?))
        })
        .filter(|(name, _)| name.ends_with(".ndjson"))
        .collect();
    bodies.sort();
    bodies
}
