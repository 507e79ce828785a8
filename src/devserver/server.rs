//! The server itself: a thread, a port, and the handle that ends both.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    middleware,
    response::Response,
    routing::{MethodRouter, any, get},
};
use http::StatusCode;
use tokio::{net::TcpListener, runtime, sync::oneshot};

use super::{
    agent_config::{self, AgentConfigs, Service},
    api,
    auth::Credentials,
    builder::DevServerBuilder,
    connection::Peer,
    error::DevServerError,
    intake,
    memory::Memory,
    origin::{self, Hosts},
    otlp::{self, Signal},
    page, reply,
    requests::{self, Requests},
    script::{Answer, Script},
    serve::serve,
    server_info,
    store::Store,
    work::{WORKERS, Workers},
};

/// How long a server that stops waits for work that is in progress.
const LAST_WORK: Duration = Duration::from_secs(1);
/// Room for an exception with as many causes as the rules allow.
const STACK_SIZE: usize = 8 * 1024 * 1024;

/// A small APM Server in this process. It stops, and frees its port, when the handle is dropped.
///
/// The server runs on its own thread, and processes large requests on up to two worker threads. The limits of memory, work,
/// connections and answers, and their defaults, are listed in the [documentation of the module](crate::devserver#limits).
///
/// ```
/// use tower_apm::devserver::{DevServer, Query};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = DevServer::bind("127.0.0.1:0")?;
/// println!("send to {0}, look at {0}/ui", server.url());
/// assert_eq!(server.store().query(&Query::new()).total, 0);
/// server.shutdown();
/// # Ok(())
/// # }
/// ```
#[must_use = "the server stops when its handle is dropped"]
pub struct DevServer {
    addr: SocketAddr,
    store: Store,
    script: Arc<Script>,
    agent_configs: AgentConfigs,
    agent_config_script: Arc<Script>,
    requests: Requests,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What every request of the server sees.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) script: Arc<Script>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) agent_configs: AgentConfigs,
    pub(crate) agent_config_max_age: Duration,
    pub(crate) agent_config_script: Arc<Script>,
    pub(crate) requests: Requests,
    /// None: it is not told.
    pub(crate) version: Option<Arc<str>>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) workers: Workers,
}

impl DevServer {
    /// Listens on `HOST:PORT` with the default options, see [`DevServerBuilder::bind`].
    ///
    /// # Errors
    /// As [`DevServerBuilder::bind`].
    pub fn bind(address: impl AsRef<str>) -> Result<Self, DevServerError> {
        Self::builder().bind(address)
    }

    /// Options first.
    pub fn builder() -> DevServerBuilder {
        DevServerBuilder::default()
    }

