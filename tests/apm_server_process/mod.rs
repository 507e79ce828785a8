//! The program of `tests/apm-server`, the real server's decoder, as a child process.

use std::{
    env,
    process::{Child, Command, Stdio},
};

/// Starts the program with piped input and output. The process is killed when the handle is dropped. Returns `None` and
/// prints a line if `APM_SERVER_DECODER` is not set.
pub(crate) fn start(arguments: &[&str]) -> Option<ApmServer> {
    let Some(program) = env::var_os("APM_SERVER_DECODER") else {
        println!("APM_SERVER_DECODER is not set: the real server's decoder is not tested");
        return None;
    };
    let child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("APM_SERVER_DECODER={}: {error}", program.display()));
    Some(ApmServer(child))
}

/// A running process.
pub(crate) struct ApmServer(pub(crate) Child);

impl Drop for ApmServer {
    fn drop(&mut self) {
        // the process may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
