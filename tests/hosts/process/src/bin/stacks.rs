//! Checks the stack of an error in a service whose debug information is line tables only.
//!
//! Such debug information contains the names of functions without their paths. This test depends on the profile of this
//! workspace.
//!
//! Exits with 0 if the stack and the culprit have the full paths.

use std::process::ExitCode;

use tower_apm::{
    Agent, EnvVars,
    devserver::{DevServer, Kind, Query},
};

mod orders {
    #[inline(never)]
    pub fn settle() {
        tower_apm::Transaction::current().capture_error(&std::io::Error::other("no balance"));
    }
}

fn main() -> ExitCode {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let agent = Agent::builder().env_vars(EnvVars::empty()).server_url(server.url()).install().unwrap();
    orders::settle();
    drop(agent); // delivers the error
    let errors = server.store().query(&Query::new().kind(Kind::Error)).events;
    let [error] = &errors[..] else { panic!("{} errors", errors.len()) };
    let text = |path: &str| error.body().pointer(path).and_then(|value| value.as_str().map(str::to_owned));
    let found = [text("/culprit"), text("/exception/stacktrace/0/function"), text("/exception/stacktrace/1/function")];
    println!("{found:?}");
    let expected = ["stacks::orders::settle", "stacks::orders::settle", "stacks::main"];
    ExitCode::from(u8::from(found != expected.map(|name| Some(name.to_owned()))))
}
