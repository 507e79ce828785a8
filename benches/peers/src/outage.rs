//! Measures an outage of the server: memory, the time until the first batch arrives, and lost events.
//!
//! It serves a peer over real sockets at a steady rate without a server, and then starts the server.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::net::TcpListener;

use crate::{
    peers::Build,
    sink,
    sockets::{resident, unused_address},
};

#[derive(Serialize)]
struct Measured<'a> {
    peer: &'a str,
    requests: u64,
    seconds: f64,
    /// Resident memory in MiB: before the first request, peak until the end of the outage, peak until the end.
    idle_mib: f64,
    outage_mib: f64,
    peak_mib: f64,
    /// From the server's start to the first post that it took, and to the last one. None where nothing is sent.
    first_post_seconds: Option<f64>,
    recovered_seconds: Option<f64>,
    /// Transactions and spans that the server has. With OTLP both are spans and count as transactions.
    transactions: u64,
    spans: u64,
    posts: u64,
}

/// Measures one outage of `seconds` with `rate` requests per second, and prints a line of JSON.
pub fn measure(peer: &str, build: Build, seconds: u64, rate: u64) {
    let address = unused_address();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut rig = {
        let _context = runtime.enter();
        build(crate::app::router(), &address)
    };
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let own = listener.local_addr().unwrap();
    let app = rig.app.clone();
    runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });

    let requests = seconds * rate;
    let idle_mib = resident("VmRSS");
    let began = Instant::now();
    let this = std::env::current_exe().unwrap();
    let load = [own.to_string(), requests.to_string(), rate.to_string()];
    let load = Command::new(&this).arg("load").args(load).stdout(Stdio::null()).status().unwrap();
    assert!(load.success());
    let seconds = began.elapsed().as_secs_f64();
    let outage_mib = resident("VmHWM");

    let mut server = Command::new(&this).args(["sink", &address]).stdout(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while sink::try_stats(&address).is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut first = None;
    // the agent detects the server on its own
    while first.is_none() && began.elapsed() < Duration::from_secs(if peer == "bare" { 3 } else { 60 }) {
        first = (sink::posted(&address) > 0).then(|| began.elapsed().as_secs_f64());
        std::thread::sleep(Duration::from_millis(5));
    }
    rig.flush();
    let recovered = first.map(|_| began.elapsed().as_secs_f64());
    let peak_mib = resident("VmHWM");
    let sink::Stats { events: transactions, spans, posts, .. } = sink::stats(&address);
    let measured = Measured {
        peer,
        requests,
        seconds,
        idle_mib,
        outage_mib,
        peak_mib,
        first_post_seconds: first,
        recovered_seconds: recovered,
        transactions,
        spans,
        posts,
    };
    println!("{}", serde_json::to_string(&measured).unwrap());
    server.kill().unwrap();
    std::process::exit(0);
}
