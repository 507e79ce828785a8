//! Everything that this service does to be observed is set up here; what each module tells is in its own `mod.rs`.

use std::time::Duration;

use tower_apm::{
    Agent, AgentGuard, BuildError, CaptureBody,
    devserver::{DevServer, DevServerError},
};

use crate::{
    config::{VariableError, Variables},
    health,
};

/// Where the development server listens, unless `APM_DEVSERVER_ADDR` says otherwise: where every Elastic agent looks first.
const DEVSERVER_ADDR: &str = "127.0.0.1:8200";

/// How long the last events may take to be delivered.
const GRACE: Duration = Duration::from_secs(5);

/// The installed agent, and the development server that it sends to when no APM Server is named.
#[derive(Debug)]
#[must_use = "dropping it ends the telemetry: keep it to the end of `main`"]
pub struct Telemetry {
    // In this order: the agent delivers what waits before the server goes.
    agent: AgentGuard,
    devserver: Option<DevServer>,
}

/// Why nothing can be observed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error(
        "the development server for APM does not start. If something else uses its address, set APM_DEVSERVER_ADDR to \
         another one (127.0.0.1:0 takes a free port); if that is an APM Server, set ELASTIC_APM_SERVER_URL to its URL, \
         and no development server is needed"
    )]
    DevServer(#[from] DevServerError),
    #[error(transparent)]
    Variable(#[from] VariableError),
    #[error("the APM agent does not start")]
    Agent(#[from] BuildError),
}

/// Sets up logs, traces and errors for the whole process, by `ELASTIC_APM_*` and `RUST_LOG`.
///
/// Unless `ELASTIC_APM_SERVER_URL` is set, events go to a development server in this process, on `APM_DEVSERVER_ADDR`.
/// The API key and the secret token can be in files: `ELASTIC_APM_API_KEY_FILE`, `ELASTIC_APM_SECRET_TOKEN_FILE`.
/// `variable` reads these variables: `|name| std::env::var(name).ok()`. A variable that is empty counts as not set.
pub fn install(service_name: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Telemetry, TelemetryError> {
    let credentials = Credentials::read(Variables::new(&variable))?;
    let devserver = devserver_addr(&variable).map(DevServer::bind).transpose()?;
    let mut agent = Agent::builder()
        .service_name(service_name)
        .service_version(env!("CARGO_PKG_VERSION"))
        // So that support sees what was asked for; passwords and the like never leave (`sanitize_field_names`).
        .capture_body(CaptureBody::All)
        // A health check every few seconds is not recorded.
        .transaction_ignore_urls([health::PATH])
        // Of the database driver only warnings: each statement is a span already.
        .log_filter("info,sea_orm_migration=warn,sqlx=warn");
    if let Some(key) = credentials.api_key {
        agent = agent.api_key(key);
    }
    if let Some(token) = credentials.secret_token {
        agent = agent.secret_token(token);
    }
    if let Some(devserver) = &devserver {
        agent = agent.server_url(devserver.url());
    }
    Ok(Telemetry { agent: agent.install()?, devserver })
}

/// The credentials that are in files. The agent itself reads those in variables.
struct Credentials {
    api_key: Option<String>,
    secret_token: Option<String>,
}

impl Credentials {
    fn read(variables: Variables<'_>) -> Result<Self, VariableError> {
        let file = |name| {
            variables.get(name)?; // refuses both at once
            variables.file(name)
        };
        Ok(Self { api_key: file("ELASTIC_APM_API_KEY")?, secret_token: file("ELASTIC_APM_SECRET_TOKEN")? })
    }
}

/// Where a marketplace with these variables listens for its own events; nothing when they go to an APM Server.
fn devserver_addr(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    match set("ELASTIC_APM_SERVER_URL") {
        Some(_) => None,
        None => Some(set("APM_DEVSERVER_ADDR").unwrap_or_else(|| DEVSERVER_ADDR.to_owned())),
    }
}

/// A line that tells where the events of a marketplace with these variables are to be seen.
pub fn where_to_look(variable: impl Fn(&str) -> Option<String>) -> String {
    match devserver_addr(variable) {
        None => "its events are in the Kibana of the APM Server that it sends to".to_owned(),
        Some(addr) if addr.ends_with(":0") => "its events are where it said at its start".to_owned(),
        Some(addr) => links(&format!("http://{addr}")),
    }
}

fn links(url: &str) -> String {
    format!("its events: {url}/ui for people, {url}/api/events as JSON")
}

impl Telemetry {
    /// A line that tells where the events of this process are to be seen.
    pub fn where_to_look(&self) -> String {
        match &self.devserver {
            Some(devserver) => links(&devserver.url()),
            None => "its events go to ELASTIC_APM_SERVER_URL".to_owned(),
        }
    }

    /// Delivers what waits, and stops.
    pub async fn shutdown(self) {
        // What could not be delivered the agent has logged.
        let _ = self.agent.shutdown(GRACE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn variables(set: &[(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> + use<> {
        let set = set.to_vec();
        move |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn events_stay_here_unless_a_server_is_named() {
        for (set, addr) in [
            (&[][..], Some("127.0.0.1:8200")),
            (&[("APM_DEVSERVER_ADDR", "127.0.0.1:9000"), ("ELASTIC_APM_SERVER_URL", "")], Some("127.0.0.1:9000")),
            (&[("APM_DEVSERVER_ADDR", "127.0.0.1:9000"), ("ELASTIC_APM_SERVER_URL", "https://apm.example")], None),
        ] {
            assert_eq!(devserver_addr(variables(set)).as_deref(), addr, "{set:?}");
        }
        assert!(where_to_look(variables(&[])).contains("http://127.0.0.1:8200/ui"));
    }

    #[test]
    fn credentials_are_read_from_files() {
        let file = std::env::temp_dir().join(format!("marketplace-credential-{}", uuid::Uuid::new_v4()));
        std::fs::write(&file, "hunter2\n").unwrap();
        let path = file.to_str().unwrap().to_owned();
        for (name, has_key) in [("ELASTIC_APM_API_KEY_FILE", true), ("ELASTIC_APM_SECRET_TOKEN_FILE", false)] {
            let variable = |asked: &str| (asked == name).then(|| path.clone());
            let Credentials { api_key, secret_token } = Credentials::read(Variables::new(&variable)).unwrap();
            let (read, other) = if has_key { (api_key, secret_token) } else { (secret_token, api_key) };
            assert_eq!((read.as_deref(), other), (Some("hunter2"), None));
            let missing = |asked: &str| (asked == name).then(|| "/no/such/file".to_owned());
            let error = install("marketplace", missing).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("/no/such/file"), "{error}");
        }
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn an_address_that_is_taken_says_what_to_do() {
        let other = DevServer::bind("127.0.0.1:0").unwrap();
        let addr = other.addr().to_string();
        let error = install("marketplace", |name| (name == "APM_DEVSERVER_ADDR").then(|| addr.clone())).unwrap_err();
        let (told, cause) = (error.to_string(), error.source().unwrap().to_string());
        assert!(told.contains("APM_DEVSERVER_ADDR") && told.contains("ELASTIC_APM_SERVER_URL"), "{told}");
        assert!(cause.contains(&addr), "{cause}");
    }
}
