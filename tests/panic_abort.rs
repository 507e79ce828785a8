//! Panics that end the process are delivered before it ends. The process is this test binary, started again.

use std::process::{Command, Stdio};

use tower_apm::{
    Agent, CloudProvider, EnvVars, LogFormat,
    devserver::{DevServer, Kind, Query},
};

const URL: &str = "TOWER_APM_TEST_URL";

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("second panic");
    }
}

/// Not a test: the process that ends.
#[test]
#[ignore = "ends the process; another test starts it"]
fn ends_by_two_panics() {
    let Ok(url) = std::env::var(URL) else { return };
    let agent = Agent::builder()
        .env_vars(EnvVars::empty())
        .cloud_provider(CloudProvider::None)
        .server_url(url)
        .log_format(LogFormat::Off)
        .install()
        .unwrap();
    agent.start_transaction("last work", "job").in_scope(|| {
        let _panics = PanicsOnDrop;
        panic!("first panic");
    });
}

#[test]
fn panics_are_delivered_before_the_process_aborts() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ends_by_two_panics", "--ignored", "--nocapture", "--test-threads=1"])
        .env(URL, server.url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success() && status.code().is_none(), "it ends by a signal: {status}");
    let errors = server.store().query(&Query::new().kind(Kind::Error)).events;
    let of = |text: &str| errors.iter().find(|error| error.raw().contains(text)).map(|error| error.body());
    for text in ["first panic", "second panic"] {
        let error = of(text).unwrap_or_else(|| panic!("{text} is missing"));
        assert_eq!(error["transaction"]["name"], "last work");
    }
}
