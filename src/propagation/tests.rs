use http::{HeaderMap, HeaderName, HeaderValue};

use super::{traceparent::parse, tracestate::received, *};
use crate::record::{SpanId, TraceId};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn incoming(state: &str, flags: &str) -> Incoming {
    let parent = format!("00-{TRACE}-{PARENT}-{flags}");
    extract(&headers(&[("traceparent", &parent), ("tracestate", state)])).0.unwrap()
}

#[test]
fn trace_headers_of_the_caller_are_parsed() {
    let incoming = incoming("es=s:0.5,other=1", "01");
    assert_eq!(incoming.trace_id.to_string(), TRACE);
    assert_eq!(incoming.parent_id.to_string(), PARENT);
    assert!(incoming.sampled);
    assert_eq!(incoming.sample_rate, Some(0.5));
    assert_eq!(incoming.tracestate, Tracestate::Received("es=s:0.5,other=1".into()));
}

#[test]
fn traceparent_is_validated() {
    let cases = [
        (format!("00-{TRACE}-{PARENT}-01"), Some(true)),
        (format!("00-{TRACE}-{PARENT}-00"), Some(false)),
        (format!("00-{TRACE}-{PARENT}-ff"), Some(true)),
        (format!("00-{TRACE}-{PARENT}-02"), Some(false)),
        (format!("\t 00-{TRACE}-{PARENT}-01 "), Some(true)),
        (format!("01-{TRACE}-{PARENT}-01"), Some(true)),
        (format!("fe-{TRACE}-{PARENT}-01-more"), Some(true)),
        (format!("fe-{TRACE}-{PARENT}-01more"), None),
        (format!("ff-{TRACE}-{PARENT}-01"), None),
        (format!("00-{TRACE}-{PARENT}-01-more"), None),
        (format!("00-{TRACE}-{PARENT}-01-"), None),
        (format!("00-{TRACE}-{PARENT}-0"), None),
        (format!("00-{}-{PARENT}-01", "0".repeat(32)), None),
        (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
        (format!("00-{}-{PARENT}-01", TRACE.to_uppercase()), None),
        (format!("00-+{}-{PARENT}-01", &TRACE[1..]), None),
        (format!("00_{TRACE}_{PARENT}_01"), None),
        (format!("0-{TRACE}-{PARENT}-01x"), None),
        (String::new(), None),
        ("ä".repeat(30), None),
    ];
    for (value, sampled) in cases {
        assert_eq!(parse(value.as_bytes()).map(|(_, _, sampled)| sampled), sampled, "{value:?}");
    }
}

// spec: tracing-distributed-tracing.md
#[test]
fn duplicate_traceparent_and_tracestate_alone_are_ignored() {
    let parent = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(extract(&headers(&[("traceparent", &parent), ("traceparent", &parent)])).0, None);
    assert_eq!(extract(&headers(&[("traceparent", "?"), ("tracestate", "es=s:1")])).0, None);
    assert_eq!(extract(&headers(&[("tracestate", "es=s:1")])).0, None);
    assert_eq!(extract(&HeaderMap::new()).0, None);
}

#[test]
fn tracestate_headers_are_joined_and_validated() {
    let long_key = "k".repeat(256);
    let long_value = "v".repeat(256);
    let entries = |count: usize| (0..count).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
    let cases = [
        (vec!["a=1"], Some("a=1".to_owned())),
        (vec!["a=1", "", "b=2"], Some("a=1,b=2".to_owned())),
        (vec!["", "b=2 ,\tc= 3\t"], Some("b=2 ,\tc= 3".to_owned())),
        (vec!["a=1,,b=2"], Some("a=1,,b=2".to_owned())),
        (vec!["0@a=1,1a=b"], Some("0@a=1,1a=b".to_owned())),
        (vec![], None),
        (vec!["", " "], None),
        (vec!["a=1,a=2"], None),
        (vec!["a=1", "a=2"], None),
        (vec!["a"], None),
        (vec!["a="], None),
        (vec!["=1"], None),
        (vec!["A=1"], None),
        (vec!["a =1"], None),
        (vec!["a=b=c"], None),
        (vec!["a@=1"], None),
        (vec!["@a=1"], None),
        (vec!["a@b@c=1"], None),
        (vec!["a@0=1"], None),
        (vec!["a@aaaaaaaaaaaaaaa=1"], None),
        (vec!["a=\u{7f}"], None),
        (vec!["a=ä"], None),
    ];
    for (values, expected) in cases {
        let state = received(values.iter().map(|value| value.as_bytes()));
        assert_eq!(state.as_deref(), expected.as_deref(), "{values:?}");
    }
    let valid = |list: String| received([list.as_bytes()].into_iter()).is_some();
    assert!(valid(format!("{long_key}={long_value}")));
    assert!(!valid(format!("{long_key}k=v")) && !valid(format!("a={long_value}v")));
    assert!(valid(entries(32)) && valid(entries(33)) && valid(entries(1000)));
    assert!(!valid(format!("{},k0=v", entries(40))) && !valid(format!("k50=v,{}", entries(60))), "a key comes twice");
    assert!(!valid(format!("{},k39=v", entries(40))), "a key comes twice after the first 32");
    assert!(!valid(format!("{},=v", entries(40))));
    assert!(valid(entries(1160)) && !valid(entries(1170)), "8 KiB are the limit");
    assert!(received([&b"a=\xff"[..]].into_iter()).is_none());
}

#[test]
fn tracestate_entry_of_elastic_contains_the_sample_rate() {
    let cases = [
        ("es=s:1", Some(1.0)),
        ("es=s:0.0001", Some(0.0001)),
        ("a=1,es=x:y;s:0.25;z:1", Some(0.25)),
        ("es=s:0", Some(0.0)),
        ("es=s:1.1", None),
        ("es=s:-1", None),
        ("es=s:nan", None),
        ("es=s:", None),
        ("es=t:1", None),
        ("ess=s:1", None),
    ];
    for (state, rate) in cases {
        assert_eq!(incoming(state, "01").sample_rate, rate, "{state}");
    }
    assert_eq!(incoming("es=s:0.5", "00").sample_rate, Some(0.0), "an unsampled trace weighs nothing");
    assert_eq!(incoming("a=1", "00").sample_rate, None);
}

#[test]
fn elastic_traceparent_header_is_a_fallback() {
    let (w3c, legacy) = (format!("00-{TRACE}-{PARENT}-01"), format!("00-{TRACE}-00000000000000aa-00"));
    let parent = |pairs: &[(&str, &str)]| extract(&headers(pairs)).0.map(|incoming| incoming.parent_id.to_string());
    let both = [("traceparent", w3c.as_str()), ("elastic-apm-traceparent", legacy.as_str())];
    assert_eq!(parent(&both).as_deref(), Some(PARENT));
    let second = Some("00000000000000aa");
    assert_eq!(parent(&both[1..]).as_deref(), second);
    assert_eq!(parent(&[("traceparent", "malformed"), both[1]]).as_deref(), second);
    assert_eq!(parent(&[both[0], both[0], both[1]]).as_deref(), second, "two parents are none");
    assert_eq!(parent(&[both[1], both[1]]), None);
    let state = ("tracestate", "es=s:0.5");
    assert!(extract(&headers(&[both[1], state])).0.unwrap().is_from_elastic());
}

#[test]
fn only_read_headers_start_an_extraction() {
    for name in [&TRACEPARENT, &ELASTIC_APM_TRACEPARENT, &BAGGAGE] {
        assert!(is_read(name.as_str()), "{name}");
    }
    // without a parent it does not count
    assert!(!is_read(TRACESTATE.as_str()));
    assert_eq!(extract(&headers(&[("tracestate", "es=s:0.5"), ("traceparents", "a"), ("x-baggage", "a=b")])).0, None);
}

// spec: tracing-distributed-tracing.md
#[test]
fn tracestate_in_the_opentelemetry_context_keeps_valid_entries() {
    let told = |list: &str| incoming(list, "01").span_context().trace_state().header();
    assert_eq!(told("b=2,,a=1 ,\tc= 3"), "b=2,a=1,c= 3");
    // 14 characters after the `@` are allowed by the W3C, and too many for OpenTelemetry
    assert_eq!(told("tenant@abcdefghijklmn=1,es=s:0.5"), "es=s:0.5");
    let many = (0..40).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
    let told = told(&format!("{many},es=s:0.5"));
    assert!(told.starts_with("es=s:0.5,k0=v,") && told.split(',').count() == 32, "{told}");
}

#[test]
fn tracestate_entry_of_elastic_identifies_the_root() {
    for (state, elastic) in [("es=s:1", true), ("es=x:1", true), ("a=1,es=s:2", true), ("a=1", false), ("ess=1", false)]
    {
        assert_eq!(incoming(state, "01").is_from_elastic(), elastic, "{state}");
    }
    assert!(!incoming("es=s:1,es=s:1", "01").is_from_elastic(), "a list that is not valid does not count");
}

fn out(tracestate: Tracestate, sampled: bool) -> Outgoing {
    let (trace_id, parent_id) = (TraceId(0xa), SpanId(0xb));
    Outgoing { trace_id, parent_id, sampled, tracestate, legacy: false, baggage: None }
}

#[test]
fn outgoing_headers_contain_traceparent_and_tracestate() {
    let out = |state: Tracestate, sampled| {
        let headers: Vec<_> = out(state, sampled).headers().collect();
        let [("traceparent", Some(parent)), ("tracestate", state), ("elastic-apm-traceparent", None)] = &headers[..]
        else {
            panic!("{headers:?}")
        };
        (parent.clone(), state.clone())
    };
    let sampled = "00-0000000000000000000000000000000a-000000000000000b-01";
    let unsampled = "00-0000000000000000000000000000000a-000000000000000b-00";
    assert_eq!(out(Tracestate::Root(0.1), true), (sampled.to_owned(), Some("es=s:0.1".to_owned())));
    assert_eq!(out(Tracestate::Root(1.0), true).1.as_deref(), Some("es=s:1"));
    assert_eq!(out(Tracestate::Root(0.0001), true).1.as_deref(), Some("es=s:0.0001"));
    assert_eq!(out(Tracestate::Root(0.0), false), (unsampled.to_owned(), Some("es=s:0".to_owned())));
    assert_eq!(out(Tracestate::Received("b=2,a=1".into()), true).1.as_deref(), Some("b=2,a=1"));
    assert_eq!(out(Tracestate::None, true).1, None);
    let legacy = Outgoing { legacy: true, ..self::out(Tracestate::None, true) };
    let headers: Vec<_> = legacy.headers().filter_map(|(name, value)| Some((name, value?))).collect();
    assert_eq!(headers[1..], [("elastic-apm-traceparent", sampled.to_owned())]);
}

#[test]
fn message_has_text_and_binary_headers_and_text_takes_precedence() {
    let headers: Vec<_> =
        out(Tracestate::Root(0.5), true).message_headers().filter_map(|(name, value)| Some((name, value?))).collect();
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["traceparent", "tracestate", "elasticapmtraceparent"]);
    let read = |without: &str| {
        let get =
            |name: &str| headers.iter().find(|(own, _)| *own == name && name != without).map(|(_, value)| &value[..]);
        extract_bytes(&get).0.unwrap()
    };
    let (text, binary) = (read(""), read("traceparent"));
    assert_eq!((text.trace_id, text.parent_id, text.sampled), (TraceId(0xa), SpanId(0xb), true));
    assert_eq!(text.sample_rate, Some(0.5));
    assert_eq!((binary.trace_id, binary.parent_id, binary.sampled), (TraceId(0xa), SpanId(0xb), true));
    assert_eq!((binary.sample_rate, binary.tracestate), (None, Tracestate::None), "the binary form knows no state");
}

