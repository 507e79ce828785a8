//! Starts an agent and forks: the child has the agent but not its thread.
//!
//! Exits with 0 if the child never blocks, gets an error and one log line, and stays within its limits.

use std::{
    io::Read,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use tower_apm::{Agent, AgentGuard, EnvVars, devserver::DevServer};

const TIMEOUT: Duration = Duration::from_secs(2);
/// Far more than any case may take.
const DEADLINE: Duration = Duration::from_secs(30);
const CASES: [&str; 7] = ["flush", "shutdown", "drop", "drop-clone", "record", "panic", "fresh"];
const REASON: &str = "this process was forked after the agent had started";

fn main() -> ExitCode {
    match std::env::args().nth(1) {
        Some(case) => run(&case),
        None => all(),
    }
}

/// Runs each case in a process of its own.
fn all() -> ExitCode {
    let mut failed = false;
    for case in CASES {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut program = command.arg(case).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = String::new();
        program.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        let status = program.wait().unwrap();
        let reasons = output.matches(REASON).count();
        let is_right = status.success() && reasons == usize::from(case != "fresh");
        println!("{case}: {}", if is_right { "ok" } else { "FAILED" });
        if !is_right {
            println!("{status}, reason logged {reasons} times\n{output}");
        }
        failed |= !is_right;
    }
    ExitCode::from(u8::from(failed))
}

/// The parent: forks, and waits for the child with a deadline.
fn run(case: &str) -> ExitCode {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let builder = Agent::builder().env_vars(EnvVars::empty()).service_name("forked").server_url(server.url());
    let agent = builder.install().unwrap();
    drop(agent.start_transaction("in the parent", "job"));
    // SAFETY: the child is this very program, and ends with `_exit`
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| child(case, agent, &server.url())));
        // SAFETY: ends the child without the destructors of the parent's threads
        unsafe { libc::_exit(i32::from(result.is_err())) }
    }
    let began = Instant::now();
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status
    while unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } == 0 {
        if began.elapsed() > DEADLINE {
            println!("the child hangs");
            // SAFETY: as above
            unsafe { libc::kill(pid, libc::SIGKILL) };
            return ExitCode::FAILURE;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // the parent's agent works on
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(agent.flush(DEADLINE)).unwrap();
    assert!(agent.stats().accepted > 0);
    ExitCode::from(u8::from(status != 0))
}

fn child(case: &str, agent: AgentGuard, url: &str) {
    let began = Instant::now();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    drop(agent.start_transaction("in the child", "job"));
    match case {
        "flush" => {
            runtime().block_on(agent.flush(TIMEOUT)).unwrap_err();
            runtime().block_on(agent.flush(TIMEOUT)).unwrap_err();
            // no runtime at all
            let thread = std::thread::spawn({
                let flush = agent.flush(TIMEOUT);
                move || runtime_free(flush)
            });
            thread.join().unwrap().unwrap_err();
        }
        "shutdown" => drop(runtime().block_on(agent.shutdown(TIMEOUT)).unwrap_err()),
        "drop" => drop(agent),
        "drop-clone" => {
            let clone = agent.clone();
            drop(agent);
            drop(clone);
        }
        "record" => {
            for _ in 0..50_000 {
                drop(agent.start_transaction("in the child", "job"));
            }
            let stats = agent.stats();
            assert_eq!(stats.recorded, stats.accepted + stats.rejected + stats.dropped.total() + stats.waiting);
            assert!(stats.waiting < 20_000, "{stats}");
        }
        "panic" => {
            std::panic::catch_unwind(|| panic!("in the child")).unwrap_err();
            runtime().block_on(agent.flush(TIMEOUT)).unwrap_err();
        }
        "fresh" => {
            let own = Agent::builder().env_vars(EnvVars::empty()).service_name("forked").server_url(url);
            let own = own.build().unwrap();
            drop(own.start_transaction("in the child", "job"));
            runtime().block_on(own.flush(DEADLINE)).unwrap();
            assert!(own.stats().accepted > 0);
            std::mem::forget(agent);
        }
        other => panic!("no such case: {other}"),
    }
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
}

/// Waits for a future by polling.
fn runtime_free<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(result) => return result,
            std::task::Poll::Pending => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
