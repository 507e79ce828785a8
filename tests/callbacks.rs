//! Callbacks that use the agent or panic cause neither endless recursion nor an abort.
//!
//! Callbacks are filters, hooks, and implementations of `Display` and `Serialize`.
//!
//! A separate test binary: it installs an agent, and a fault ends the process.

use std::{
    cell::Cell,
    error::Error,
    fmt, io, panic,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, http::StatusCode, response::IntoResponse, routing::get};
use futures_util::FutureExt;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tower::ServiceExt;
use tower_apm::{
    Agent, AgentGuard, CloudProvider, EnvVars, LogFormat, ResponseExt, Transaction, User,
    devserver::{DevServer, Kind, Query},
    trace_context,
};

const DEADLINE: Duration = Duration::from_secs(60);

struct Service {
    server: DevServer,
    agent: AgentGuard,
}

static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let agent = Agent::builder()
        .env_vars(EnvVars::empty())
        .cloud_provider(CloudProvider::None)
        .service_name("callbacks")
        .server_url(server.url())
        .log_format(LogFormat::Off)
        .log_sending(true)
        .transaction_filter(|transaction| {
            let name = transaction.name();
            ASKED_AGAIN.fetch_add(usize::from(name.ends_with("a callback") || name == "instrumented"), SeqCst);
            if name.starts_with("busy") {
                use_agent();
            }
            true
        })
        .error_filter(|error| {
            assert!(!thread::panicking(), "a filter runs inside the panic hook");
            ASKED_AGAIN.fetch_add(usize::from(error.message().ends_with("a callback")), SeqCst);
            if error.message().starts_with("busy") {
                use_agent();
            }
            assert!(!error.message().contains("no verdict"), "a filter that panics");
            true
        })
        .install()
        .unwrap();
    Service { server, agent }
});

/// How often a filter was called for data that a callback had recorded.
static ASKED_AGAIN: AtomicUsize = AtomicUsize::new(0);

fn service() -> &'static Service {
    &SERVICE
}

impl Service {
    /// All events of a kind with this text in them.
    async fn events(&self, kind: Kind, text: &str) -> Vec<Value> {
        self.agent.flush(DEADLINE).await.unwrap();
        let page = self.server.store().query(&Query::new().kind(kind));
        page.events.iter().filter(|event| event.raw().contains(text)).map(|event| event.body()).collect()
    }
}

/// Everything that a callback may do with the agent.
fn use_agent() {
    #[tracing::instrument]
    fn instrumented() {
        tracing::info!("a line of a callback");
    }
    instrumented();
    tracing::error!(error = "busy: logged by a callback", "a line of a callback");
    let current = Transaction::current();
    current.set_label("callback", true).set_user(User::id("ada")).set_custom_context("callback", 1);
    current.capture_error(&io::Error::other("busy: captured by a callback"));
    service().agent.capture_error(&io::Error::other("busy: captured by a callback"));
    Transaction::start("busy: started by a callback", "job").in_scope(instrumented);
    trace_context::inject(&mut http::HeaderMap::new());
    let request = Request::get("/busy-callback").body(Body::empty()).unwrap();
    assert!(app().oneshot(request).now_or_never().is_some(), "the app needs no waiting");
    // a runtime cannot be entered on a thread that runs one
    let flush = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(service().agent.flush(Duration::from_millis(1)))
    };
    let _ = thread::scope(|scope| scope.spawn(flush).join().unwrap());
}

fn app() -> Router {
    let layer = tower_apm::layer()
        .on_request(|_, parts| {
            if parts.uri.path().starts_with("/busy") {
                use_agent();
            }
        })
        .on_response(|tx, _| {
            tx.set_label("answered", true);
            use_agent();
        })
        .on_error(|_, _| use_agent());
    let failing = async || StatusCode::BAD_GATEWAY.into_response().with_error(Loud("busy: a failed request"));
    Router::new()
        .route("/busy", get(async || "x"))
        .route("/busy-callback", get(async || "x"))
        .route("/busy-failing", get(failing))
        .route("/busy-aborted", get(std::future::pending::<&str>))
        .layer(layer)
}

/// An error whose every method uses the agent, and itself.
#[derive(Clone, Copy)]
struct Loud(&'static str);

impl Loud {
    fn use_agent(self) {
        thread_local! {
            static DEPTH: Cell<usize> = const { Cell::new(0) };
        }
        let depth = DEPTH.get();
        assert!(depth < 20, "the agent calls itself without end");
        DEPTH.set(depth + 1);
        let current = Transaction::current();
        current.capture_error(&self).set_user(User::id(self)).set_custom_context("loud", self);
        service().agent.capture_error(&self);
        tracing::error!(error = &self as &dyn Error, again = %self, "loud");
        DEPTH.set(depth);
    }
}

impl fmt::Display for Loud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.use_agent();
        f.write_str(self.0)
    }
}

impl fmt::Debug for Loud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.use_agent();
        f.write_str("Loud")
    }
}

impl Error for Loud {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.use_agent();
        None
    }
}

impl Serialize for Loud {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.use_agent();
        serializer.serialize_str(self.0)
    }
}

