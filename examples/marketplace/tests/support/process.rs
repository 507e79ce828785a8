//! One process of the program `marketplace`.

use std::{
    fs::{self, File, OpenOptions},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A process that can be killed and started again on the same address. It is killed when the value is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    arguments: Vec<&'static str>,
    variables: Vec<(&'static str, String)>,
    log: PathBuf,
    child: Child,
    /// When the process was started last.
    pub(crate) started: Instant,
    /// The length of the log at that time.
    log_start: usize,
}

impl Process {
    /// Starts `marketplace` with these arguments and only these variables. Its output goes to `<dir>/<name>.log`.
    pub(crate) fn start(
        name: &str,
        arguments: &[&'static str],
        mut variables: Vec<(&'static str, String)>,
        dir: &Path,
    ) -> Self {
        let addr = free_address();
        variables.push(("MARKETPLACE_ADDR", addr.to_string()));
        let log = dir.join(format!("{name}.log"));
        File::create(&log).expect("a log file can be created");
        let (name, arguments, started) = (name.to_owned(), arguments.to_vec(), Instant::now());
        let child = spawn(&arguments, &variables, &log);
        Self { name, addr, arguments, variables, log, child, started, log_start: 0 }
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill(); // fails if the process has ended
        self.child.wait().expect("the process is a child");
    }

    /// Suspends the process with SIGSTOP.
    pub(crate) fn suspend(&self) {
        self.signal("-STOP");
    }

    /// Continues a suspended process.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("`kill` runs");
        assert!(sent.success(), "{} does not run", self.name);
    }

    /// Restarts the process after it was killed or has ended.
    pub(crate) fn restart(&mut self) {
        self.kill();
        (self.started, self.log_start) = (Instant::now(), self.read_log().len());
        self.child = spawn(&self.arguments, &self.variables, &self.log);
    }

    /// Returns whether the process has ended without being killed.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the process is a child").is_some()
    }

    /// Returns whether the process accepts connections.
    pub(crate) fn is_listening(&self) -> bool {
        TcpStream::connect_timeout(&self.addr, Duration::from_secs(1)).is_ok()
    }

    /// Returns whether the process has printed its address since it was started last. It does this at the end of its start.
    pub(crate) fn has_printed_address(&self) -> bool {
        let log = self.read_log();
        let output = String::from_utf8_lossy(log.get(self.log_start..).unwrap_or_default());
        output.contains(&format!("http://{}", self.addr))
    }

    fn read_log(&self) -> Vec<u8> {
        fs::read(&self.log).unwrap_or_default()
    }

    /// Returns the last lines of the process's output.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        let log = self.read_log();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().rev().take(lines).collect();
        lines.into_iter().rev().fold(String::new(), |tail, line| format!("{tail}    {line}\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(arguments: &[&str], variables: &[(&str, String)], log: &Path) -> Child {
    let output = OpenOptions::new().append(true).open(log).expect("the log file exists");
    Command::new(env!("CARGO_BIN_EXE_marketplace"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("the log file is open"))
        .stderr(output)
        .spawn()
        .expect("`marketplace` starts")
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("a listener has an address")
}
