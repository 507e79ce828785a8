//! Central configuration: what `/api/agent-config` is told, `/config/v1/agents` hands on to agents.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::to_bytes,
    extract::{ConnectInfo, Query as Parameters, Request, State},
    response::Response,
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, ETAG, IF_NONE_MATCH},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{connection::Peer, reply, script::Reply, server::Shared};
use crate::config::{Applied, LiveConfig};

/// The tag of the empty configuration.
const EMPTY: &str = "-";
/// For both ways of asking.
const MAX_BODY: usize = 64 * 1024;
const MAX_ENTRIES: usize = 1000;
/// Of all names and values together.
const MAX_BYTES: usize = 1024 * 1024;
const NOTHING: &str =
    "nothing is set for exactly the services of service.name and service.environment (one that is left out is all)";

/// Which services a configuration is for; None: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
}

impl Service {
    /// An empty name or environment stands for all, as in Kibana.
    pub(crate) fn new(name: Option<String>, environment: Option<String>) -> Self {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self { name: some(name), environment: some(environment) }
    }
}

type Settings = BTreeMap<String, String>;

/// What is set for which services. Cheap to clone; every clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentConfigs {
    entries: Arc<Mutex<BTreeMap<Service, Settings>>>,
}

impl AgentConfigs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Service, Settings>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what was set for exactly these services. False: there is no room for more.
    pub(crate) fn set(&self, service: Service, settings: Settings) -> bool {
        let mut entries = self.lock();
        let others = entries.iter().filter(|(other, _)| **other != service);
        let bytes =
            others.map(|(service, settings)| size(service, settings)).sum::<usize>() + size(&service, &settings);
        let room = (entries.len() < MAX_ENTRIES || entries.contains_key(&service)) && bytes <= MAX_BYTES;
        if room {
            entries.insert(service, settings);
        }
        room
    }

    fn remove(&self, service: &Service) -> bool {
        self.lock().remove(service).is_some()
    }

    /// The entry that fits best: the name weighs more than the environment.
    fn find(&self, name: &str, environment: Option<&str>) -> Settings {
        let entries = self.lock();
        let (name, environment) = (Some(name.to_owned()), environment.map(str::to_owned));
        let tries = [
            Service::new(name.clone(), environment.clone()),
            Service::new(name, None),
            Service::new(None, environment),
            Service::default(),
        ];
        tries.iter().find_map(|service| entries.get(service)).cloned().unwrap_or_default()
    }

    fn list(&self) -> Vec<Value> {
        let entry = |(service, settings): (&Service, &Settings)| json!({ "service": service, "settings": settings, "etag": tag(settings) });
        self.lock().iter().map(entry).collect()
    }
}

fn size(Service { name, environment }: &Service, settings: &Settings) -> usize {
    let names = [name, environment].into_iter().flatten().map(String::len).sum::<usize>();
    names + settings.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

/// The same for the same settings, whenever they were set.
fn tag(settings: &Settings) -> String {
    if settings.is_empty() {
        return EMPTY.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    settings.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// `GET` and `POST /config/v1/agents`, for agents.
pub(crate) async fn agents(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    if let Err(message) = shared.credentials.check(&headers) {
        return failed(&headers, StatusCode::UNAUTHORIZED, message);
    }
    let scripted = shared.agent_config_script.next();
    if !scripted.delay.is_zero() {
        tokio::time::sleep(scripted.delay).await;
    }
    match scripted.reply {
        Reply::Account => {}
        Reply::Failure { status, message } | Reply::Refusal { status, message } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return failed(&headers, status, message);
        }
        Reply::Cut => {
            peer.cut();
            return reply::empty(StatusCode::OK);
        }
    }
    let (name, environment) = match asked(request).await {
        Ok(asked) => asked,
        Err((status, message)) => return failed(&headers, status, &message),
    };
    let settings = shared.agent_configs.find(&name, environment.as_deref());
    let tag = tag(&settings);
    let sent = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut response = if sent.replace('"', "") == tag {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        reply::body(&headers, StatusCode::OK, &settings)
    };
    if let Ok(tag) = HeaderValue::try_from(format!("\"{tag}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Etag"));
    caching(response, shared.agent_config_max_age)
}

/// Whose configuration is asked for.
async fn asked(request: Request) -> Result<(String, Option<String>), (StatusCode, String)> {
    let bad = |message: &str| (StatusCode::BAD_REQUEST, message.to_owned());
    let service = match *request.method() {
        Method::GET => {
            let Parameters(parameters) = Parameters::<BTreeMap<String, String>>::try_from_uri(request.uri())
                .map_err(|rejection| bad(&rejection.body_text()))?;
            let of = |key: &str| parameters.get(key).cloned();
            Service::new(of("service.name"), of("service.environment"))
        }
        Method::POST => {
            #[derive(Deserialize)]
            struct Body {
                service: Service,
            }
            let body = to_bytes(request.into_body(), MAX_BODY).await.map_err(|error| bad(&error.to_string()))?;
            let Body { service: Service { name, environment } } =
                serde_json::from_slice(&body).map_err(|error| bad(&error.to_string()))?;
            Service::new(name, environment)
        }
        ref other => return Err((StatusCode::METHOD_NOT_ALLOWED, format!("method not supported: {other}"))),
    };
    let name = service.name.ok_or_else(|| bad("service.name is required"))?;
    Ok((name, service.environment))
}

fn failed(headers: &HeaderMap, status: StatusCode, message: &str) -> Response {
    caching(reply::error(headers, status, message), Duration::from_secs(300))
}

fn caching(mut response: Response, max_age: Duration) -> Response {
    let value = format!("max-age={}, must-revalidate", max_age.as_secs());
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}

/// `GET /api/agent-config`, for people and tests.
pub(crate) async fn list(State(shared): State<Shared>) -> Response {
    reply::json(StatusCode::OK, &json!({ "configurations": shared.agent_configs.list() }))
}

/// `PUT /api/agent-config`: the body that Kibana's own interface takes.
pub(crate) async fn put(State(shared): State<Shared>, request: Request) -> Response {
    let read = match to_bytes(request.into_body(), MAX_BODY).await {
        Ok(body) => read(&body),
        Err(error) => Err(error.to_string()),
    };
    let (service, settings) = match read {
        Ok(read) => read,
        Err(message) => return reply::json(StatusCode::BAD_REQUEST, &json!({ "error": message })),
    };
    let mut entry = json!({ "service": service, "settings": settings, "etag": tag(&settings) });
    let warnings = warnings(&settings);
    if !warnings.is_empty() {
        entry["warnings"] = warnings.into();
    }
    match shared.agent_configs.set(service, settings) {
        true => reply::json(StatusCode::OK, &entry),
        false => {
            let message =
                format!("at most {MAX_ENTRIES} configurations and {MAX_BYTES} bytes are stored: delete one first");
            reply::json(StatusCode::INSUFFICIENT_STORAGE, &json!({ "error": message }))
        }
    }
}

/// What an agent of this crate would not take. It is handed on all the same: other agents have other options.
fn warnings(settings: &Settings) -> Vec<String> {
    let Applied { warnings, unknown } = LiveConfig::default().apply(settings.clone());
    let not_allowed = warnings
        .iter()
        .map(|warning| format!("{}={:?} is not allowed: it is {}", warning.name, warning.value, warning.allowed));
    let unknown = unknown.iter().map(|name| format!("{name} is nothing that tower-apm lets be set here"));
    not_allowed.chain(unknown).collect()
}

fn read(body: &[u8]) -> Result<(Service, Settings), String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[serde(default)]
        service: Service,
        settings: BTreeMap<String, Value>,
    }
    let shape = r#"the body must be like {"service": {"name": "shop", "environment": "production"}, "settings": {"transaction_sample_rate": "0.2"}}"#;
    let Body { service, settings } = serde_json::from_slice(body).map_err(|error| format!("{error}; {shape}"))?;
    let text = |(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(_) | Value::Bool(_) => Ok((name, value.to_string())),
        other => Err(format!("settings.{name} is {other}: it must be text, a number or a boolean")),
    };
    let settings = settings.into_iter().map(text).collect::<Result<_, _>>()?;
    Ok((Service::new(service.name, service.environment), settings))
}