// spec: tracing-sampling.md
#[test]
fn sampling_decision_follows_the_rate() {
    for (rate, random, sampled) in [
        (1.0, u64::MAX, true),
        (0.0, 0, false),
        (0.5, u64::MAX / 2, true),
        (0.5, u64::MAX / 2 + 2, false),
        (0.0001, 0, true),
        (0.0001, u64::MAX / 9_999, false),
    ] {
        assert_eq!(is_sampled(rate, random), sampled, "{rate} {random}");
    }
}

// spec: tracing-distributed-tracing.md
#[test]
fn traceparent_is_printed_as_it_is_parsed() {
    for (trace_id, parent_id) in [(u128::MAX, u64::MAX), (1, 1), (0x0f << 64, 0xf0), (1 << 127, 1 << 63)] {
        for sampled in [true, false] {
            let outgoing = Outgoing {
                trace_id: TraceId(trace_id),
                parent_id: SpanId(parent_id),
                ..out(Tracestate::None, sampled)
            };
            let (name, value) = outgoing.headers().next().unwrap();
            let value = value.unwrap();
            let flags = if sampled { "01" } else { "00" };
            assert_eq!((name, &*value), ("traceparent", &*format!("00-{trace_id:032x}-{parent_id:016x}-{flags}")));
            assert_eq!(parse(value.as_bytes()), Some((TraceId(trace_id), SpanId(parent_id), sampled)));
        }
    }
}

