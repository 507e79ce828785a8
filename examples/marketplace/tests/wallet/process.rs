//! Starts the program as a process.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use tower_apm::devserver::DevServer;

use crate::world::TIMEOUT;

/// A process that is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts the program, which sends its events to `apm`.
    pub(crate) fn start(apm: &DevServer, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_marketplace"));
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"));
        command
            .env("MARKETPLACE_ADDR", "127.0.0.1:0")
            .env("ELASTIC_APM_SERVER_URL", apm.url())
            .env("ELASTIC_APM_CLOUD_PROVIDER", "none")
            .env("ELASTIC_APM_API_REQUEST_TIME", "50ms")
            .env("ELASTIC_APM_SPAN_COMPRESSION_ENABLED", "false")
            .envs(variables.iter().copied())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // reads to the end, because a full pipe would block the process
        thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        Self { child, lines }
    }

    /// Waits until the process listens. Returns its URL.
    pub(crate) fn url(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(TIMEOUT).unwrap();
            if let Some(address) = line.strip_prefix("marketplace: http://") {
                return format!("http://{address}");
            }
        }
    }

    /// Waits until the process ends. Returns whether its exit code is 0.
    pub(crate) fn wait(mut self) -> bool {
        // the output ends with the process
        loop {
            match self.lines.recv_timeout(TIMEOUT) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the process does not end"),
            }
        }
        self.child.wait().unwrap().success()
    }

    /// Sends SIGTERM. Returns whether the process ends with exit code 0.
    pub(crate) fn terminate(self) -> bool {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
