//! Does the development server say what the real server's decoder says, of the same bytes?
//!
//! Needs the program in `tests/apm-server`, named by `APM_SERVER_DECODER`.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader, Write},
    thread,
};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngSeed, TestRunner},
};
use serde_json::{Value, json, value::RawValue};
use tower_apm::devserver::DevServer;

use crate::{
    apm_server_process::{self, ApmServer},
    client::{Connection, lines},
    random,
    spec::{ERROR, FULL, LOG, METADATA, METRICSET, SPAN, TRANSACTION},
};

#[test]
#[ignore = "needs APM_SERVER_DECODER"]
fn differential_on_whole_bodies() {
    compare(&odd_bodies());
}

#[test]
#[ignore = "needs APM_SERVER_DECODER"]
fn differential_on_mutated_lines() {
    compare_mutated(&FULL.map(str::to_owned));
}

/// Compares each line with every value replaced in turn.
pub(crate) fn compare_mutated(lines_to_mutate: &[String]) {
    let mut seen = BTreeSet::new();
    let bodies: Vec<_> = lines_to_mutate
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .flat_map(|line| mutations(&line, &mut seen))
        .map(|line| if line.starts_with("{\"metadata\"") { lines(&[&line]) } else { lines(&[METADATA, &line]) })
        .collect();
    assert!(bodies.len() > 5_000, "only {} mutations", bodies.len());
    compare(&bodies);
}

#[test]
#[ignore = "needs APM_SERVER_DECODER"]
fn differential_on_lines_with_many_mutations() {
    compare_with_many_mutations(&FULL.map(str::to_owned));
}

/// Compares lines with several changes at once, of values and of the text around them. `PROPTEST_CASES` sets the number of
/// lines, `PROPTEST_RNG_SEED` the seed.
pub(crate) fn compare_with_many_mutations(lines_to_mutate: &[String]) {
    const CASES: u32 = 4_000;
    let set = |variable| env::var_os(variable).is_some();
    let default = Config::default();
    let cases = if set("PROPTEST_CASES") { default.cases } else { CASES };
    let rng_seed = if set("PROPTEST_RNG_SEED") { default.rng_seed } else { RngSeed::Fixed(1) };
    let mut runner = TestRunner::new(Config { rng_seed, ..default });
    let lines = random::mutated(lines_to_mutate);
    let bodies = (0..cases).map(|_| {
        let line = lines.new_tree(&mut runner).unwrap().current();
        // one that is always taken behind it, so that a line that swallows the next one shows
        if line.starts_with("{\"metadata\"") {
            format!("{line}\n{SPAN}\n")
        } else {
            format!("{METADATA}\n{line}\n{SPAN}\n")
        }
    });
    let is_json = |line: &str| serde_json::from_str::<&RawValue>(line).is_ok();
    compare_by(&bodies.collect::<Vec<_>>(), |body, ours, theirs| {
        let same = verdict(ours) == verdict(theirs);
        // the server takes some of what is no JSON, such as `+1` for a label
        same || !body.lines().all(is_json) && ours["accepted"].as_u64() < theirs["accepted"].as_u64()
    });
}