// spec: tracing-distributed-tracing.md
#[test]
fn each_character_of_a_traceparent_is_checked() {
    let valid = format!("00-{TRACE}-{PARENT}-01");
    for (at, character) in valid.char_indices() {
        for wrong in ["g", "F", ".", " ", "+", "/", ":", "`", "\u{7f}"] {
            let value = format!("{}{wrong}{}", &valid[..at], &valid[at + 1..]);
            assert_eq!(parse(value.as_bytes()), None, "{value}");
        }
        let without = valid[..at].to_owned() + &valid[at + 1..];
        assert_eq!(parse(without.as_bytes()), None, "without {character} at {at}");
        assert_eq!(parse(format!("{}0{}", &valid[..at], &valid[at..]).as_bytes()), None, "a digit more at {at}");
    }
    for flags in 0..=u8::MAX {
        let value = format!("00-{TRACE}-{PARENT}-{flags:02x}");
        assert_eq!(parse(value.as_bytes()).unwrap().2, flags % 2 == 1, "{value}");
    }
    for version in 1..u8::MAX {
        let value = format!("{version:02x}-{TRACE}-{PARENT}-01");
        assert!(parse(value.as_bytes()).is_some() && parse(format!("{value}-7").as_bytes()).is_some(), "{value}");
        assert_eq!(parse(format!("{value}7").as_bytes()), None, "{value}7");
    }
}