#[tokio::test]
async fn filter_is_not_called_for_events_that_it_records() {
    let service = service();
    drop(service.agent.start_transaction("busy job", "job"));
    Transaction::start("busy run", "job").run(async {}).await;
    tracing::info_span!("busy root").in_scope(|| ());
    service.agent.capture_error(&io::Error::other("busy: outside"));
    Transaction::start("other job", "job").in_scope(|| {
        tracing::error!(error = "busy: inside", "logged");
    });
    for text in ["busy: outside", "busy: inside", "busy: captured by a callback", "busy: logged by a callback"] {
        assert!(!service.events(Kind::Error, text).await.is_empty(), "{text}");
    }
    assert!(!service.events(Kind::Transaction, "busy: started by a callback").await.is_empty());
    for kind in [Kind::Span, Kind::Transaction] {
        assert_eq!(service.events(kind, "\"instrumented\"").await.len(), 0, "spans of a callback are not recorded");
    }
    assert_eq!(ASKED_AGAIN.load(SeqCst), 0);
}

#[tokio::test]
async fn hooks_that_use_the_agent_do_not_recurse() {
    let service = service();
    let request = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    for path in ["/busy", "/busy-failing"] {
        app().oneshot(request(path)).await.unwrap();
    }
    tokio::time::timeout(Duration::from_millis(1), app().oneshot(request("/busy-aborted"))).await.unwrap_err();
    assert!(!service.events(Kind::Transaction, "GET /busy-aborted").await.is_empty());
    assert!(!service.events(Kind::Error, "busy: a failed request").await.is_empty());
    for kind in [Kind::Span, Kind::Transaction] {
        assert_eq!(service.events(kind, "\"instrumented\"").await.len(), 0, "spans of a callback are not recorded");
    }
    assert_eq!(ASKED_AGAIN.load(SeqCst), 0);
    // the requests that hooks made are recorded, and no hook ran for them
    let made = service.events(Kind::Transaction, "GET /busy-callback").await;
    assert!(!made.is_empty() && made.iter().all(|made| made["context"]["tags"]["answered"].is_null()), "{made:?}");
}

#[tokio::test]
async fn values_that_use_the_agent_do_not_recurse() {
    let service = service();
    let loud = Loud("loud alone");
    Transaction::start("values", "job").in_scope(|| {
        let current = Transaction::current();
        current.set_custom_context("loud", loud).set_user(User::id(loud)).capture_error(&loud);
        tracing::error!(error = &loud as &dyn Error, "loud");
        tracing::info!(%loud, ?loud, "a line");
        current.error(&loud).custom("loud", loud).capture();
    });
    service.agent.capture_error(&loud);
    service.agent.error(&loud).custom("loud", loud).capture();
    assert!(!service.events(Kind::Error, "loud alone").await.is_empty());
    let [values] = &service.events(Kind::Transaction, "\"values\"").await[..] else { panic!("one transaction") };
    assert_eq!(
        (&values["context"]["custom"]["loud"], &values["context"]["user"]["id"]),
        (&loud.0.into(), &loud.0.into())
    );
}

/// A panic payload whose methods must not be called.
struct Payload;

impl fmt::Display for Payload {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::process::abort()
    }
}

#[tokio::test]
async fn panic_outside_a_request_is_filtered_after_the_hook() {
    let service = service();
    for text in ["busy: a task has no verdict", "a task has no verdict"] {
        tokio::spawn(async move { panic!("{text}") }).await.unwrap_err();
        thread::spawn(move || panic!("{text}, nor has a thread")).join().unwrap_err();
    }
    thread::spawn(|| panic::panic_any(Payload)).join().unwrap_err();
    for text in
        ["busy: a task has no verdict", "a task has no verdict", "nor has a thread", "a panic without a message"]
    {
        let errors = service.events(Kind::Error, text).await;
        assert!(!errors.is_empty(), "{text}");
        assert_eq!(errors[0]["exception"]["handled"], false);
    }
    let [error] = &service.events(Kind::Error, "busy: a task has no verdict, nor has a thread").await[..] else {
        panic!("one error")
    };
    let frames = error["exception"]["stacktrace"].to_string();
    assert!(frames.contains("callbacks.rs"), "the stack is the panic's: {frames}");
}

#[tokio::test]
async fn panics_that_a_request_catches_are_filtered_after_the_hook() {
    let service = service();
    let catching = async |tx: Transaction| {
        for number in 0..60 {
            panic::catch_unwind(|| panic!("no verdict on {number}")).unwrap_err();
        }
        tx.set_label("caught", 60);
    };
    let app = Router::new().route("/catching", get(catching)).layer(tower_apm::layer());
    app.oneshot(Request::get("/catching").body(Body::empty()).unwrap()).await.unwrap();
    let errors = service.events(Kind::Error, "no verdict on ").await;
    assert_eq!(errors.len(), 50, "so many errors are kept of one request");
    let [transaction] = &service.events(Kind::Transaction, "GET /catching").await[..] else {
        panic!("one transaction")
    };
    assert!(errors.iter().all(|error| error["transaction_id"] == transaction["id"]));
    assert!(service.agent.stats().suppressed_errors >= 10);
}