/// What is wrong, or nearly so, with the stream and not with a field.
fn odd_bodies() -> Vec<String> {
    let all = lines(&[METADATA, TRANSACTION, SPAN, ERROR, METRICSET, LOG]);
    let mut bodies: Vec<String> = (0..all.len()).step_by(7).map(|cut| all[..cut].to_owned()).collect();
    let long = |length: usize| TRANSACTION.replace("\"type\"", &format!("\"x\":\"{}\",\"type\"", "x".repeat(length)));
    let around = 307_200 - long(0).len();
    bodies.extend([
        all.clone(),
        all.trim_end().to_owned(),
        all.replace('\n', "\r\n"),
        all.replace('\n', "\n\n"),
        format!("\n{all}"),
        format!(" {all}"),
        lines(&[METADATA]),
        METADATA.to_owned(),
        lines(&[TRANSACTION]),
        lines(&[METADATA, METADATA, TRANSACTION]),
        lines(&[METADATA, "", "  ", TRANSACTION, "\t"]),
        lines(&[METADATA, "{}", "[]", "null", "7", "\"span\"", "{", "garbage", "'span'", "{\"span\"}"]),
        lines(&[METADATA, "{\"foo\":{}}", "{\"foo\":1,\"span\":{}}", "{\"span\":{},\"foo\":1}"]),
        lines(&[METADATA, &SPAN.replace("}}", "},\"foo\":1e309}"), &SPAN.replace("}}", "},\"foo\":[1e308]}")]),
        lines(&[METADATA, "{\"span\":null}", "{\"span\":[]}", "{\"span\":7}", "{\"Span\":{}}", "{\"spans\":{}}"]),
        lines(&[METADATA, &format!("{TRANSACTION} trailing"), &format!("{TRANSACTION}{SPAN}"), &format!("{SPAN}}}")]),
        lines(&[METADATA, &TRANSACTION.replace(':', " : "), &format!("  {SPAN}  ")]),
        lines(&[METADATA, &TRANSACTION.replace("GET", r"\ud83d GET \ude00 \u00e9"), &SPAN.replace("db", r"d\q")]),
        lines(&[METADATA, &TRANSACTION.replace("32.5", "032.5"), &TRANSACTION.replace("32.5", "1e")]),
        lines(&[METADATA, &TRANSACTION.replace("32.5", ".5"), &TRANSACTION.replace("32.5", "1.")]),
        lines(&[METADATA, &TRANSACTION.replace("32.5", "-0"), &TRANSACTION.replace("32.5", "1E-3")]),
        lines(&[METADATA, &TRANSACTION.replace("\"started\":1", "\"started\":-0"), &SPAN.replace("db", "")]),
        lines(&[METADATA, r#"{"metricset":{"samples":{"a":{"value":1}},"transaction":{"name":"n"}}}"#]),
        lines(&[METADATA, r#"{"metricset":{"samples":{"a*":{"value":1}}}}"#]),
        lines(&[METADATA, r#"{"metricset":{"samples":{"":{"value":1}}}}"#]),
        lines(&[METADATA, &long(around - 1), &long(around), &long(around + 1), SPAN]),
        lines(&[METADATA, SPAN, &long(1_000_000), SPAN]),
        lines(&[METADATA, SPAN]) + &long(around),
        lines(&[METADATA, SPAN]) + &long(around - 1),
        lines(&[METADATA, "{\"span\":{}}"].repeat(9)),
    ]);
    for time in [
        "2026-08-20T10:00:00+02:00",
        "2026-08-20T10:00:00+0200",
        "2026-08-20T10:00:00,5+02",
        "2026-08-20T9:00:00Z",
        "2026-8-20T10:00:00Z",
        "2026-08-20 10:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-08-20T10:00:60Z",
        "2026-08-20T10:00:00.Z",
        "2026-08-20T10:00:00",
        "2026-08-20T10:00:00+24:00",
        "2026-08-20T10:00:00+25:00",
        "2026-08-20T10:00:00+02:60",
        "2026-08-20T10:00:00z",
    ] {
        bodies.push(lines(&[METADATA, &SPAN.replace("1787220000000000", &format!("\"{time}\""))]));
    }
    bodies
}

/// Every value of a line replaced by everything that it should or should not be. A place that an earlier line has shown
/// already is left alone.
fn mutations(line: &Value, seen: &mut BTreeSet<String>) -> Vec<String> {
    let mut places = Vec::new();
    collect(line, &mut Vec::new(), &mut places);
    let mut mutated = vec![line.to_string()];
    for place in places {
        if !seen.insert(shape_of(&place)) {
            continue;
        }
        for replacement in replacements(at(line, &place)) {
            let mut line = line.clone();
            *at_mut(&mut line, &place) = replacement;
            mutated.push(unmask(&line.to_string()));
        }
        if let Some((last, parent)) = place.split_last() {
            let mut without = line.clone();
            match at_mut(&mut without, parent) {
                Value::Object(members) => {
                    let value = members.remove(last).unwrap();
                    mutated.push(unmask(&Value::to_string(&without)));
                    let Value::Object(members) = at_mut(&mut without, parent) else { unreachable!() };
                    members.insert(last.to_uppercase(), value);
                }
                Value::Array(elements) => elements.clear(),
                _ => unreachable!(),
            }
            mutated.push(without.to_string());
        }
    }
    mutated
}

pub(crate) fn replacements(value: &Value) -> Vec<Value> {
    let text = |length| json!("é".repeat(length));
    vec![
        Value::Null,
        json!(true),
        json!(""),
        json!("text"),
        json!("200"),
        json!("+5"),
        json!("-5"),
        json!("2026-08-20T10:00:00Z"),
        json!(0),
        json!(1),
        json!(-1),
        masked("7.0"),
        json!(1.5),
        masked("1e3"),
        masked("1e400"),
        masked("9223372036854775807"),
        masked("9223372036854775808"),
        masked("18446744073709551616"),
        masked("-9223372036854775809"),
        json!({}),
        json!([]),
        json!([null]),
        json!([{}]),
        json!(["x"]),
        json!([1]),
        json!([1.5]),
        json!([-1]),
        json!([["x"]]),
        json!({ "a": null }),
        json!({ "a": "b" }),
        json!({ "a": 1 }),
        json!({ "a": ["b"] }),
        json!({ "a": ["b", 1] }),
        json!({ "a": { "b": 1 } }),
        json!({ "a": { "b": "c" } }),
        json!({ "a": { "b": null } }),
        json!({ "a": { "value": 1 } }),
        json!({ "name": "dots.are/bad" }),
        json!({ "name": 5 }),
        text(512),
        text(513),
        text(1024),
        text(1025),
        json!({ "long": text(1025) }),
        json!([text(1025)]),
        json!([value]),
        json!({ "wrapped": value }),
        Value::String(value.to_string()),
    ]
}

/// A number that `Value` would change.
pub(crate) fn masked(number: &str) -> Value {
    Value::String(format!("@@{number}@@"))
}

pub(crate) fn unmask(line: &str) -> String {
    line.replace("\"@@", "").replace("@@\"", "")
}

/// Paths to all values, also to the event itself.
pub(crate) fn collect(value: &Value, path: &mut Vec<String>, places: &mut Vec<Vec<String>>) {
    if !path.is_empty() {
        places.push(path.clone());
    }
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(elements) => elements.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        path.push(step);
        collect(child, path, places);
        path.pop();
    }
}

fn shape_of(place: &[String]) -> String {
    let step = |step: &String| if step.parse::<usize>().is_ok() { "[]".to_owned() } else { step.clone() };
    place.iter().map(step).collect::<Vec<_>>().join("/")
}

pub(crate) fn at<'a>(value: &'a Value, place: &[String]) -> &'a Value {
    place.iter().fold(value, |value, step| match value {
        Value::Array(elements) => &elements[step.parse::<usize>().unwrap()],
        value => &value[step.as_str()],
    })
}

pub(crate) fn at_mut<'a>(value: &'a mut Value, place: &[String]) -> &'a mut Value {
    place.iter().fold(value, |value, step| match value {
        Value::Array(elements) => &mut elements[step.parse::<usize>().unwrap()],
        value => &mut value[step.as_str()],
    })
}

/// Feeds each body to both and fails with all bodies on which they differ.
pub(crate) fn compare(bodies: &[String]) {
    compare_by(bodies, |_, ours, theirs| verdict(ours) == verdict(theirs));
}

/// As [`compare`], by another measure of what is the same.
fn compare_by(bodies: &[String], agree: impl Fn(&str, &Value, &Value) -> bool) {
    let theirs = judge(apm_server_process::start(&["judge"]), bodies);
    let server = DevServer::builder().max_events(100).bind("127.0.0.1:0").unwrap();
    let mut connection = Connection::open(server.addr());
    let mut differences = Vec::new();
    for (body, theirs) in bodies.iter().zip(&theirs) {
        let headers = [("Content-Type", "application/x-ndjson")];
        let answer = connection.request("POST /intake/v2/events?verbose", &headers, body.as_bytes()).unwrap();
        if answer.header("connection") == Some("close") {
            connection = Connection::open(server.addr());
        }
        let ours = answer.json();
        if !agree(body, &ours, theirs) {
            let shown = body.strip_prefix(METADATA).unwrap_or(body).chars().take(600).collect::<String>();
            differences.push(format!("{shown}\n   theirs: {}\n   ours:   {}", brief(theirs), brief(&ours)));
        }
    }
    println!("{} bodies compared", bodies.len());
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// How many were accepted, and which lines were refused.
fn verdict(answer: &Value) -> (u64, Vec<String>) {
    let refused = answer["errors"].as_array().into_iter().flatten();
    let refused = refused.map(|error| error["document"].as_str().unwrap_or_default().to_owned());
    (answer["accepted"].as_u64().unwrap(), refused.collect())
}

fn brief(answer: &Value) -> String {
    let messages: Vec<_> =
        answer["errors"].as_array().into_iter().flatten().map(|error| error["message"].to_string()).collect();
    format!("{} accepted, {} refused {}", answer["accepted"], messages.len(), messages.join(" | "))
}

/// The real decoder's verdict on each body, asked over its standard input.
fn judge(mut decoder: ApmServer, bodies: &[String]) -> Vec<Value> {
    let mut input = decoder.0.stdin.take().unwrap();
    let output = BufReader::new(decoder.0.stdout.take().unwrap());
    let answers = thread::scope(|scope| {
        scope.spawn(move || {
            for body in bodies {
                input.write_all(format!("{}\n", Value::from(body.as_str())).as_bytes()).unwrap();
            }
        });
        output.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect::<Vec<_>>()
    });
    assert!(decoder.0.wait().unwrap().success());
    assert_eq!(answers.len(), bodies.len());
    answers
}