/// `DELETE /api/agent-config?service.name=…&service.environment=…`: exactly that one.
pub(crate) async fn delete(State(shared): State<Shared>, request: Request) -> Response {
    let parameters = match Parameters::<BTreeMap<String, String>>::try_from_uri(request.uri()) {
        Ok(Parameters(parameters)) => parameters,
        Err(rejection) => return reply::json(StatusCode::BAD_REQUEST, &json!({ "error": rejection.body_text() })),
    };
    if let Some(other) = parameters.keys().find(|key| !["service.name", "service.environment"].contains(&key.as_str()))
    {
        let message = format!("{other}: unknown parameter; known are service.name, service.environment");
        return reply::json(StatusCode::BAD_REQUEST, &json!({ "error": message }));
    }
    let of = |key: &str| parameters.get(key).cloned();
    match shared.agent_configs.remove(&Service::new(of("service.name"), of("service.environment"))) {
        true => reply::empty(StatusCode::NO_CONTENT),
        false => reply::json(StatusCode::NOT_FOUND, &json!({ "error": NOTHING })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(value: &str) -> Settings {
        Settings::from([("capture_body".to_owned(), value.to_owned())])
    }

    #[test]
    fn service_name_takes_precedence_over_environment() {
        let configs = AgentConfigs::default();
        let service = |name: &str, environment: &str| Service::new(Some(name.into()), Some(environment.into()));
        for (name, environment) in [("", ""), ("", "prod"), ("shop", ""), ("shop", "prod")] {
            assert!(configs.set(service(name, environment), settings(&format!("{name}/{environment}"))));
        }
        let found = |name, environment| configs.find(name, environment)["capture_body"].clone();
        assert_eq!(found("shop", Some("prod")), "shop/prod");
        assert_eq!(found("shop", Some("test")), "shop/");
        assert_eq!(found("shop", None), "shop/");
        assert_eq!(found("bank", Some("prod")), "/prod");
        assert_eq!(found("bank", None), "/");
        assert!(configs.remove(&service("shop", "")) && !configs.remove(&service("shop", "")));
        assert_eq!(found("shop", None), "/");
    }

    #[test]
    fn etag_differs_between_settings() {
        assert_eq!(tag(&Settings::new()), "-");
        assert_eq!(tag(&settings("all")), tag(&settings("all")));
        assert_ne!(tag(&settings("all")), tag(&settings("off")));
    }

    #[test]
    fn invalid_body_error_contains_the_expected_form() {
        for (body, wants) in [
            ("", "settings"),
            ("{}", "missing field `settings`"),
            (r#"{"settings":{"a":[]}}"#, "settings.a is []"),
            (r#"{"settings":{},"name":"shop"}"#, "unknown field `name`"),
            (r#"{"service":{"nam":"shop"},"settings":{}}"#, "unknown field `nam`"),
        ] {
            let error = read(body.as_bytes()).unwrap_err();
            assert!(error.contains(wants), "{body}: {error}");
        }
        let (service, settings) = read(br#"{"settings":{"a":1,"b":true,"c":"x"}}"#).unwrap();
        assert_eq!(service, Service::default());
        assert_eq!(settings.into_values().collect::<Vec<_>>(), ["1", "true", "x"]);
    }
}