    pub(crate) fn start(
        listener: std::net::TcpListener,
        DevServerBuilder { credentials, limits, connections, memory, hosts, agent_config_max_age, version }: DevServerBuilder,
    ) -> Result<Self, DevServerError> {
        let addr = listener.local_addr().map_err(DevServerError::Start)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(WORKERS)
            .thread_name("apm-devserver-worker")
            .thread_stack_size(STACK_SIZE)
            .build()
            .map_err(DevServerError::Start)?;
        let (store, script) = (Store::new(limits), Arc::<Script>::default());
        let agent_configs = AgentConfigs::default();
        let (agent_config_script, requests) = (Arc::<Script>::default(), Requests::default());
        let shared = Shared {
            store: store.clone(),
            script: script.clone(),
            credentials: Arc::new(credentials),
            agent_configs: agent_configs.clone(),
            agent_config_max_age,
            agent_config_script: agent_config_script.clone(),
            requests: requests.clone(),
            version: (!version.is_empty()).then(|| version.into()),
            hosts: Arc::new(Hosts { remote: !addr.ip().to_canonical().is_loopback(), ..hosts }),
            workers: Workers::default(),
        };
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener).map_err(DevServerError::Start)?
        };
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = serve(listener, router(shared), connections, Memory::new(memory)) => {}
                }
            });
            runtime.shutdown_timeout(LAST_WORK);
        };
        let thread = thread::Builder::new()
            .name("apm-devserver".to_owned())
            .stack_size(STACK_SIZE)
            .spawn(run)
            .map_err(DevServerError::Start)?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Self { addr, store, script, agent_configs, agent_config_script, requests, stop, thread })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns `http://HOST:PORT`, for the `server_url` of an agent or the endpoint of an OTLP exporter. If the server listens on
    /// all interfaces, the host is the loopback address.
    #[must_use]
    pub fn url(&self) -> String {
        let mut addr = self.addr;
        if addr.ip().is_unspecified() {
            addr.set_ip(if addr.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
        }
        format!("http://{addr}")
    }

    /// What it has received.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Sets the central configuration of a service in all its environments, as text by the names of options; an empty
    /// name stands for all services. Agents take it over when they ask the next time. The same as
    /// `PUT /api/agent-config`, which can name an environment too.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = tower_apm::devserver::DevServer::bind("127.0.0.1:0")?;
    /// server.set_agent_config("shop", [("transaction_sample_rate", "0.2")]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_agent_config(
        &self,
        service_name: impl Into<String>,
        settings: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) {
        let settings = settings.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.agent_configs.set(Service::new(Some(service_name.into()), None), settings);
    }

    /// Lays down how the next requests of intake or OTLP are answered, one answer for each, after those that are laid down
    /// already. Then all is normal again. Requests without valid credentials, with a wrong method or a wrong content
    /// type take no answer.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.extend(answers);
    }

    /// How many of the laid down answers still wait for a request.
    #[must_use]
    pub fn scripted(&self) -> usize {
        self.script.len()
    }

    /// Sets the script for requests for central configuration, like [`script`](Self::script). Effects on events are
    /// ignored.
    ///
    /// ```
    /// use tower_apm::devserver::{Answer, DevServer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = DevServer::bind("127.0.0.1:0")?;
    /// server.script_agent_config([Answer::unavailable(), Answer::status(404), Answer::cut()]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn script_agent_config(&self, answers: impl IntoIterator<Item = Answer>) {
        self.agent_config_script.extend(answers);
    }

    /// The last 200 requests, without their bodies, the oldest first: to one path, or for an empty one to any. Those of
    /// people (`/ui`, `/api`) are not among them.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = tower_apm::devserver::DevServer::bind("127.0.0.1:0")?;
    /// assert!(server.requests("/config/v1/agents").is_empty(), "no agent has asked yet");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn requests(&self, path: &str) -> Vec<http::Request<()>> {
        if path.is_empty() { self.requests.all() } else { self.requests.to(path) }
    }

    /// Forgets the events, the requests and the answers that are laid down.
    pub fn clear(&self) {
        self.agent_config_script.clear();
        self.requests.clear();
        self.script.clear();
        self.store.clear();
    }

    /// Stops at once: open requests are cut, the port is free when this returns. The same as dropping the handle.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for DevServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for DevServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevServer").field("addr", &self.addr).finish_non_exhaustive()
    }
}

fn router(shared: Shared) -> Router {
    let api = Router::new()
        .route("/api/events", get(api::events).delete(api::clear))
        .route("/api/stats", get(api::stats))
        .route("/api/agent-config", get(agent_config::list).put(agent_config::put).delete(agent_config::delete))
        .route_layer(middleware::from_fn_with_state(shared.clone(), api::authorize));
    Router::new()
        .route("/intake/v2/events", any(intake::events))
        .route("/v1/traces", export(Signal::Traces))
        .route("/v1/metrics", export(Signal::Metrics))
        .route("/v1/logs", export(Signal::Logs))
        .route("/config/v1/agents", any(agent_config::agents))
        .route("/", get(server_info::root))
        .route("/ui", get(page::show))
        .route("/ui/page.js", get(page::script))
        .route("/ui/page.css", get(page::style))
        .merge(api)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(shared.clone(), otlp::only_grpc))
        .layer(middleware::from_fn_with_state(shared.clone(), requests::keep))
        .layer(middleware::from_fn_with_state(shared.clone(), origin::guard))
        .with_state(shared)
}

fn export(signal: Signal) -> MethodRouter<Shared> {
    any(move |State(shared): State<Shared>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request| {
        otlp::export(signal, shared, peer, request)
    })
}

async fn not_found(request: Request) -> Response {
    reply::error(request.headers(), StatusCode::NOT_FOUND, "404 page not found")
}
