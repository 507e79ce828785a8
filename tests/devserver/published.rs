//! Bodies that other agents have sent, and the sample bodies of the APM Server, from the folder that `APM_SPEC_DIR` names.

use std::{env, fs, path::Path};

use tower_apm::devserver::DevServer;

use crate::{
    client::{get, post},
    differential,
};

/// Returns the bodies in a folder of `APM_SPEC_DIR` by file name.
fn bodies(folder: &str) -> Vec<(String, String)> {
    let root = env::var_os("APM_SPEC_DIR").expect("APM_SPEC_DIR must name the folder with the published bodies");
    let folder = Path::new(&root).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut bodies: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ndjson"))
        .map(|path| (path.file_name().unwrap().display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect();
    bodies.sort();
    assert!(!bodies.is_empty(), "{} contains no bodies", folder.display());
    bodies
}

#[test]
#[ignore = "needs APM_SPEC_DIR"]
fn published_bodies_of_other_agents_are_accepted() {
    for (name, body) in bodies("agent-bodies") {
        let server = DevServer::bind("127.0.0.1:0").unwrap();
        let events = body.lines().filter(|line| !line.is_empty()).count() - 1;
        let answer = post(&server, &body);
        assert_eq!((answer.status, answer.counts()), (202, (events as u64, 0)), "{name}: {}", answer.body);
        let traces = get(&server, "/api/events?type=transaction&limit=1000").json();
        for transaction in traces["events"].as_array().unwrap() {
            let trace_id = transaction["event"]["trace_id"].as_str().unwrap();
            let found = get(&server, &format!("/api/events?trace_id={trace_id}")).json();
            assert!(found["total"].as_u64().unwrap() >= 1, "{name}");
        }
    }
}

#[test]
#[ignore = "needs APM_SERVER_DECODER and APM_SPEC_DIR"]
fn published_bodies_get_the_verdict_of_the_real_server() {
    let bodies: Vec<_> =
        ["intake-samples", "agent-bodies"].into_iter().flat_map(bodies).map(|(_, body)| body).collect();
    differential::compare(&bodies);
    let lines: Vec<_> = bodies.iter().flat_map(|body| body.lines()).map(str::to_owned).collect();
    differential::compare_mutated(&lines);
    differential::compare_with_many_mutations(&lines);
}
