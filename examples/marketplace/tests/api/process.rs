//! Starts the program as a process.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A process that is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// The exit status and the output of a process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) succeeded: bool,
    pub(crate) output: String,
    pub(crate) error: String,
}

impl Process {
    /// Starts the program with these arguments and variables. It listens on free ports unless a variable sets a port.
    pub(crate) fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_marketplace"));
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"));
        command
            .env("MARKETPLACE_ADDR", "127.0.0.1:0")
            .env("APM_DEVSERVER_ADDR", "127.0.0.1:0")
            .env("ELASTIC_APM_CLOUD_PROVIDER", "none")
            .env("ELASTIC_APM_API_REQUEST_TIME", "50ms")
            .envs(variables.iter().copied())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        // Reads to the end, because a full pipe would block the process.
        thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        Self { child, lines }
    }

    /// Waits until the API, the history or the chain listens. Returns its address, such as `127.0.0.1:3000`.
    pub(crate) fn address(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).expect("the process prints its address");
            if let Some(("marketplace" | "chain", address)) = line.split_once(": http://") {
                return address.trim_end_matches('/').to_owned();
            }
        }
    }

    /// Waits until the process ends. Returns its output.
    pub(crate) fn output(mut self) -> Ended {
        let mut output = String::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => output = output + &line + "\n",
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the process does not end: {output}"),
            }
        }
        let mut error = String::new();
        let mut stderr = self.child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut error).expect("errors are text");
        Ended { succeeded: self.child.wait().expect("the process ends").success(), output, error }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
