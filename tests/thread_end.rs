//! The public API in the destructor of a thread-local.
//!
//! OpenTelemetry's own thread-locals may be destroyed already, and a panic in the destructor aborts the process. A separate test binary: it installs an agent, and a fault ends the process.

use std::{
    collections::HashMap,
    io,
    panic::{self, AssertUnwindSafe},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, http::Response, routing::get};
use futures_util::FutureExt;
use opentelemetry::{KeyValue, baggage::BaggageExt, propagation::TextMapPropagator};
use tower::ServiceExt;
use tower_apm::{
    Agent, AgentGuard, CloudProvider, EnvVars, LogFormat, ResponseExt, Transaction, User,
    devserver::{DevServer, Kind, Query},
    otel::ElasticPropagator,
    trace_context,
};

const DEADLINE: Duration = Duration::from_secs(60);

static SERVICE: LazyLock<(DevServer, AgentGuard)> = LazyLock::new(|| {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let agent = Agent::builder()
        .env_vars(EnvVars::empty())
        .cloud_provider(CloudProvider::None)
        .server_url(server.url())
        .log_format(LogFormat::Ecs)
        .log_sending(true)
        .install()
        .unwrap();
    (server, agent)
});

static ENDED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static AT_END: AtEnd = const { AtEnd };
}

struct AtEnd;

impl Drop for AtEnd {
    fn drop(&mut self) {
        use_all();
        // a caught panic is no reason to abort
        panic::catch_unwind(|| panic!("caught at the end of a thread")).unwrap_err();
        let work = || Transaction::start("last work", "job").in_scope(|| panic!("caught in a last transaction"));
        panic::catch_unwind(work).unwrap_err();
        ENDED.fetch_add(1, SeqCst);
    }
}

/// The public API, but for spans of `tracing`: their registry itself cannot be used in a thread that has ended so far.
fn use_all() {
    let (_, agent) = &*SERVICE;
    let error = io::Error::other("met at the end of a thread");
    let current = Transaction::current();
    current
        .set_label("late", 1)
        .set_user(User::id(1))
        .set_custom_context("late", 1)
        .set_name("late")
        .set_result("late")
        .capture_error(&error);
    current.error(&error).label("late", 1).custom("late", 1).capture();
    current.link(&trace_context::extract(&http::HeaderMap::new())).ensure_parent_id();
    let _ = opentelemetry::Context::from(Transaction::start("carried", "job").clone());
    let work = Transaction::start("late work", "job");
    work.capture_error(&error);
    work.in_scope(|| {
        Transaction::current().set_label("late", 1);
        trace_context::inject(&mut http::HeaderMap::new());
        tracing::error!(error = "logged at the end of a thread", "late");
    });
    assert!(Transaction::start("late run", "job").run(async {}).now_or_never().is_some());
    let never = Transaction::start("late and unfinished", "job").run(std::future::pending::<()>());
    assert!(never.now_or_never().is_none());
    agent.capture_error(&error);
    agent.error(&error).capture();
    drop(agent.start_transaction("late work", "job"));
    drop(agent.start_transaction_from(&trace_context::extract(&http::HeaderMap::new()), "late work", "job"));
    let mut carrier = HashMap::<String, String>::new();
    trace_context::inject(&mut http::HeaderMap::new());
    tower_apm::otel::inject_carrier(&mut carrier);
    trace_context::inject_message(&mut HashMap::<String, Vec<u8>>::new());
    let _ = tower_apm::otel::extract_carrier(&carrier);
    let _ = trace_context::extract_message(|_| None);
    let propagator = ElasticPropagator::new();
    let context = opentelemetry::Context::new().with_baggage([KeyValue::new("a", "b")]);
    propagator.inject_context(&propagator.extract_with_context(&context, &carrier), &mut carrier);
    tracing::info!("a line at the end of a thread");
    tracing::error!(error = "logged at the end of a thread", "late");
    let app = Router::new()
        .route("/", get(async |tx: Transaction| tx.trace_id().unwrap().to_string()))
        .layer(tower_apm::layer().response_trace_id_header("x-trace-id"));
    let response = app.oneshot(Request::get("/").body(Body::empty()).unwrap()).now_or_never().unwrap().unwrap();
    drop(response);
    let _ = Response::new(()).with_error(error);
    let _ = (agent.stats(), agent.startup_summary(), format!("{agent:?} {current:?}"));
    drop(agent.flush(Duration::from_millis(1)));
    drop(agent.layer());
    tower_apm::install_panic_hook();
}

/// What a thread does between its first and its last use of a thread-local.
fn work() {
    tracing::info_span!("work").in_scope(|| Transaction::current().is_active());
    Transaction::start("work", "job").in_scope(|| tracing::info_span!("inner").in_scope(|| ()));
}

fn run(body: impl FnOnce() + Send + 'static) {
    let before = ENDED.load(SeqCst);
    // joining a thread waits for its destructors
    thread::spawn(body).join().unwrap();
    assert_eq!(ENDED.load(SeqCst), before + 1, "the destructor ran to its end");
}

#[test]
fn public_api_works_in_thread_local_destructors() {
    let (server, agent) = &*SERVICE;
    // destructors run in the reverse order of first use
    run(|| {
        AT_END.with(|_| ());
        work();
    });
    run(|| {
        work();
        AT_END.with(|_| ());
    });
    run(|| {
        assert!(!Transaction::current().is_active());
        AT_END.with(|_| ());
        work();
    });
    // nothing of the agent was used on this thread
    run(|| AT_END.with(|_| ()));
    // nor on these, which used OpenTelemetry's context without it
    run(|| {
        AT_END.with(|_| ());
        drop(opentelemetry::Context::current());
    });
    run(|| {
        drop(opentelemetry::Context::current());
        AT_END.with(|_| ());
    });
    // outside of a destructor the same calls do the same
    panic::catch_unwind(AssertUnwindSafe(use_all)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(agent.flush(DEADLINE)).unwrap();
    let errors = server.store().query(&Query::new().kind(Kind::Error));
    for text in ["caught at the end of a thread", "caught in a last transaction", "met at the end of a thread"] {
        let found = errors.events.iter().filter(|error| error.raw().contains(text)).count();
        assert!(found >= 6, "{text}: {found}");
    }
}
