//! Serves a peer over real sockets to clients in a process of their own, and looks at its memory.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{app::Requests, peers::Build, sink};

/// Keep-alive connections, each with one request under way.
const CONNECTIONS: usize = 64;
/// After the last request, before the memory is looked at once more.
const SETTLE: Duration = Duration::from_secs(3);

#[derive(Serialize)]
struct Measured<'a> {
    peer: &'a str,
    requests: u64,
    requests_per_second: f64,
    /// Events that reached the sink; none when it is away.
    events: Option<u64>,
    /// Resident, in MiB: listening and not yet asked; the most so far, after the last request; some seconds later.
    idle_mib: f64,
    peak_mib: f64,
    settled_mib: f64,
}

/// One run against `sink`, or, where that is `away`, with a server URL on which no server listens. Prints a line of JSON.
pub fn serve(peer: &str, build: Build, sink: &str, requests: u64) {
    let away = sink == "away";
    let address = if away { unused_address() } else { sink.to_owned() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut rig = {
        let _context = runtime.enter();
        build(crate::app::router(), &address)
    };
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let own = listener.local_addr().unwrap();
    let app = rig.app.clone();
    runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });

    let seen = (!away).then(|| sink::stats(sink).events);
    let idle_mib = resident("VmRSS");
    let began = Instant::now();
    let load = Command::new(std::env::current_exe().unwrap())
        .args(["load", &own.to_string(), &requests.to_string()])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(load.success());
    let took = began.elapsed().as_secs_f64();
    let peak_mib = resident("VmHWM");
    std::thread::sleep(SETTLE);
    let settled_mib = resident("VmRSS");
    let events = seen.map(|seen| {
        rig.flush();
        sink::stats(sink).events - seen
    });
    let requests_per_second = requests as f64 / took;
    let measured = Measured { peer, requests, requests_per_second, events, idle_mib, peak_mib, settled_mib };
    println!("{}", serde_json::to_string(&measured).unwrap());
    std::process::exit(0);
}

/// Returns an address on which no server listens.
pub fn unused_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A line of `/proc/self/status`, in MiB.
pub fn resident(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Runs the clients.
///
/// Every connection sends the next request after the response or, with a rate, when the next request of all connections is due.
pub fn load(address: &str, requests: u64, rate: Option<f64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let texts: Arc<[Vec<u8>]> = Requests::new().texts().into();
        let left = Arc::new(AtomicU64::new(requests));
        let pace = Pace { began: Instant::now(), requests, rate };
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|_| tokio::spawn(ask(address.to_owned(), texts.clone(), left.clone(), pace)))
            .collect();
        for connection in connections {
            connection.await.unwrap();
        }
    });
}

#[derive(Clone, Copy)]
struct Pace {
    began: Instant,
    requests: u64,
    rate: Option<f64>,
}

impl Pace {
    /// Returns when the request may go after which so many are left.
    async fn due(self, left: u64) {
        if let Some(rate) = self.rate {
            let due = self.began + Duration::from_secs_f64((self.requests - left) as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
        }
    }
}

async fn ask(address: String, texts: Arc<[Vec<u8>]>, left: Arc<AtomicU64>, pace: Pace) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = Vec::with_capacity(4096);
    while let Ok(number) = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
        pace.due(number).await;
        stream.write_all(&texts[number as usize % texts.len()]).await.unwrap();
        answer.clear();
        while !is_whole(&answer) {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the server closed the connection");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
}

/// Head and as many bytes of body as it announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    answer.len() >= end + 4 + length.parse::<usize>().unwrap()
}
