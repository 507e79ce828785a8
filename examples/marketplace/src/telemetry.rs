//! Sets up the agent of the process, and a development server. Each module's own hooks are in its `mod.rs`.

use std::time::Duration;

use tower_apm::{
    Agent, AgentGuard, BuildError, CaptureBody,
    devserver::{DevServer, DevServerError},
};

use crate::{
    config::{VariableError, Variables},
    health,
};

/// The default of `APM_DEVSERVER_ADDR`. It is also the default address of an APM Server in all Elastic agents.
const DEVSERVER_ADDR: &str = "127.0.0.1:8200";

/// How long the delivery of the last events can take.
const GRACE: Duration = Duration::from_secs(5);

/// The installed agent, and the development server that receives its events if no APM Server is configured.
#[derive(Debug)]
#[must_use = "dropping the value ends the telemetry: keep it until the end of `main`"]
pub struct Telemetry {
    // In this order: the agent delivers its last events before the server stops.
    agent: AgentGuard,
    devserver: Option<DevServer>,
}

/// The reason why the telemetry does not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error(
        "the development server for APM does not start. If another marketplace process or an APM Server uses its address, \
         send the events there: set ELASTIC_APM_SERVER_URL to its URL, such as http://127.0.0.1:8200. Otherwise set \
         APM_DEVSERVER_ADDR to another address (127.0.0.1:0 takes a free port)"
    )]
    DevServer(#[from] DevServerError),
    #[error(transparent)]
    Variable(#[from] VariableError),
    #[error("the APM agent does not start")]
    Agent(#[from] BuildError),
}

/// Sets up logs, traces and errors for the process. The options are in the variables `ELASTIC_APM_*` and `RUST_LOG`.
///
/// Unless `ELASTIC_APM_SERVER_URL` is set, events go to a development server in this process, on `APM_DEVSERVER_ADDR`.
/// The API key and the secret token can be in files: `ELASTIC_APM_API_KEY_FILE`, `ELASTIC_APM_SECRET_TOKEN_FILE`.
/// `variable` reads these variables: `|name| std::env::var(name).ok()`. An empty variable counts as not set.
pub fn install(service_name: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Telemetry, TelemetryError> {
    let credentials = Credentials::read(Variables::new(&variable))?;
    let devserver = devserver_addr(&variable).map(DevServer::bind).transpose()?;
    let mut agent = Agent::builder()
        .service_name(service_name)
        .service_version(env!("CARGO_PKG_VERSION"))
        // Support can read the bodies. Passwords and similar fields are redacted (`sanitize_field_names`).
        .capture_body(CaptureBody::All)
        // Health checks, every few seconds, are not recorded.
        .transaction_ignore_urls([health::PATH])
        // Only warnings of the database driver: each statement is a span already.
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

/// Returns the address of the development server of a process with these variables, or `None` if its events go to an APM
/// Server.
fn devserver_addr(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    match set("ELASTIC_APM_SERVER_URL") {
        Some(_) => None,
        None => Some(set("APM_DEVSERVER_ADDR").unwrap_or_else(|| DEVSERVER_ADDR.to_owned())),
    }
}

/// Returns a line with the place where the events of a process with these variables are shown.
pub fn where_to_look(variable: impl Fn(&str) -> Option<String>) -> String {
    match devserver_addr(variable) {
        None => "its events are in the Kibana of the APM Server that it sends to".to_owned(),
        Some(addr) if addr.ends_with(":0") => {
            "the marketplace has printed at its start where its events are".to_owned()
        }
        Some(addr) => links(&format!("http://{addr}")),
    }
}

fn links(url: &str) -> String {
    format!("its events: {url}/ui for people, {url}/api/events as JSON")
}

impl Telemetry {
    /// Returns a line with the place where the events of this process are shown.
    pub fn where_to_look(&self) -> String {
        match &self.devserver {
            Some(devserver) => links(&devserver.url()),
            None => "its events go to ELASTIC_APM_SERVER_URL".to_owned(),
        }
    }

    /// Delivers the last events and stops.
    pub async fn shutdown(self) {
        // The agent logs events that it could not deliver.
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
    fn development_server_starts_unless_an_apm_server_is_set() {
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
    fn used_address_is_an_error_that_names_the_variables() {
        let other = DevServer::bind("127.0.0.1:0").unwrap();
        let addr = other.addr().to_string();
        let error = install("marketplace", |name| (name == "APM_DEVSERVER_ADDR").then(|| addr.clone())).unwrap_err();
        let (text, cause) = (error.to_string(), error.source().unwrap().to_string());
        assert!(text.contains("APM_DEVSERVER_ADDR") && text.contains("ELASTIC_APM_SERVER_URL"), "{text}");
        assert!(cause.contains(&addr), "{cause}");
    }
}