// spec: tracing-distributed-tracing.md
#[test]
fn header_names_are_found_in_any_case() {
    let parent = format!("00-{TRACE}-{PARENT}-01");
    for (parent_name, state_name) in [("traceparent", "tracestate"), ("TraceParent", "TRACESTATE")] {
        let (incoming, _) = extract(&headers(&[(parent_name, &parent), (state_name, "es=s:0.25")]));
        assert_eq!(incoming.unwrap().sample_rate, Some(0.25));
    }
}

// spec: tracing-distributed-tracing.md
#[test]
fn characters_and_lengths_of_tracestate_entries_are_checked() {
    let is_valid = |entry: &str| received([entry.as_bytes()].into_iter()).is_some();
    for first in ['a', 'z', '0', '9'] {
        assert!(is_valid(&format!("{first}=1")) && is_valid(&format!("{first}@z=1")), "{first}");
    }
    for first in ['_', '-', '*', '/', 'A', '.', '@', '~'] {
        assert!(!is_valid(&format!("{first}=1")) && !is_valid(&format!("{first}@z=1")), "{first}");
        assert!(!is_valid(&format!("a@{first}=1")), "{first}");
    }
    for character in ['a', 'z', '0', '9', '_', '-', '*', '/'] {
        assert!(is_valid(&format!("a{character}=1")) && is_valid(&format!("a{character}@z{character}=1")));
    }
    for character in ['A', 'Z', '.', ':', '+', '~', ' ', '{', '`'] {
        assert!(!is_valid(&format!("a{character}=1")), "{character}");
        assert!(!is_valid(&format!("a{character}@z=1")) && !is_valid(&format!("a@z{character}=1")), "{character}");
    }
    for character in ' '..='~' {
        assert_eq!(is_valid(&format!("a=x{character}y")), !matches!(character, ',' | '='), "{character}");
    }
    assert!(!is_valid("a=x\u{1f}y") && !is_valid("a=x\ty"));
    for (key, valid) in [
        ("k".repeat(256), true),
        ("k".repeat(257), false),
        (format!("{}@z", "k".repeat(241)), true),
        (format!("{}@z", "k".repeat(242)), false),
        (format!("k@{}", "z".repeat(14)), true),
        (format!("k@{}", "z".repeat(15)), false),
    ] {
        assert_eq!(is_valid(&format!("{key}=1")), valid, "{key}");
    }
    assert!(is_valid(&format!("a={}", "v".repeat(256))) && !is_valid(&format!("a={}", "v".repeat(257))));
}

#[test]
#[ignore = "needs APM_SPEC_DIR"]
fn trace_context_matches_the_published_vectors() {
    let cases = crate::spec_folder::json("json-specs/w3c_distributed_tracing.json");
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 20, "only {} vectors", cases.len());
    for case in cases {
        let pairs: Vec<(String, String)> = serde_json::from_value(case["headers"].clone()).unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let incoming = extract(&headers(&pairs)).0;
        assert_eq!(Some(incoming.is_some()), case["is_traceparent_valid"].as_bool(), "{case}");
        if let Some(valid) = case["is_tracestate_valid"].as_bool() {
            assert_eq!(incoming.is_some_and(|incoming| incoming.tracestate != Tracestate::None), valid, "{case}");
        }
    }
}
