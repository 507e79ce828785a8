//! Panics that end the process: their errors are delivered before.
//!
//! Built with `panic = "abort"` (`--profile abort`), each panic ends the process. Otherwise a panic in a destructor does, while
//! another panic unwinds.
//!
//! Exits with 0 if each case behaves as expected.

use std::{
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use tower_apm::{
    Agent, EnvVars,
    devserver::{DevServer, Kind, Query},
};

/// Far more than the second that a panic may wait.
const DEADLINE: Duration = Duration::from_secs(20);
const ABORTS: bool = cfg!(panic = "abort");

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().zip(args.next()) {
        Some((case, url)) => crash(&case, url),
        None => all(),
    }
}

fn all() -> ExitCode {
    let cases: &[(&str, &[&str])] = if ABORTS {
        &[
            ("outside", &["crashed outside"]),
            ("inside", &["crashed inside"]),
            ("thread", &["crashed in a thread"]),
            ("filtered", &[]),
            ("serialize", &["crashed in a Serialize"]),
            ("slow-filter", &[]),
            ("silent", &[]),
        ]
    } else {
        &[
            ("twice", &["first panic", "second panic"]),
            ("twice-inside", &["first panic", "second panic"]),
            ("silent", &[]),
        ]
    };
    let mut failed = false;
    for (case, expected) in cases {
        let server = DevServer::bind("127.0.0.1:0").unwrap();
        // accepts connections and does not respond
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = if *case == "silent" { format!("http://{}", silent.local_addr().unwrap()) } else { server.url() };
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut program = command.args([case, &*url]).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        let status = loop {
            if let Some(status) = program.try_wait().unwrap() {
                break Some(status);
            }
            if began.elapsed() > DEADLINE {
                program.kill().unwrap();
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let took = began.elapsed();
        let errors = server.store().query(&Query::new().kind(Kind::Error)).events;
        let messages: Vec<_> = errors.iter().map(|error| error.body()["exception"]["message"].to_string()).collect();
        let aborted = status.is_some_and(|status| status.signal() == Some(libc::SIGABRT));
        let found = |text: &&str| messages.iter().any(|message| message.contains(text));
        let is_right = aborted && expected.iter().all(found) && (!expected.is_empty() || messages.is_empty());
        println!("{case}: {} ({took:?}, {messages:?}, {status:?})", if is_right { "ok" } else { "FAILED" });
        failed |= !is_right;
    }
    ExitCode::from(u8::from(failed))
}

struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("second panic");
    }
}

struct Value;

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("crashed in a Serialize")
    }
}

fn crash(case: &str, url: String) -> ExitCode {
    let is_slow = case == "slow-filter";
    let agent = Agent::builder()
        .env_vars(EnvVars::empty())
        .service_name("crash")
        .server_url(url)
        .error_filter(move |error| {
            if is_slow {
                thread::sleep(DEADLINE * 2);
            }
            error.message() != "filtered"
        })
        .install()
        .unwrap();
    match case {
        "outside" | "slow-filter" => panic!("crashed outside"),
        "filtered" => panic!("filtered"),
        "inside" => agent.start_transaction("boot", "job").in_scope(|| panic!("crashed inside")),
        "thread" => drop(thread::spawn(|| panic!("crashed in a thread")).join()),
        "serialize" => drop(agent.start_transaction("boot", "job").set_custom_context("value", Value)),
        "silent" if ABORTS => panic!("crashed outside"),
        "twice" | "silent" => {
            let _panics = Panics;
            panic!("first panic");
        }
        "twice-inside" => agent.start_transaction("boot", "job").in_scope(|| {
            let _panics = Panics;
            panic!("first panic");
        }),
        other => panic!("no such case: {other}"),
    }
    ExitCode::SUCCESS
}
