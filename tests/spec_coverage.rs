//! Every specification that this agent implements has a test.
//!
//! Tests name their specification in a comment above them: `// spec: FILE.md` or `// spec: FILE.md, OTHER.md`. The files
//! are those of <https://github.com/elastic/apm/tree/main/specs/agents> and its subfolders.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The specifications that this agent implements.
const IMPLEMENTED: &[&str] = &[
    "configuration.md",
    "error-tracking.md",
    "field-limits.md",
    "log-correlation.md",
    "log-reformatting.md",
    "log-sending.md",
    "logging.md",
    "metadata.md",
    "metrics-health.md",
    "metrics-otel.md",
    "metrics.md",
    "otel-distribution.md",
    "sanitization.md",
    "span-links.md",
    "trace-continuation.md",
    "tracing-api-otel.md",
    "tracing-distributed-tracing.md",
    "tracing-instrumentation-db.md",
    "tracing-instrumentation-graphql.md",
    "tracing-instrumentation-grpc.md",
    "tracing-instrumentation-http.md",
    "tracing-instrumentation-messaging.md",
    "tracing-sampling.md",
    "tracing-spans-compress.md",
    "tracing-spans-destination.md",
    "tracing-spans-drop-fast-exit.md",
    "tracing-spans-dropped-stats.md",
    "tracing-spans-limit.md",
    "tracing-spans-service-target.md",
    "tracing-spans.md",
    "tracing-transaction-grouping.md",
    "tracing-transactions.md",
    "transport.md",
];

/// Specifications that need no test, each with the reason.
const EXEMPT: &[(&str, &str)] = &[
    ("tracing-instrumentation-aws.md", "the AWS SDK is recorded through its OpenTelemetry spans"),
    ("tracing-instrumentation-aws-lambda.md", "a function is not a service that runs axum"),
    ("tracing-instrumentation-azure.md", "the Azure SDK is recorded through its OpenTelemetry spans"),
    ("tracing-instrumentation-azure-functions.md", "a function is not a service that runs axum"),
    ("universal-profiling-integration.md", "there is no profiling"),
];

/// Adds the specifications that the sources below a folder name.
fn find_specifications(folder: &Path, found: &mut BTreeSet<String>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            find_specifications(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(specifications(&fs::read_to_string(&path).unwrap()));
        }
    }
}

fn specifications(source: &str) -> BTreeSet<String> {
    let lists = source.lines().filter_map(|line| line.trim_start().strip_prefix("// spec: "));
    lists.flat_map(|list| list.split(", ")).map(str::to_owned).collect()
}

#[test]
fn every_implemented_specification_has_a_test() {
    let mut found = BTreeSet::new();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    ["src", "tests"].iter().for_each(|folder| find_specifications(&root.join(folder), &mut found));
    let is_exempt = |file: &str| EXEMPT.iter().any(|(exempt, _)| *exempt == file);
    let untested: Vec<_> = IMPLEMENTED.iter().filter(|file| !found.contains(**file)).collect();
    let unknown: Vec<_> = found.iter().filter(|file| !IMPLEMENTED.contains(&file.as_str())).collect();
    assert!(IMPLEMENTED.iter().all(|file| !is_exempt(file)), "a specification is in both lists");
    assert!(untested.is_empty(), "specifications without a test: {untested:?}");
    assert!(unknown.is_empty(), "specifications that are not in the list of this test: {unknown:?}");
}

#[test]
fn specifications_are_read_from_comments() {
    let source = "// spec: a.md\n#[test]\nfn one() {}\n    // spec: b.md, c.md\n    //! spec: d.md\nlet e = \"// spec: f.md\";\n";
    assert_eq!(specifications(source), ["a.md", "b.md", "c.md"].map(String::from).into());
}
